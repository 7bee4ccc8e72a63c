//! Stochastic gradient descent with momentum, in one pass over the parameters.

use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var};
use candle_nn::Optimizer;

use crate::adamw::{PART, is_fast, slices};
use crate::{SimdLevel, parallel, simd};

/// The parameters of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamsSgd {
    /// The learning rate, above 0.
    pub lr: f64,
    /// `μ`, in `[0, 1)`.
    pub momentum: f64,
    /// `λ`, of an L2 penalty `λ/2 |w|²`; not negative.
    pub weight_decay: f64,
    /// Whether the step looks ahead, as Nesterov's does.
    pub nesterov: bool,
}

impl Default for ParamsSgd {
    fn default() -> Self {
        Self { lr: 0.01, momentum: 0.9, weight_decay: 0.0, nesterov: false }
    }
}

/// Gradient descent with momentum, as PyTorch's `SGD` (Sutskever et al. 2013, *On the importance of initialization and
/// momentum in deep learning*, in PyTorch's form): `g ← g + λw`, `v ← μv + g` (`v = g` at first), `w ← w - lr·v`, or with
/// Nesterov's look ahead `w ← w - lr·(g + μv)`.
///
/// On a CPU, `f32` variables are stepped in one pass that reads each number once, and on an NVIDIA GPU in one launch for a
/// hundred of them; others by candle's ops.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::Optimizer;
/// use wick_kernels::{ParamsSgd, Sgd};
///
/// let w = Var::new(&[1f32], &Device::Cpu)?;
/// let mut sgd = Sgd::new(vec![w.clone()], ParamsSgd { lr: 0.25, momentum: 0.5, ..Default::default() })?;
/// sgd.backward_step(&w.sqr()?.sum_all()?)?; // v = 2, w = 1/2
/// sgd.backward_step(&w.sqr()?.sum_all()?)?; // v = 1 + 1 = 2, w = 0
/// assert_eq!(w.to_vec1::<f32>()?, [0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Sgd {
    vars: Vec<(Var, Velocity)>,
    #[cfg(feature = "cuda")]
    on_gpu: Option<crate::cuda::Momentum>,
    params: ParamsSgd,
}

/// The running sum of the gradients, empty before the first.
#[derive(Debug)]
enum Velocity {
    Fast(Mutex<Vec<f32>>),
    Other(Option<Tensor>),
}

impl Sgd {
    /// The parameters.
    pub fn params(&self) -> &ParamsSgd {
        &self.params
    }

    /// Changes the parameters from the next step on.
    pub fn set_params(&mut self, params: ParamsSgd) {
        self.params = params;
        #[cfg(feature = "cuda")]
        if let Some(momentum) = &mut self.on_gpu {
            momentum.set(params);
        }
    }
}

impl Optimizer for Sgd {
    type Config = ParamsSgd;

