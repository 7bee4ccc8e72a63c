//! The optimizers: variables, their state, and steps.

use std::collections::HashSet;

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var, bail};
use candle_nn::Optimizer;

use crate::cpu::simd::SimdLevel;
use crate::optim::clip::{Clip, LossScale, squares};
#[cfg(feature = "cuda")]
use crate::optim::method::OnGpu;
use crate::optim::method::{Clock, Method, Now, not_negative, within};
use crate::optim::slot::{Named, Slot, computed_in};

/// An optimizer with the parameters `P`: [`AdamW`](crate::AdamW), [`Sgd`](crate::Sgd), [`Lion`](crate::Lion),
/// [`Muon`](crate::Muon) and [`ScheduleFree`](crate::ScheduleFree) are such.
///
/// On a CPU, a variable is stepped in one pass that reads each number once: `f32` and `f64` in their own type,
/// `bf16` and `f16` in `f32`, which their weights are kept in beside the variable. The bits depend neither on
/// the number of threads nor on the SIMD level. Elsewhere candle's ops do the same.
///
/// [`named`](Self::named) takes variables with names, learning rates and weight decays of their own, and what
/// [`state`](Self::state) and [`scalars`](Self::scalars) return continues a run to the bit.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::{Optimizer, ParamsAdamW};
/// use wick_kernels::{AdamW, Clip, ClipRule, Named};
///
/// let (w, b) = (Var::new(&[3f32, 4.0], &Device::Cpu)?, Var::new(&[1f32], &Device::Cpu)?);
/// let vars = || vec![Named::new("w", w.clone()), Named::new("b", b.clone()).frozen()];
/// let mut adamw = AdamW::named(vars(), ParamsAdamW::default())?;
/// adamw.set_clip(Some(Clip { norm: 1.0, rule: ClipRule::Torch }))?;
/// adamw.backward_step(&(w.sqr()?.sum_all()? + b.sum_all()?)?)?;
/// assert_eq!(adamw.gradient_norm(), Some(10.0)); // of (6, 8): `b` is frozen
/// assert_eq!(b.to_vec1::<f32>()?, [1.0]);
///
/// let mut other = AdamW::named(vars(), ParamsAdamW::default())?;
/// other.load_state(&adamw.state()?, &adamw.scalars())?;
/// assert_eq!(other.steps(), 1);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Stepper<P: Method> {
    pub(crate) params: P,
    pub(crate) slots: Vec<Slot>,
    pub(crate) clock: Clock,
    pub(crate) loss_scale: Option<LossScale>,
    clip: Option<Clip>,
    norm: Option<f64>,
    /// The variables as they are trained, while the optimizer shows others.
    pub(crate) trained: Option<Vec<Tensor>>,
    pub(crate) level: SimdLevel,
    #[cfg(feature = "cuda")]
    pub(crate) on_gpu: Option<Box<dyn OnGpu<P>>>,
}

impl<P: Method> Stepper<P> {
    /// An optimizer of variables with names.
    ///
    /// # Errors
    /// If a parameter is out of range, a name or a variable is there twice, or a variable is of a type other
    /// than `f32`, `f64`, `bf16` and `f16`.
    pub fn named(vars: Vec<Named>, params: P) -> Result<Self> {
        params.check()?;
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for Named { name, var, rate, decay, eps, .. } in &vars {
            if !is_float(var) {
                bail!("`{name}` is {:?}: an optimizer takes f32, f64, bf16 and f16", var.dtype());
            }
            if !names.insert(name) {
                bail!("two variables have the name `{name}`: give each a name of its own");
            }
            if !ids.insert(var.id()) {
                bail!("`{name}` is a variable that has another name too: leave one of them out");
            }
            not_negative(&format!("the factor of the learning rate of `{name}`"), *rate)?;
            not_negative(&format!("the weight decay of `{name}`"), decay.unwrap_or(0.0))?;
            not_negative(&format!("the factor of the eps of `{name}`"), *eps)?;
        }
        Self::with_slots(vars, params)
    }

    fn with_slots(vars: Vec<Named>, params: P) -> Result<Self> {
        let slot = |named: Named| {
            let names = params.state_names(&named);
            Slot::new(named, names)
        };
        let slots = vars.into_iter().map(slot).collect::<Result<_>>()?;
        let clock = Clock { steps: 0, extra: vec![0.0; P::EXTRA.len()] };
        Ok(Self {
            params,
            slots,
            clock,
            loss_scale: None,
            clip: None,
            norm: None,
            trained: None,
            level: SimdLevel::best(),
            #[cfg(feature = "cuda")]
            on_gpu: None,
        })
    }

    /// The parameters.
    pub fn params(&self) -> &P {
        &self.params
    }

    /// Changes the parameters from the next step on. The next step refuses those that are out of range.
    pub fn set_params(&mut self, params: P) {
        #[cfg(feature = "cuda")]
        if let Some(on_gpu) = &mut self.on_gpu {
            on_gpu.set(&params);
        }
        self.params = params;
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.clock.steps
    }

    /// Clips the gradients by their common norm from the next step on, or no longer.
    ///
    /// # Errors
    /// If the norm is not a number above 0, or variables are stepped by a CUDA kernel, which does not clip:
    /// such variables have to be given to [`named`](Self::named).
    pub fn set_clip(&mut self, clip: Option<Clip>) -> Result<()> {
        if let Some(clip) = clip {
            within("the norm of clipping", clip.norm, clip.norm > 0.0, "above 0")?;
            self.refuse_kernel("clip gradients")?;
        }
        self.clip = clip;
        Ok(())
    }

