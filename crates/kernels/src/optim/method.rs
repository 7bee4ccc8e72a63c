//! What differs between the optimizers.

use std::fmt::Debug;

use candle_core::{Result, Tensor, bail};

use crate::cpu::simd::SimdLevel;
use crate::optim::slot::{Named, Slot};

/// The parameters of an optimizer, which say how a variable is stepped. Wick's own parameters have this trait;
/// it is not meant for others.
pub trait Method: Clone + Debug + Send + Sync + 'static {
    /// The names of the numbers that the optimizer keeps beside those of the variables.
    #[doc(hidden)]
    const EXTRA: &'static [&'static str] = &[];

    /// The learning rate.
    fn learning_rate(&self) -> f64;

    /// Changes the learning rate.
    fn set_learning_rate(&mut self, rate: f64);

    /// The weight decay of variables that have none of their own.
    fn weight_decay(&self) -> f64;

    /// Refuses parameters that are out of range.
    ///
    /// # Errors
    /// The parameter with its range.
    fn check(&self) -> Result<()>;

    /// The names of the state of a variable.
    #[doc(hidden)]
    fn state_names(&self, named: &Named) -> &'static [&'static str];

    /// Prepares the state before the first step.
    #[doc(hidden)]
    fn begin(&self, _slot: &mut Slot) -> Result<()> {
        Ok(())
    }

    /// Updates the numbers beside those of the variables at the beginning of a step.
    #[doc(hidden)]
    fn advance(&self, _clock: &mut Clock) {}

    /// Steps a variable. The gradient is contiguous, in the type that the optimizer computes in.
    #[doc(hidden)]
    fn update(&self, slot: &mut Slot, gradient: &Tensor, now: &Now) -> Result<()>;

    /// Takes variables for this optimizer's kernel.
    #[cfg(feature = "cuda")]
    #[doc(hidden)]
    fn on_gpu(&self, vars: Vec<candle_core::Var>) -> Result<Taken<Self>> {
        Ok((None, vars))
    }
}

/// The variables that a kernel steps, and the others.
#[cfg(feature = "cuda")]
pub type Taken<P> = (Option<Box<dyn OnGpu<P>>>, Vec<candle_core::Var>);

/// Variables that a kernel steps on a GPU.
#[cfg(feature = "cuda")]
pub trait OnGpu<P>: Debug + Send + Sync {
    /// Changes the parameters.
    fn set(&mut self, params: &P);
    /// Steps the variables that have a gradient.
    fn step(&mut self, gradients: &candle_core::backprop::GradStore) -> Result<()>;
}

/// The numbers that an optimizer keeps beside those of the variables.
#[derive(Debug, Clone, PartialEq)]
pub struct Clock {
    /// The number of the step, from 1 on.
    pub(crate) steps: u64,
    /// Those that [`Method::EXTRA`] names.
    pub(crate) extra: Vec<f64>,
}

impl Clock {
    /// `1/(1 - βᵗ)`, which corrects a running mean that began with 0.
    pub(crate) fn correction(&self, beta: f64) -> f64 {
        1.0 / (1.0 - beta.powi(self.steps.try_into().unwrap_or(i32::MAX)))
    }
}

/// What a step is for one variable.
#[derive(Debug)]
pub struct Now<'a> {
    pub(crate) clock: &'a Clock,
    /// What the gradient is multiplied by: clipping, and the loss scale.
    pub(crate) factor: f64,
    /// The learning rate of the variable.
    pub(crate) rate: f64,
    /// The weight decay of the variable.
    pub(crate) decay: f64,
    /// What the `ε` of the variable is multiplied by.
    pub(crate) eps: f64,
    pub(crate) level: SimdLevel,
}

/// Refuses a number outside a range.
pub(crate) fn within(name: &str, x: f64, fits: bool, range: &str) -> Result<()> {
    if fits && x.is_finite() { Ok(()) } else { bail!("{name} is {x}: it has to be {range}") }
}

/// Refuses a learning rate or another number that is negative or not finite.
pub(crate) fn not_negative(name: &str, x: f64) -> Result<()> {
    within(name, x, x >= 0.0, "0 or more")
}

/// Refuses a coefficient of a running mean outside `[0, 1)`.
pub(crate) fn below_one(name: &str, x: f64) -> Result<()> {
    within(name, x, (0.0..1.0).contains(&x), "in [0, 1)")
}
