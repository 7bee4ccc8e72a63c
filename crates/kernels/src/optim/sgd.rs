//! Stochastic gradient descent with momentum, in one pass over the parameters.

#[cfg(feature = "cuda")]
use candle_core::Var;
use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::optim::method::Taken;
use crate::optim::method::{Method, Now, below_one, not_negative};
use crate::optim::pass::Rule;
use crate::optim::real::Real;
use crate::optim::slot::{Named, Slot};
use crate::optim::stepper::Stepper;

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
/// On an NVIDIA GPU, `f32` variables without names are stepped in one launch per hundred. State: `sgd.velocity`.
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
///
/// # Errors
/// Those of [`Stepper::named`] and of a step: parameters out of range, a gradient of another shape.
pub type Sgd = Stepper<ParamsSgd>;

impl Method for ParamsSgd {
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
        not_negative("SGD's learning rate", self.lr)?;
        below_one("SGD's momentum", self.momentum)?;
        not_negative("SGD's weight decay", self.weight_decay)
    }

    fn state_names(&self, _: &Named) -> &'static [&'static str] {
        &["sgd.velocity"]
    }

    fn update(&self, slot: &mut Slot, gradient: &Tensor, now: &Now) -> Result<()> {
        let Self { momentum, nesterov, .. } = *self;
        let step = Step { factor: now.factor, rate: now.rate, decay: now.decay, momentum, nesterov };
        slot.step(step, gradient, now.level)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self, vars: Vec<Var>) -> Result<Taken<Self>> {
        match crate::optim::cuda::on_first_gpu(vars) {
            (Some((device, vars)), others) => {
                Ok((Some(Box::new(gpu::Momentum::new(&device, vars, *self)?)), others))
            }
            (None, others) => Ok((None, others)),
        }
    }
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
struct Step {
    factor: f64,
    rate: f64,
    decay: f64,
    momentum: f64,
    nesterov: bool,
}

impl Rule<1> for Step {
    const NAME: &'static str = "sgd";

    #[inline(always)]
    fn step<T: Real>(self, weights: &mut [T], gradients: &[T], [velocity]: [&mut [T]; 1]) {
        let (factor, rate) = (T::narrow(self.factor), T::narrow(self.rate));
        let (decay, momentum) = (T::narrow(self.decay), T::narrow(self.momentum));
        for ((w, &g), v) in weights.iter_mut().zip(gradients).zip(velocity) {
            let g = g * factor + decay * *w;
            *v = momentum * *v + g;
            *w -= rate * if self.nesterov { g + momentum * *v } else { *v };
        }
    }

    fn composed(self, w: &Tensor, g: &Tensor, [v]: [&Tensor; 1]) -> Result<(Tensor, [Tensor; 1])> {
        let g = ((g * self.factor)? + (w * self.decay)?)?;
        let v = ((v * self.momentum)? + &g)?;
        let ahead = if self.nesterov { (g + (&v * self.momentum)?)? } else { v.clone() };
        Ok(((w - (ahead * self.rate)?)?, [v]))
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
    use crate::optim::method::OnGpu;
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
    }

    impl OnGpu<ParamsSgd> for Momentum {
        fn set(&mut self, params: &ParamsSgd) {
            self.settings.set(&self.vars.device, SgdSettings::new(*params));
        }

        fn step(&mut self, gradients: &GradStore) -> Result<()> {
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
