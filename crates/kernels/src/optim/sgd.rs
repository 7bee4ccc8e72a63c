//! Stochastic gradient descent with momentum, in one pass over the parameters.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use candle_nn::Optimizer;

use crate::optim::{CpuVars, Rule};

/// The parameters of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamsSgd {
    /// The learning rate, above 0.
    pub lr: f64,
    /// The momentum `μ`, in `[0, 1)`.
    pub momentum: f64,
    /// The coefficient `λ` of an L2 penalty `λ/2 |w|²`; not negative.
    pub weight_decay: f64,
    /// Whether the step looks ahead, as Nesterov's method does.
    pub nesterov: bool,
}

impl Default for ParamsSgd {
    fn default() -> Self {
        Self { lr: 0.01, momentum: 0.9, weight_decay: 0.0, nesterov: false }
    }
}

/// Gradient descent with momentum, as PyTorch's `SGD` (Sutskever et al. 2013, *On the importance of
/// initialization and momentum in deep learning*, in PyTorch's form): `g ← g + λw`, `v ← μv + g` (`v = g` at
/// first), `w ← w - lr·v`, or, with Nesterov's look-ahead, `w ← w - lr·(g + μv)`.
///
/// On a CPU, `f32` variables are stepped in one pass that reads each number once, and on an NVIDIA GPU in one
/// launch per hundred variables; other variables are stepped by candle's ops.
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
    /// The state: the velocity, the running sum of the gradients.
    on_cpu: CpuVars<1>,
    #[cfg(feature = "cuda")]
    on_gpu: Option<gpu::Momentum>,
    /// Variables of other types and devices, with their velocity, which is `None` before the first gradient.
    others: Vec<(Var, Option<Tensor>)>,
    params: ParamsSgd,
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
        let (on_cpu, others) = CpuVars::split(vars);
        #[cfg(feature = "cuda")]
        let (on_gpu, others) = match crate::optim::cuda::on_first_gpu(others) {
            (Some((device, vars)), others) => (Some(gpu::Momentum::new(&device, vars, params)?), others),
            (None, others) => (None, others),
        };
        Ok(Self {
            on_cpu,
            #[cfg(feature = "cuda")]
            on_gpu,
            others: others.into_iter().map(|var| (var, None)).collect(),
            params,
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        let params = self.params;
        self.on_cpu.step(params, gradients)?;
        #[cfg(feature = "cuda")]
        if let Some(momentum) = &mut self.on_gpu {
            momentum.step(gradients)?;
        }
        for (var, velocity) in &mut self.others {
            let Some(gradient) = gradients.get(var) else { continue };
            let w = var.as_tensor().detach();
            let gradient = (gradient + (&w * params.weight_decay)?)?;
            let sum = match velocity.take() {
                Some(velocity) => ((velocity * params.momentum)? + &gradient)?,
                None => gradient.clone(),
            };
            let ahead = if params.nesterov { (gradient + (&sum * params.momentum)?)? } else { sum.clone() };
            var.set(&(w - (ahead * params.lr)?)?)?;
            *velocity = Some(sum.detach());
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

impl Rule<1> for ParamsSgd {
    const NAME: &'static str = "sgd";

    #[inline(always)]
    fn step(self, weights: &mut [f32], gradients: &[f32], [velocity]: [&mut [f32]; 1]) {
        let (rate, decay) = (self.lr as f32, self.weight_decay as f32);
        let momentum = self.momentum as f32;
        for ((w, &g), v) in weights.iter_mut().zip(gradients).zip(velocity) {
            let g = g + decay * *w;
            *v = momentum * *v + g;
            *w -= rate * if self.nesterov { g + momentum * *v } else { *v };
        }
    }
}

#[cfg(feature = "cuda")]
mod gpu {
    use candle_core::backprop::GradStore;
    use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg, ValidAsZeroBits};
    use candle_core::cuda_backend::{CudaDevice, WrapErr};
    use candle_core::{Result, Var};

    use crate::cuda::launch::{function, ptx};
    use crate::optim::cuda::{Settings, Vars};
    use crate::optim::sgd::ParamsSgd;

    /// The parameters as the kernel takes them: `SgdSettings` in `optimizer.cu`.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    struct SgdSettings {
        rate: f32,
        momentum: f32,
        decay: f32,
        nesterov: i32,
    }

    // SAFETY: plain numbers, laid out as in C.
    unsafe impl DeviceRepr for SgdSettings {}
    // SAFETY: all zeros is a valid value of each field.
    unsafe impl ValidAsZeroBits for SgdSettings {}

    impl SgdSettings {
        fn new(params: ParamsSgd) -> Self {
            let ParamsSgd { lr, momentum, weight_decay, nesterov } = params;
            Self {
                rate: lr as f32,
                momentum: momentum as f32,
                decay: weight_decay as f32,
                nesterov: nesterov.into(),
            }
        }
    }

    /// Gradient descent with momentum on a GPU.
    #[derive(Debug)]
    pub(super) struct Momentum {
        vars: Vars,
        velocity: CudaSlice<f32>,
        settings: Settings<SgdSettings>,
    }

    impl Momentum {
        pub(super) fn new(device: &CudaDevice, vars: Vec<Var>, params: ParamsSgd) -> Result<Self> {
            let vars = Vars::new(device, vars);
            let settings = Settings::new(device, SgdSettings::new(params))?;
            Ok(Self { velocity: vars.zeros()?, settings, vars })
        }

        pub(super) fn set(&mut self, params: ParamsSgd) {
            self.settings.set(&self.vars.device, SgdSettings::new(params));
        }

        pub(super) fn step(&mut self, gradients: &GradStore) -> Result<()> {
            let Self { vars, velocity, settings } = self;
            let device = vars.device.clone();
            let settings = settings.now(&device)?;
            let stream = device.cuda_stream();
            let step = function(&device, "sgd", "wick-optimizer", ptx::OPTIMIZER)?;
            vars.launch(gradients, |all, config| {
                let mut launch = stream.launch_builder(&step);
                launch.arg(all).arg(settings).arg(&mut *velocity);
                // SAFETY: the arguments are those of the kernel: parameters whose weights and gradients have
                // `count` numbers each, and whose `start` and `count` lie within `velocity`, as `Vars`
                // allocated and checked them; one `SgdSettings`; and a block for each part.
                unsafe { launch.launch(config) }.w()?;
                Ok(())
            })
        }
    }
}
