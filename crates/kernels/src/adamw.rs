//! AdamW in one pass over the parameters.

use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Var, bail};
use candle_nn::{Optimizer, ParamsAdamW};

use crate::{SimdLevel, parallel, simd};

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with the parameters and the arithmetic of
/// [`candle_nn::AdamW`], whose place it takes: on a CPU, `f32` variables are stepped in one pass that reads each number
/// once, and on an NVIDIA GPU in one launch for a hundred of them; all others are left to candle's.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, ParamsAdamW};
///
/// let w = Var::new(&[1f32, -2.0], &Device::Cpu)?;
/// let mut adamw = wick_kernels::AdamW::new(vec![w.clone()], ParamsAdamW { lr: 0.1, ..Default::default() })?;
/// adamw.backward_step(&w.sqr()?.sum_all()?)?;
/// // The first step is the learning rate's size, besides the decay.
/// let after = w.to_vec1::<f32>()?;
/// assert!((after[0] - (0.999 - 0.1)).abs() < 1e-6 && (after[1] + (1.998 - 0.1)).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    fast: Vec<Fast>,
    #[cfg(feature = "cuda")]
    on_gpu: Option<crate::cuda::Adam>,
    others: candle_nn::AdamW,
    params: ParamsAdamW,
    steps: i32,
}

/// A variable with its moments.
#[derive(Debug)]
struct Fast {
    var: Var,
    /// The running means of the gradient and of its square.
    moments: Mutex<(Vec<f32>, Vec<f32>)>,
}

impl AdamW {
    /// The parameters.
    pub fn params(&self) -> &ParamsAdamW {
        &self.params
    }

    /// Changes the parameters from the next step on.
    pub fn set_params(&mut self, params: ParamsAdamW) {
        self.others.set_params(params.clone());
        #[cfg(feature = "cuda")]
        if let Some(adam) = &mut self.on_gpu {
            adam.set(&params);
        }
        self.params = params;
    }
}

impl Optimizer for AdamW {
    type Config = ParamsAdamW;