    fn new(vars: Vec<Var>, params: ParamsSgd) -> Result<Self> {
        #[cfg(feature = "cuda")]
        let (on_gpu, vars) = match crate::adamw::on_first_gpu(vars) {
            (Some((device, ours)), others) => {
                (Some(crate::cuda::Momentum::new(&device, ours, params)?), others)
            }
            (None, others) => (None, others),
        };
        let with_velocity = |var: Var| {
            let velocity =
                if is_fast(&var) { Velocity::Fast(Mutex::default()) } else { Velocity::Other(None) };
            (var, velocity)
        };
        Ok(Self {
            vars: vars.into_iter().map(with_velocity).collect(),
            #[cfg(feature = "cuda")]
            on_gpu,
            params,
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        let params = self.params;
        #[cfg(feature = "cuda")]
        if let Some(momentum) = &mut self.on_gpu {
            momentum.step(gradients)?;
        }
        for (var, velocity) in &mut self.vars {
            let Some(gradient) = gradients.get(var) else { continue };
            match velocity {
                Velocity::Fast(velocity) => {
                    let gradient = gradient.to_dtype(DType::F32)?.contiguous()?;
                    var.as_tensor().inplace_op2(&gradient, &InPlace { params, velocity })?;
                }
                Velocity::Other(velocity) => {
                    let w = var.as_tensor().detach();
                    let gradient = (gradient + (&w * params.weight_decay)?)?;
                    let sum = match velocity.take() {
                        Some(velocity) => ((velocity * params.momentum)? + &gradient)?,
                        None => gradient.clone(),
                    };
                    let ahead =
                        if params.nesterov { (gradient + (&sum * params.momentum)?)? } else { sum.clone() };
                    var.set(&(w - (ahead * params.lr)?)?)?;
                    *velocity = Some(sum.detach());
                }
            }
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.params.lr
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.set_params(ParamsSgd { lr: rate, ..self.params });
    }
}

struct InPlace<'a> {
    params: ParamsSgd,
    velocity: &'a Mutex<Vec<f32>>,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        w_layout: &Layout,
        gradients: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<()> {
        let (weights, gradients) = slices((weights, w_layout), (gradients, g_layout))?;
        let mut velocity = self.velocity.lock().unwrap_or_else(PoisonError::into_inner);
        let first = velocity.is_empty();
        velocity.resize(weights.len(), 0.0);
        let parts = weights.chunks_mut(PART).zip(gradients.chunks(PART)).zip(velocity.chunks_mut(PART));
        let mut passes: Vec<Pass> = parts
            .map(|((weights, gradients), velocity)| Pass {
                params: self.params,
                first,
                weights,
                gradients,
                velocity,
            })
            .collect();
        parallel::for_each_part(&mut passes, 1, |_, passes| {
            passes.iter_mut().for_each(|pass| simd::run(SimdLevel::best(), pass));
        });
        Ok(())
    }
}

struct Pass<'a> {
    params: ParamsSgd,
    first: bool,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    velocity: &'a mut [f32],
}

impl simd::Task for &mut Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Pass { params, first, weights, gradients, velocity } = self;
        let (rate, decay) = (params.lr as f32, params.weight_decay as f32);
        let momentum = params.momentum as f32;
        let kept = if *first { 0.0 } else { momentum };
        for ((w, &g), v) in weights.iter_mut().zip(*gradients).zip(&mut **velocity) {
            let g = g + decay * *w;
            *v = kept * *v + g;
            *w -= rate * if params.nesterov { g + momentum * *v } else { *v };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// The loss Σ (w - a)⁴/4 from w = (0.5, -1, 2), a = (0, 1, -1): five steps, `f32` in one pass and `f64` by candle's ops,
    /// beside what `torch.optim.SGD` (2.15, float64) comes to.
    #[test]
    fn as_pytorchs() {
        let cases = [
            (ParamsSgd { lr: 0.01, momentum: 0.0, ..Default::default() }, TORCH[0]),
            (ParamsSgd { lr: 0.01, momentum: 0.9, weight_decay: 0.1, nesterov: false }, TORCH[1]),
            (ParamsSgd { lr: 0.01, momentum: 0.9, weight_decay: 0.1, nesterov: true }, TORCH[2]),
        ];
        for (params, expected) in cases {
            for dtype in [DType::F32, DType::F64] {
                let cpu = Device::Cpu;
                let w = Tensor::new(&[0.5f64, -1.0, 2.0], &cpu).unwrap().to_dtype(dtype).unwrap();
                let a = Tensor::new(&[0f64, 1.0, -1.0], &cpu).unwrap().to_dtype(dtype).unwrap();
                let w = Var::from_tensor(&w).unwrap();
                let mut sgd = Sgd::new(vec![w.clone()], params).unwrap();
                for _ in 0..5 {
                    let loss = (w.as_tensor() - &a).unwrap().powf(4.0).unwrap().sum_all().unwrap();
                    sgd.backward_step(&(loss * 0.25).unwrap()).unwrap();
                }
                let got = w.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
                let bound = if dtype == DType::F32 { 1e-6 } else { 1e-12 };
                for (got, expected) in got.iter().zip(expected) {
                    assert!((got - expected).abs() < bound, "{params:?} {dtype:?}: {got} {expected}");
                }
            }
        }
    }

    const TORCH: [[f64; 3]; 3] = [
        [0.493842363879013, -0.677327589932282, 1.121_600_381_911_02],
        [0.477448319258739, -0.164790487854848, -0.264749106218739],
        [0.471529165585516, -0.075463696195874, -0.290173821840062],
    ];

    #[test]
    fn many_numbers_are_stepped_as_one() {
        let n = 2 * PART + 5;
        let w = Var::ones(n, DType::F32, &Device::Cpu).unwrap();
        let idle = Var::ones(3, DType::F32, &Device::Cpu).unwrap();
        let mut sgd = Sgd::new(vec![w.clone(), idle.clone()], ParamsSgd::default()).unwrap();
        sgd.set_learning_rate(0.125);
        assert_eq!((sgd.learning_rate(), sgd.params().lr), (0.125, 0.125));
        sgd.backward_step(&w.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(w.to_vec1::<f32>().unwrap(), vec![0.75; n]);
        assert_eq!(idle.to_vec1::<f32>().unwrap(), [1.0; 3]);
    }
}
