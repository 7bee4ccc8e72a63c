//! AdamW in one pass over the parameters.

#[cfg(feature = "cuda")]
use candle_core::Var;
use candle_core::{Result, Tensor};
use candle_nn::ParamsAdamW;

#[cfg(feature = "cuda")]
use crate::optim::method::Taken;
use crate::optim::method::{Method, Now, below_one, not_negative};
use crate::optim::pass::Rule;
use crate::optim::real::Real;
use crate::optim::slot::{Named, Slot};
use crate::optim::stepper::Stepper;

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with the parameters and the arithmetic of
/// [`candle_nn::AdamW`], as a drop-in replacement: with the gradient `g` at step `t`, `m ← β₁m + (1-β₁)g`,
/// `v ← β₂v + (1-β₂)g²`, `w ← (1 - lr·λ)w - lr·m̂/(√v̂ + ε)`, where `m̂ = m/(1-β₁ᵗ)` and `v̂ = v/(1-β₂ᵗ)`.
///
/// `bf16` and `f16` variables have their weights, `m` and `v` in `f32`. (In `bf16`, as candle's AdamW has them,
/// `v` never decays, since 0.999 is 1 there.) On an NVIDIA GPU, `f32` variables without names are stepped in
/// one launch per hundred. State: `adamw.first_moment`, `adamw.second_moment`.
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
///
/// # Errors
/// Those of [`Stepper::named`] and of a step: parameters out of range, a gradient of another shape.
pub type AdamW = Stepper<ParamsAdamW>;

impl Method for ParamsAdamW {
    fn learning_rate(&self) -> f64 {
        self.lr
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.lr = rate;
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn check(&self) -> Result<()> {
        not_negative("AdamW's learning rate", self.lr)?;
        below_one("AdamW's beta1", self.beta1)?;
        below_one("AdamW's beta2", self.beta2)?;
        not_negative("AdamW's eps", self.eps)?;
        not_negative("AdamW's weight decay", self.weight_decay)
    }

    fn state_names(&self, _: &Named) -> &'static [&'static str] {
        STATE
    }

    fn update(&self, slot: &mut Slot, gradient: &Tensor, now: &Now) -> Result<()> {
        slot.step(Step::new(self, now), gradient, now.level)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, vars: Vec<Var>) -> Result<Taken<Self>> {
        match crate::optim::cuda::on_first_gpu(vars) {
            (Some((device, vars)), others) => {
                Ok((Some(Box::new(gpu::Adam::new(&device, vars, self)?)), others))
            }
            (None, others) => Ok((None, others)),
        }
    }
}

/// The running means of the gradient and of its square.
pub(crate) const STATE: &[&str] = &["adamw.first_moment", "adamw.second_moment"];

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    factor: f64,
    beta1: f64,
    beta2: f64,
    scale1: f64,
    scale2: f64,
    eps: f64,
    rate: f64,
    keep: f64,
}

impl Step {
    /// The step of a variable with its own learning rate and decay.
    pub(crate) fn new(params: &ParamsAdamW, now: &Now) -> Self {
        let ParamsAdamW { beta1, beta2, eps, .. } = *params;
        Self {
            factor: now.factor,
            beta1,
            beta2,
            scale1: now.clock.correction(beta1),
            scale2: now.clock.correction(beta2),
            eps: eps * now.eps,
            rate: now.rate,
            keep: 1.0 - now.rate * now.decay,
        }
    }
}

impl Rule<2> for Step {
    const NAME: &'static str = "adamw";

    #[inline(always)]
    fn step<T: Real>(self, weights: &mut [T], gradients: &[T], [first, second]: [&mut [T]; 2]) {
        let factor = T::narrow(self.factor);
        let (beta1, rest1) = (T::narrow(self.beta1), T::narrow(1.0 - self.beta1));
        let (beta2, rest2) = (T::narrow(self.beta2), T::narrow(1.0 - self.beta2));
        let (scale1, scale2) = (T::narrow(self.scale1), T::narrow(self.scale2));
        let (eps, rate, keep) = (T::narrow(self.eps), T::narrow(self.rate), T::narrow(self.keep));
        for (((w, &g), m), v) in weights.iter_mut().zip(gradients).zip(first).zip(second) {
            let g = g * factor;
            *m = *m * beta1 + g * rest1;
            *v = *v * beta2 + g * g * rest2;
            let direction = *m * scale1 / ((*v * scale2).root() + eps);
            *w = *w * keep - direction * rate;
        }
    }

    fn composed(self, w: &Tensor, g: &Tensor, [m, v]: [&Tensor; 2]) -> Result<(Tensor, [Tensor; 2])> {
        let g = (g * self.factor)?;
        let m = ((m * self.beta1)? + (&g * (1.0 - self.beta1))?)?;
        let v = ((v * self.beta2)? + (g.sqr()? * (1.0 - self.beta2))?)?;
        let direction = ((&m * self.scale1)? / ((&v * self.scale2)?.sqrt()? + self.eps)?)?;
        let w = ((w * self.keep)? - (direction * self.rate)?)?;
        Ok((w, [m, v]))
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
    use crate::optim::method::OnGpu;

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
    }

    impl OnGpu<ParamsAdamW> for Adam {
        fn set(&mut self, params: &ParamsAdamW) {
            self.settings.set(&self.vars.device, AdamSettings::new(params));
        }

        fn step(&mut self, gradients: &GradStore) -> Result<()> {
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
