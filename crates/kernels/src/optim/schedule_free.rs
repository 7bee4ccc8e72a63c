//! Schedule-Free AdamW in one pass over the parameters.

use candle_core::{Result, Tensor};

use crate::optim::method::{Clock, Method, Now, below_one, not_negative, within};
use crate::optim::pass::Rule;
use crate::optim::real::Real;
use crate::optim::slot::{Named, Slot};
use crate::optim::stepper::Stepper;

/// The parameters of [`ScheduleFree`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamsScheduleFree {
    /// The learning rate, not negative: constant after a warm-up, and 1 to 10 times AdamW's.
    pub lr: f64,
    /// The weight `β₁` of the average where gradients are taken, in `(0, 1)`.
    pub beta1: f64,
    /// The coefficient `β₂` of the running mean of the gradient's square, in `[0, 1)`.
    pub beta2: f64,
    /// What is added to the root, not negative.
    pub eps: f64,
    /// The coefficient `λ` of the decay, not negative.
    pub weight_decay: f64,
    /// The exponent `p` of the largest learning rate in the weight of a step in the average, not negative.
    pub rate_power: f64,
}

impl Default for ParamsScheduleFree {
    fn default() -> Self {
        Self { lr: 0.0025, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, rate_power: 2.0 }
    }
}

/// Schedule-Free AdamW (Defazio et al. 2024, *The road less scheduled*, arXiv 2405.15682, algorithm 1), as
/// optax's `schedule_free_adamw`. Gradients are taken at `y`; `z` is stepped; `x`, the average of `z`, is what
/// is evaluated: `v ← β₂v + (1-β₂)g²`, `d = g/(√v̂ + ε) + λy`, `z ← z - lr·d`, `x ← (1-c)x + cz`,
/// `y ← (1-β₁)z + β₁x`, where `c` is `lrₘₐₓᵖ` over its sum so far and `lrₘₐₓ` the largest learning rate so far.
///
/// The variables are `y`. [`eval`](Self::eval) gives them the values of `x`, for validation and the weights that
/// are kept; [`train`](Self::train) returns to the bits of `y`. A step in between is refused.
///
/// State: `schedule_free.z`, `schedule_free.second_moment`; numbers: `weight_sum`, `largest_rate`.
///
/// ```
/// use candle_core::{Device, Var};
/// use candle_nn::Optimizer;
/// use wick_kernels::{ParamsScheduleFree, ScheduleFree};
///
/// let w = Var::new(&[1f32], &Device::Cpu)?;
/// let params = ParamsScheduleFree { lr: 0.25, ..Default::default() };
/// let mut optimizer = ScheduleFree::new(vec![w.clone()], params)?;
/// for _ in 0..20 {
///     optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// }
/// let y = w.to_vec1::<f32>()?;
/// optimizer.eval()?;
/// assert!(w.to_vec1::<f32>()? != y);
/// assert!(optimizer.backward_step(&w.sqr()?.sum_all()?).is_err());
/// optimizer.train()?;
/// assert_eq!(w.to_vec1::<f32>()?, y);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Stepper::named`] and of a step: parameters out of range, a gradient of another shape.
pub type ScheduleFree = Stepper<ParamsScheduleFree>;

impl Stepper<ParamsScheduleFree> {
    /// Gives the variables the averaged weights `x = (y - (1-β₁)z)/β₁`. A second call changes nothing.
    ///
    /// # Errors
    /// If candle's ops fail.
    pub fn eval(&mut self) -> Result<()> {
        if self.trained.is_some() {
            return Ok(());
        }
        let beta1 = self.params.beta1;
        let mut all = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let (var, y) = (&slot.named.var, slot.weights()?);
            let x = match slot.named.frozen || self.clock.steps == 0 {
                true => y,
                false => ((y - (slot.state(0)? * (1.0 - beta1))?)? / beta1)?,
            };
            all.push((var.copy()?.detach(), x.to_dtype(var.dtype())?));
        }
        let mut trained = Vec::with_capacity(all.len());
        for (slot, (y, x)) in self.slots.iter().zip(all) {
            if !slot.named.frozen && self.clock.steps > 0 {
                slot.named.var.set(&x)?;
            }
            trained.push(y);
        }
        self.trained = Some(trained);
        Ok(())
    }

    /// Gives the variables the weights that gradients are taken at, to the bit as they were before
    /// [`eval`](Self::eval). A second call changes nothing.
    ///
    /// # Errors
    /// If candle's ops fail.
    pub fn train(&mut self) -> Result<()> {
        if let Some(trained) = &self.trained {
            for (slot, y) in self.slots.iter().zip(trained) {
                slot.named.var.set(y)?;
            }
        }
        self.trained = None;
        Ok(())
    }
}