    /// Divides the gradients by a loss scale from the next step on, or no longer. `f16` variables need one:
    /// multiply the loss by [`loss_scale`](Self::loss_scale) before the backward pass.
    ///
    /// # Errors
    /// As [`set_clip`](Self::set_clip).
    pub fn set_loss_scale(&mut self, scale: Option<LossScale>) -> Result<()> {
        if let Some(scale) = scale {
            within("the loss scale", scale.scale, scale.scale > 0.0, "above 0")?;
            self.refuse_kernel("take a loss scale")?;
        }
        self.loss_scale = scale;
        Ok(())
    }

    /// What the loss of the next step has to be multiplied by.
    pub fn loss_scale(&self) -> f64 {
        self.loss_scale.map_or(1.0, |scale| scale.scale)
    }

    /// The norm of all gradients at the last step, before clipping and without the loss scale; `None` unless
    /// the optimizer clips or has a loss scale.
    pub fn gradient_norm(&self) -> Option<f64> {
        self.norm
    }

    /// Refuses what the kernels of a GPU cannot do.
    pub(crate) fn refuse_kernel(&self, what: &str) -> Result<()> {
        #[cfg(feature = "cuda")]
        if self.on_gpu.is_some() {
            bail!("variables without names on a CUDA device cannot {what}: build the optimizer with `named`");
        }
        let _ = what;
        Ok(())
    }

    /// The gradient of each variable, in the type that the optimizer computes in.
    fn gradients(&self, store: &GradStore) -> Result<Vec<Option<Tensor>>> {
        let of = |slot: &Slot| {
            let Named { name, var, frozen, .. } = &slot.named;
            let Some(gradient) = store.get(var).filter(|_| !frozen) else { return Ok(None) };
            if gradient.dims() != var.dims() {
                bail!("`{name}` has {:?} numbers and its gradient {:?}", var.dims(), gradient.dims());
            }
            if var.dtype() == DType::F16 && self.loss_scale.is_none() {
                bail!("`{name}` is f16, whose gradients vanish without a loss scale: set one, or use bf16");
            }
            Ok(Some(gradient.detach().to_dtype(computed_in(var.dtype()))?.contiguous()?))
        };
        self.slots.iter().map(of).collect()
    }

    /// Measures the gradients, and returns what they are multiplied by; `None` if the step has to be left out.
    fn factor(&mut self, gradients: &[Option<Tensor>]) -> Result<Option<f64>> {
        if self.clip.is_none() && self.loss_scale.is_none() {
            self.norm = None;
            return Ok(Some(1.0));
        }
        let squares = gradients.iter().map(|gradient| gradient.as_ref().map_or(Ok(0.0), squares));
        let squares = squares.collect::<Result<Vec<_>>>()?;
        let norm = squares.iter().sum::<f64>().sqrt() / self.loss_scale();
        self.norm = Some(norm);
        if let Some(index) = squares.iter().position(|squares| !squares.is_finite()) {
            return match &mut self.loss_scale {
                Some(scale) if scale.interval.is_some() => {
                    scale.update(false);
                    Ok(None)
                }
                _ => bail!(
                    "the gradient of `{}` is not finite at step {}: lower the learning rate, or look at the batch",
                    self.slots[index].named.name,
                    self.clock.steps + 1
                ),
            };
        }
        let factor = self.clip.map_or(1.0, |clip| clip.factor(norm)) / self.loss_scale();
        if let Some(scale) = &mut self.loss_scale {
            scale.update(true);
        }
        Ok(Some(factor))
    }
}

fn is_float(var: &Var) -> bool {
    matches!(var.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16)
}

impl<P: Method> Optimizer for Stepper<P> {
    type Config = P;

    /// An optimizer of variables whose names are their numbers, from 0 on. Variables that are not floating
    /// point numbers are left out.
    fn new(vars: Vec<Var>, params: P) -> Result<Self> {
        params.check()?;
        let vars: Vec<Var> = vars.into_iter().filter(is_float).collect();
        #[cfg(feature = "cuda")]
        let (on_gpu, vars) = params.on_gpu(vars)?;
        let named = |(index, var): (usize, Var)| Named::new(index.to_string(), var);
        let stepper = Self::with_slots(vars.into_iter().enumerate().map(named).collect(), params)?;
        #[cfg(feature = "cuda")]
        let stepper = Self { on_gpu, ..stepper };
        Ok(stepper)
    }

    /// Steps the variables that have a gradient.
    fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.params.check()?;
        if self.trained.is_some() {
            bail!("the variables have the weights of evaluation: call `train` before a step");
        }
        let found = self.gradients(gradients)?;
        let Some(factor) = self.factor(&found)? else { return Ok(()) };
        if self.clock.steps == 0 {
            self.slots
                .iter_mut()
                .filter(|slot| !slot.named.frozen)
                .try_for_each(|slot| self.params.begin(slot))?;
        }
        self.clock.steps += 1;
        self.params.advance(&mut self.clock);
        for (slot, gradient) in self.slots.iter_mut().zip(found) {
            let Some(gradient) = gradient else { continue };
            let now = Now {
                clock: &self.clock,
                factor,
                rate: self.params.learning_rate() * slot.named.rate,
                decay: slot.named.decay.unwrap_or(self.params.weight_decay()),
                eps: slot.named.eps,
                level: self.level,
            };
            self.params.update(slot, &gradient, &now)?;
        }
        #[cfg(feature = "cuda")]
        if let Some(on_gpu) = &mut self.on_gpu {
            on_gpu.step(gradients)?;
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.params.learning_rate()
    }

    fn set_learning_rate(&mut self, rate: f64) {
        let mut params = self.params.clone();
        params.set_learning_rate(rate);
        self.set_params(params);
    }
}
