//! Lion in one pass over the parameters.

use candle_core::{Result, Tensor};

use crate::optim::method::{Method, Now, below_one, not_negative};
use crate::optim::pass::Rule;
use crate::optim::real::Real;
use crate::optim::slot::{Named, Slot};
use crate::optim::stepper::Stepper;

/// The parameters of [`Lion`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamsLion {
    /// The learning rate, not negative: about a tenth of AdamW's.
    pub lr: f64,
    /// The coefficient `β₁` of the step, in `[0, 1)`.
    pub beta1: f64,
    /// The coefficient `β₂` of the running mean, in `[0, 1)`.
    pub beta2: f64,
    /// The coefficient `λ` of the decay, not negative: about ten times AdamW's.
    pub weight_decay: f64,
}

impl Default for ParamsLion {
    fn default() -> Self {
        Self { lr: 1e-4, beta1: 0.9, beta2: 0.99, weight_decay: 1e-3 }
    }
}

/// Lion (Chen et al. 2023, *Symbolic discovery of optimization algorithms*, arXiv 2302.06675, algorithm 2):
/// `c = β₁m + (1-β₁)g`, `w ← (1 - lr·λ)w - lr·sign(c)`, `m ← β₂m + (1-β₂)g`. The sign of 0 is 0.
///
/// State: `lion.momentum`.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::Optimizer;
/// use wick_kernels::{Lion, ParamsLion};
///
/// let w = Var::new(&[1f32, -3.0, 0.0], &Device::Cpu)?;
/// let params = ParamsLion { lr: 0.25, weight_decay: 0.0, ..Default::default() };
/// let mut lion = Lion::new(vec![w.clone()], params)?;
/// lion.backward_step(&w.sqr()?.sum_all()?)?;
/// assert_eq!(w.to_vec1::<f32>()?, [0.75, -2.75, 0.0]); // a step is as large as the learning rate
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Stepper::named`] and of a step: parameters out of range, a gradient of another shape.
pub type Lion = Stepper<ParamsLion>;

impl Method for ParamsLion {
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
        not_negative("Lion's learning rate", self.lr)?;
        below_one("Lion's beta1", self.beta1)?;
        below_one("Lion's beta2", self.beta2)?;
        not_negative("Lion's weight decay", self.weight_decay)
    }

    fn state_names(&self, _: &Named) -> &'static [&'static str] {
        &["lion.momentum"]
    }

    fn update(&self, slot: &mut Slot, gradient: &Tensor, now: &Now) -> Result<()> {
        let Self { beta1, beta2, .. } = *self;
        let keep = 1.0 - now.rate * now.decay;
        slot.step(Step { factor: now.factor, beta1, beta2, rate: now.rate, keep }, gradient, now.level)
    }
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
struct Step {
    factor: f64,
    beta1: f64,
    beta2: f64,
    rate: f64,
    keep: f64,
}

impl Rule<1> for Step {
    const NAME: &'static str = "lion";

    #[inline(always)]
    fn step<T: Real>(self, weights: &mut [T], gradients: &[T], [momentum]: [&mut [T]; 1]) {
        let (factor, rate, keep) = (T::narrow(self.factor), T::narrow(self.rate), T::narrow(self.keep));
        let (beta1, rest1) = (T::narrow(self.beta1), T::narrow(1.0 - self.beta1));
        let (beta2, rest2) = (T::narrow(self.beta2), T::narrow(1.0 - self.beta2));
        let one = T::narrow(1.0);
        for ((w, &g), m) in weights.iter_mut().zip(gradients).zip(momentum) {
            let g = g * factor;
            let c = *m * beta1 + g * rest1;
            // What is neither above nor below 0 is 0 or not a number, and stays so.
            let sign = if c > T::ZERO {
                one
            } else if c < T::ZERO {
                -one
            } else {
                c
            };
            *w = *w * keep - sign * rate;
            *m = *m * beta2 + g * rest2;
        }
    }

    fn composed(self, w: &Tensor, g: &Tensor, [m]: [&Tensor; 1]) -> Result<(Tensor, [Tensor; 1])> {
        let g = (g * self.factor)?;
        let sign = ((m * self.beta1)? + (&g * (1.0 - self.beta1))?)?.sign()?;
        let w = ((w * self.keep)? - (sign * self.rate)?)?;
        Ok((w, [((m * self.beta2)? + (g * (1.0 - self.beta2))?)?]))
    }
}