/// The places of the numbers beside those of the variables.
const WEIGHT_SUM: usize = 0;
const LARGEST_RATE: usize = 1;

impl Method for ParamsScheduleFree {
    const EXTRA: &'static [&'static str] = &["weight_sum", "largest_rate"];

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
        not_negative("Schedule-Free's learning rate", self.lr)?;
        let beta1 = self.beta1;
        within("Schedule-Free's beta1", beta1, beta1 > 0.0 && beta1 < 1.0, "above 0 and below 1")?;
        below_one("Schedule-Free's beta2", self.beta2)?;
        not_negative("Schedule-Free's eps", self.eps)?;
        not_negative("Schedule-Free's weight decay", self.weight_decay)?;
        not_negative("Schedule-Free's power of the rate", self.rate_power)
    }

    fn state_names(&self, _: &Named) -> &'static [&'static str] {
        &["schedule_free.z", "schedule_free.second_moment"]
    }

    fn begin(&self, slot: &mut Slot) -> Result<()> {
        let weights = slot.weights()?;
        slot.set_state(0, &weights)
    }

    fn advance(&self, clock: &mut Clock) {
        clock.extra[LARGEST_RATE] = clock.extra[LARGEST_RATE].max(self.lr);
        clock.extra[WEIGHT_SUM] += clock.extra[LARGEST_RATE].powf(self.rate_power);
    }

    fn update(&self, slot: &mut Slot, gradient: &Tensor, now: &Now) -> Result<()> {
        let (sum, weight) =
            (now.clock.extra[WEIGHT_SUM], now.clock.extra[LARGEST_RATE].powf(self.rate_power));
        let Self { beta1, beta2, eps, .. } = *self;
        let blend = if sum > 0.0 { weight / sum } else { 0.0 };
        let step = Step {
            factor: now.factor,
            beta2,
            scale2: now.clock.correction(beta2),
            eps,
            decay: now.decay,
            blend,
            rate: now.rate,
            ahead: now.rate * (1.0 - beta1 * (1.0 - blend)),
        };
        slot.step(step, gradient, now.level)
    }
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
struct Step {
    factor: f64,
    beta2: f64,
    scale2: f64,
    eps: f64,
    decay: f64,
    /// `c`.
    blend: f64,
    rate: f64,
    /// `lr·(1 - β₁(1-c))`.
    ahead: f64,
}

impl Rule<2> for Step {
    const NAME: &'static str = "schedule-free";

    #[inline(always)]
    fn step<T: Real>(self, weights: &mut [T], gradients: &[T], [base, second]: [&mut [T]; 2]) {
        let (factor, eps, decay) = (T::narrow(self.factor), T::narrow(self.eps), T::narrow(self.decay));
        let (beta2, rest2) = (T::narrow(self.beta2), T::narrow(1.0 - self.beta2));
        let (scale2, blend) = (T::narrow(self.scale2), T::narrow(self.blend));
        let (rate, ahead) = (T::narrow(self.rate), T::narrow(self.ahead));
        for (((y, &g), z), v) in weights.iter_mut().zip(gradients).zip(base).zip(second) {
            let g = g * factor;
            *v = *v * beta2 + g * g * rest2;
            let d = g / ((*v * scale2).root() + eps) + decay * *y;
            *y = *y + blend * (*z - *y) - ahead * d;
            *z -= rate * d;
        }
    }

    fn composed(self, y: &Tensor, g: &Tensor, [z, v]: [&Tensor; 2]) -> Result<(Tensor, [Tensor; 2])> {
        let g = (g * self.factor)?;
        let v = ((v * self.beta2)? + (g.sqr()? * (1.0 - self.beta2))?)?;
        let d = ((g / ((&v * self.scale2)?.sqrt()? + self.eps)?)? + (y * self.decay)?)?;
        let new = ((y + ((z - y)? * self.blend)?)? - (&d * self.ahead)?)?;
        Ok((new, [(z - (d * self.rate)?)?, v]))
    }
}
