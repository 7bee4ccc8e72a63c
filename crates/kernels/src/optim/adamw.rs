//! AdamW in one pass over the parameters.

use candle_core::backprop::GradStore;
use candle_core::{Result, Var};
use candle_nn::{Optimizer, ParamsAdamW};

use crate::optim::{CpuVars, Rule};

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with the parameters and the arithmetic of
/// [`candle_nn::AdamW`], as a drop-in replacement: on a CPU, `f32` variables are stepped in one pass that
/// reads each number once, and on an NVIDIA GPU in one launch per hundred variables; other variables are left
/// to candle's AdamW.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, ParamsAdamW};
///
/// let w = Var::new(&[1f32, -2.0], &Device::Cpu)?;
/// let mut adamw = wick_kernels::AdamW::new(vec![w.clone()], ParamsAdamW { lr: 0.1, ..Default::default() })?;
/// adamw.backward_step(&w.sqr()?.sum_all()?)?;
/// // Apart from the decay, the first step is as large as the learning rate.
/// let after = w.to_vec1::<f32>()?;
/// assert!((after[0] - (0.999 - 0.1)).abs() < 1e-6 && (after[1] + (1.998 - 0.1)).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct AdamW {
    /// The state: the running means of the gradient and of its square.
    on_cpu: CpuVars<2>,
    #[cfg(feature = "cuda")]
    on_gpu: Option<gpu::Adam>,
    others: candle_nn::AdamW,
    params: ParamsAdamW,
    steps: i32,
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
        let (on_cpu, others) = CpuVars::split(vars);
        #[cfg(feature = "cuda")]
        let (on_gpu, others) = match crate::optim::cuda::on_first_gpu(others) {
            (Some((device, vars)), others) => (Some(gpu::Adam::new(&device, vars, &params)?), others),
            (None, others) => (None, others),
        };
        Ok(Self {
            on_cpu,
            #[cfg(feature = "cuda")]
            on_gpu,
            others: candle_nn::AdamW::new(others, params.clone())?,
            params,
            steps: 0,
        })
    }

    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.steps += 1;
        self.on_cpu.step(Step::new(&self.params, self.steps), gradients)?;
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

impl Step {
    fn new(params: &ParamsAdamW, steps: i32) -> Self {
        let ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = *params;
        Self {
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            scale1: (1.0 / (1.0 - beta1.powi(steps))) as f32,
            scale2: (1.0 / (1.0 - beta2.powi(steps))) as f32,
            eps: eps as f32,
            rate: lr as f32,
            keep: (1.0 - lr * weight_decay) as f32,
        }
    }
}

impl Rule<2> for Step {
    const NAME: &'static str = "adamw";

    #[inline(always)]
    fn step(self, weights: &mut [f32], gradients: &[f32], [first, second]: [&mut [f32]; 2]) {
        for (((w, &g), m), v) in weights.iter_mut().zip(gradients).zip(first).zip(second) {
            *m = *m * self.beta1 + g * self.rest1;
            *v = *v * self.beta2 + g * g * self.rest2;
            let direction = *m * self.scale1 / ((*v * self.scale2).sqrt() + self.eps);
            *w = *w * self.keep - direction * self.rate;
        }
    }
}

#[cfg(feature = "cuda")]
mod gpu {
    use candle_core::backprop::GradStore;
    use candle_core::cuda_backend::cudarc::driver::{
        CudaSlice, DeviceRepr, LaunchConfig, PushKernelArg, ValidAsZeroBits,
    };
    use candle_core::cuda_backend::{CudaDevice, WrapErr};
    use candle_core::{Result, Var};
    use candle_nn::ParamsAdamW;

    use crate::cuda::launch::{function, ptx};
    use crate::optim::cuda::{Settings, Vars};

    /// The parameters as the kernel takes them: `AdamSettings` in `optimizer.cu`.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    struct AdamSettings {
        decay1: f64,
        decay2: f64,
        beta1: f32,
        rest1: f32,
        beta2: f32,
        rest2: f32,
        eps: f32,
        rate: f32,
        keep: f32,
        unused: f32,
    }

    // SAFETY: plain numbers, laid out as in C.
    unsafe impl DeviceRepr for AdamSettings {}
    // SAFETY: all zeros is a valid value of each field.
    unsafe impl ValidAsZeroBits for AdamSettings {}

    impl AdamSettings {
        fn new(params: &ParamsAdamW) -> Self {
            let ParamsAdamW { lr, beta1, beta2, eps, weight_decay } = *params;
            Self {
                decay1: beta1,
                decay2: beta2,
                beta1: beta1 as f32,
                rest1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                rest2: (1.0 - beta2) as f32,
                eps: eps as f32,
                rate: lr as f32,
                keep: (1.0 - lr * weight_decay) as f32,
                unused: 0.0,
            }
        }
    }

    /// The powers of the betas, and the bias corrections: `AdamState` in `optimizer.cu`.
    #[repr(C)]
    #[derive(Debug, Clone, Copy)]
    struct AdamState {
        power1: f64,
        power2: f64,
        scale1: f32,
        scale2: f32,
    }

    // SAFETY: plain numbers, laid out as in C.
    unsafe impl DeviceRepr for AdamState {}

    /// AdamW on a GPU. The number of steps is kept on the device, so that a recorded step can be replayed.
    #[derive(Debug)]
    pub(super) struct Adam {
        vars: Vars,
        first: CudaSlice<f32>,
        second: CudaSlice<f32>,
        state: CudaSlice<AdamState>,
        settings: Settings<AdamSettings>,
    }

    impl Adam {
        pub(super) fn new(device: &CudaDevice, vars: Vec<Var>, params: &ParamsAdamW) -> Result<Self> {
            let vars = Vars::new(device, vars);
            let start = AdamState { power1: 1.0, power2: 1.0, scale1: 0.0, scale2: 0.0 };
            Ok(Self {
                first: vars.zeros()?,
                second: vars.zeros()?,
                state: device.clone_htod(&[start])?,
                settings: Settings::new(device, AdamSettings::new(params))?,
                vars,
            })
        }

        pub(super) fn set(&mut self, params: &ParamsAdamW) {
            self.settings.set(&self.vars.device, AdamSettings::new(params));
        }

        pub(super) fn step(&mut self, gradients: &GradStore) -> Result<()> {
            let Self { vars, first, second, state, settings } = self;
            let device = vars.device.clone();
            let settings = settings.now(&device)?;
            let tick = function(&device, "adam_tick", "wick-optimizer", ptx::OPTIMIZER)?;
            let once = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(&tick);
            launch.arg(settings).arg(&mut *state);
            // SAFETY: the arguments are those of the kernel: one `AdamSettings` and one `AdamState`, which
            // its one thread updates.
            unsafe { launch.launch(once) }.w()?;
            let step = function(&device, "adamw", "wick-optimizer", ptx::OPTIMIZER)?;
            vars.launch(gradients, |all, config| {
                let mut launch = stream.launch_builder(&step);
                launch.arg(all).arg(settings).arg(&*state).arg(&mut *first).arg(&mut *second);
                // SAFETY: the arguments are those of the kernel: parameters whose weights and gradients have
                // `count` numbers each, and whose `start` and `count` lie within `first` and `second`, as
                // `Vars` allocated and checked them; one `AdamSettings` and one `AdamState`; and a block for
                // each part.
                unsafe { launch.launch(config) }.w()?;
                Ok(())
            })
        }
    }
}