    fn new(vars: Vec<Var>, params: ParamsAdamW) -> Result<Self> {
        let (fast, others): (Vec<Var>, Vec<Var>) = vars.into_iter().partition(is_fast);
        #[cfg(feature = "cuda")]
        let (on_gpu, others) = match on_first_gpu(others) {
            (Some((device, vars)), others) => (Some(crate::cuda::Adam::new(&device, vars, &params)?), others),
            (None, others) => (None, others),
        };
        let with_moments = |var: Var| {
            let zeros = || vec![0.0; var.elem_count()];
            Fast { moments: Mutex::new((zeros(), zeros())), var }
        };
        Ok(Self {
            fast: fast.into_iter().map(with_moments).collect(),
            #[cfg(feature = "cuda")]
            on_gpu,
            others: candle_nn::AdamW::new(others, params.clone())?,
            params,
            steps: 0,
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.steps += 1;
        let ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = self.params;
        let step = Step {
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            scale1: (1.0 / (1.0 - beta1.powi(self.steps))) as f32,
            scale2: (1.0 / (1.0 - beta2.powi(self.steps))) as f32,
            eps: eps as f32,
            rate: lr as f32,
            keep: (1.0 - lr * weight_decay) as f32,
        };
        for Fast { var, moments } in &self.fast {
            if let Some(gradient) = gradients.get(var) {
                let gradient = gradient.to_dtype(DType::F32)?.contiguous()?;
                var.as_tensor().inplace_op2(&gradient, &InPlace { step, moments })?;
            }
        }
        #[cfg(feature = "cuda")]
        if let Some(adam) = &mut self.on_gpu {
            adam.step(gradients)?;
        }
        self.others.step(gradients)
    }

    fn learning_rate(&self) -> f64 {
        self.params.lr
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.set_params(ParamsAdamW { lr: rate, ..self.params.clone() });
    }
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
struct Step {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    scale1: f32,
    scale2: f32,
    eps: f32,
    rate: f32,
    keep: f32,
}

struct InPlace<'a> {
    step: Step,
    moments: &'a Mutex<(Vec<f32>, Vec<f32>)>,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        w_layout: &Layout,
        gradients: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<()> {
        let (weights, gradients) = slices((weights, w_layout), (gradients, g_layout))?;
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, second) = &mut *moments;
        let parts = weights.chunks_mut(PART).zip(gradients.chunks(PART));
        let parts = parts.zip(first.chunks_mut(PART).zip(second.chunks_mut(PART)));
        let mut passes: Vec<Pass> = parts
            .map(|((weights, gradients), (first, second))| Pass {
                step: self.step,
                weights,
                gradients,
                first,
                second,
            })
            .collect();
        parallel::for_each_part(&mut passes, 1, |_, passes| {
            passes.iter_mut().for_each(|pass| simd::run(SimdLevel::best(), pass));
        });
        Ok(())
    }
}

/// Numbers that one task steps.
pub(crate) const PART: usize = 1 << 15;

/// Whether a variable can be stepped in one pass.
pub(crate) fn is_fast(var: &Var) -> bool {
    var.device().is_cpu() && var.dtype() == DType::F32 && var.is_contiguous()
}

/// The `f32` variables of the first GPU that any of them is on, and all others.
#[cfg(feature = "cuda")]
pub(crate) fn on_first_gpu(vars: Vec<Var>) -> (Option<(candle_core::CudaDevice, Vec<Var>)>, Vec<Var>) {
    let is_ours = |var: &Var| var.device().is_cuda() && var.dtype() == DType::F32 && var.is_contiguous();
    let Some(Ok(device)) =
        vars.iter().find(|var| is_ours(var)).map(|var| var.device().as_cuda_device().cloned())
    else {
        return (None, vars);
    };
    let there = candle_core::Device::Cuda(device.clone());
    let (ours, others) = vars.into_iter().partition(|var| is_ours(var) && var.device().same_device(&there));
    (Some((device, ours)), others)
}

/// The numbers of a variable and of its gradient.
pub(crate) fn slices<'a>(
    (weights, w_layout): (&'a mut CpuStorage, &Layout),
    (gradients, g_layout): (&'a CpuStorage, &Layout),
) -> Result<(&'a mut [f32], &'a [f32])> {
    let (CpuStorage::F32(weights), CpuStorage::F32(gradients)) = (weights, gradients) else {
        bail!("the fast step takes f32")
    };
    let (Some((w0, w1)), Some((g0, g1))) = (w_layout.contiguous_offsets(), g_layout.contiguous_offsets())
    else {
        bail!("the fast step takes contiguous tensors")
    };
    if w1 - w0 != g1 - g0 {
        bail!("a gradient of {:?} for a variable of {:?}", g_layout.dims(), w_layout.dims());
    }
    Ok((&mut weights[w0..w1], &gradients[g0..g1]))
}

struct Pass<'a> {
    step: Step,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl simd::Task for &mut Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Pass { step, weights, gradients, first, second } = self;
        for (((w, &g), m), v) in weights.iter_mut().zip(*gradients).zip(&mut **first).zip(&mut **second) {
            *m = *m * step.beta1 + g * step.rest1;
            *v = *v * step.beta2 + g * g * step.rest2;
            let direction = *m * step.scale1 / ((*v * step.scale2).sqrt() + step.eps);
            *w = *w * step.keep - direction * step.rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    /// 200 steps on a function that pulls each weight elsewhere, beside candle's own; `f64` goes through candle's.
    #[test]
    fn as_candles_own() {
        for dtype in [DType::F32, DType::F64] {
            let start = Tensor::arange(0f32, 40_000.0, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let start = (start * 1e-4).unwrap().sin().unwrap();
            let params = ParamsAdamW { lr: 0.01, weight_decay: 0.1, ..Default::default() };
            let (ours, theirs) = (Var::from_tensor(&start).unwrap(), Var::from_tensor(&start).unwrap());
            let mut a = AdamW::new(vec![ours.clone()], params.clone()).unwrap();
            let mut b = candle_nn::AdamW::new(vec![theirs.clone()], params).unwrap();
            let loss = |w: &Var| (w.as_tensor() - 0.3).unwrap().sqr().unwrap().sum_all().unwrap();
            for _ in 0..200 {
                a.backward_step(&loss(&ours)).unwrap();
                b.backward_step(&loss(&theirs)).unwrap();
            }
            let difference =
                (ours.as_tensor() - theirs.as_tensor()).unwrap().abs().unwrap().max_all().unwrap();
            let difference = difference.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
            assert!(difference < 2e-6, "{difference}");
            let moved = (ours.as_tensor() - &start).unwrap().abs().unwrap().max_all().unwrap();
            assert!(moved.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap() > 0.1);
        }
    }

    #[test]
    fn rates_and_missing_gradients() {
        let (w, idle) = (Var::new(&[1f32], &Device::Cpu).unwrap(), Var::new(&[5f32], &Device::Cpu).unwrap());
        let mut adamw = AdamW::new(vec![w.clone(), idle.clone()], ParamsAdamW::default()).unwrap();
        adamw.set_learning_rate(0.5);
        assert_eq!((adamw.learning_rate(), adamw.params().lr), (0.5, 0.5));
        adamw.backward_step(&w.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(idle.to_vec1::<f32>().unwrap(), [5.0]);
        assert!((w.to_vec1::<f32>().unwrap()[0] - (0.995 - 0.5)).abs() < 1e-6);
    }
}
