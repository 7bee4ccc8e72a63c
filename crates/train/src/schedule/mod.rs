//! Learning-rate schedules, pure functions of the step.

mod check;
mod closure;
#[cfg(test)]
mod tests;
mod text;

use std::f64::consts::PI;

pub use closure::Closure;

/// The steps before a schedule proper, in which the factor rises linearly to 1.
///
/// At step `t` below `steps`, the factor is `start + (1 - start)·t/steps`. PyTorch's `LinearLR` has this form
/// with `start_factor` and `total_iters`; Transformers' warm-up has it with a start of 0, whose first step
/// changes nothing.
///
/// ```
/// use wick_train::{Schedule, Warmup};
///
/// let schedule = Schedule::Constant { warmup: Warmup::new(3) };
/// assert_eq!([0, 1, 2, 3, 4].map(|step| schedule.at(step)), [0.25, 0.5, 0.75, 1.0, 1.0]);
/// assert_eq!(Schedule::Constant { warmup: Warmup::NONE }.at(0), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    /// The number of steps below the full rate.
    pub steps: u64,
    /// The factor at step 0, 0 to 1.
    pub start: f64,
}

impl Warmup {
    /// No warm-up.
    pub const NONE: Self = Self { steps: 0, start: 1.0 };

    /// A warm-up that begins at `1/(steps + 1)`, so that all steps down to the first one are of one size:
    /// `(t + 1)/(steps + 1)`.
    pub fn new(steps: u64) -> Self {
        Self { steps, start: 1.0 / (steps as f64 + 1.0) }
    }

    /// The factor at a step of the warm-up, and `None` after it.
    fn at(self, step: u64) -> Option<f64> {
        (step < self.steps).then(|| self.start + (1.0 - self.start) * (step as f64 / self.steps as f64))
    }
}

/// The curve from one factor to another over a part `u` of the way, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// `u`.
    Linear,
    /// `(1 - cos πu)/2`.
    Cosine,
    /// `√u` (Hägele et al. 2024, arXiv 2405.18392, "1-sqrt"): a fast fall first.
    Sqrt,
}

impl Curve {
    /// The words of SPECs.
    const WORDS: [(&str, Self); 3] =
        [("linear", Self::Linear), ("cosine", Self::Cosine), ("sqrt", Self::Sqrt)];

    fn between(self, from: f64, to: f64, u: f64) -> f64 {
        let between = match self {
            Self::Linear => from + (to - from) * u,
            Self::Cosine => to + (from - to) * (0.5 * (1.0 + libm::cos(PI * u))),
            Self::Sqrt => from + (to - from) * u.sqrt(),
        };
        // Rounding does not go beyond the ends.
        between.max(from.min(to)).min(from.max(to))
    }
}

/// A learning-rate schedule: a factor for each step, by which the optimizer's own learning rate, that of each
/// group, is multiplied. Steps are those of the optimizer, from 0, whatever number of batches a step has.
///
/// With the steps `N`, the warm-up `W`, the floor `F` and the step `t`, after the [`Warmup`] and up to `N`,
/// after which the last value holds:
///
/// | SPEC | factor | as in |
/// |---|---|---|
/// | `constant` | 1 | Transformers' `constant_with_warmup` |
/// | `linear` | `1 + (F - 1)·u`, `u = (t - W)/(N - W)` | PyTorch's `LinearLR`, Transformers' `linear` |
/// | `cosine` | `F + (1 - F)(1 + cos πu)/2`, the same `u` | Loshchilov and Hutter 2017 (arXiv 1608.03983, eq. 5), without restarts; PyTorch's `CosineAnnealingLR` with `T_max = N - W`, optax's `warmup_cosine_decay_schedule` |
/// | `wsd` | 1 up to `N - D`, then from 1 to `F` along a [`Curve`] over `D` steps | Hu et al. 2024 (MiniCPM, arXiv 2404.06395), Hägele et al. 2024 (arXiv 2405.18392) |
/// | `one_cycle` | from `1/div` to 1 over the steps up to `T = rise·N - 1`, then down to `1/(div·final_div)` at step `N - 1`, each along a [`Curve`] | Smith and Topin 2018 (arXiv 1708.07120); PyTorch's `OneCycleLR` with two phases |
/// | `step` | `factor^⌊t/every⌋` | PyTorch's `StepLR` |
///
/// The same schedule gives the same bits on every machine.
///
/// ```
/// use wick_train::{Schedule, Warmup};
///
/// let schedule: Schedule = "cosine:steps=1000,warmup=100,floor=0.1".parse()?;
/// assert_eq!(schedule, Schedule::Cosine { steps: 1000, warmup: Warmup::new(100), floor: 0.1 });
/// assert_eq!((schedule.at(100), schedule.at(1000)), (1.0, 0.1));
/// assert!((schedule.at(550) - 0.55).abs() < 1e-15); // half way, the mean of 1 and the floor
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// The full rate, after a warm-up.
    Constant {
        /// The warm-up.
        warmup: Warmup,
    },
    /// A straight line down to the floor.
    Linear {
        /// The steps in all, with the warm-up.
        steps: u64,
        /// The warm-up.
        warmup: Warmup,
        /// The last factor, 0 to 1.
        floor: f64,
    },
    /// Half a wave of a cosine down to the floor.
    Cosine {
        /// The steps in all, with the warm-up.
        steps: u64,
        /// The warm-up.
        warmup: Warmup,
        /// The last factor, 0 to 1.
        floor: f64,
    },
    /// Warm-up, stable, decay: the full rate for most of the steps.
    WarmupStableDecay {
        /// The steps in all, with the warm-up.
        steps: u64,
        /// The warm-up.
        warmup: Warmup,
        /// The steps of the decay, the last ones.
        decay: u64,
        /// The curve of the decay.
        curve: Curve,
        /// The last factor, 0 to 1.
        floor: f64,
    },
    /// Up to the full rate and down to almost nothing.
    OneCycle {
        /// The steps in all.
        steps: u64,
        /// The fraction of the steps in which the rate rises.
        rise: f64,
        /// The full rate over the first one.
        div: f64,
        /// The first rate over the last one.
        final_div: f64,
        /// The curve of the rise and of the fall.
        curve: Curve,
    },
    /// Falls by a factor each time that a number of steps has passed.
    Step {
        /// The steps at one rate.
        every: u64,
        /// What the rate is multiplied by, above 0 and up to 1.
        factor: f64,
    },
    /// Any function of the step.
    Closure(Closure),
}

impl Schedule {
    /// A schedule by any function of the step. Its text is its name alone, which no SPEC reads.
    ///
    /// ```
    /// use wick_train::Schedule;
    ///
    /// let schedule = Schedule::from_fn("inverse square root", |step| 1.0 / (step as f64 + 1.0).sqrt());
    /// assert_eq!(schedule.at(3), 0.5);
    /// assert_eq!(schedule.to_string(), "inverse square root");
    /// ```
    pub fn from_fn(name: impl Into<String>, f: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self::Closure(Closure::new(name.into(), f))
    }

    /// The factor at a step, from 0. It is a number from 0 to 1 for every schedule that
    /// [`check`](Self::check) accepts, a closure's excepted.
    pub fn at(&self, step: u64) -> f64 {
        match *self {
            Self::Constant { warmup } => warmup.at(step).unwrap_or(1.0),
            Self::Linear { steps, warmup, floor } => {
                warmup.at(step).unwrap_or_else(|| decay(Curve::Linear, step, warmup.steps, steps, floor))
            }
            Self::Cosine { steps, warmup, floor } => {
                warmup.at(step).unwrap_or_else(|| decay(Curve::Cosine, step, warmup.steps, steps, floor))
            }
            Self::WarmupStableDecay { steps, warmup, decay: length, curve, floor } => warmup
                .at(step)
                .unwrap_or_else(|| decay(curve, step, steps.saturating_sub(length), steps, floor)),
            Self::OneCycle { steps, rise, div, final_div, curve } => {
                let (first, t) = (1.0 / div, step as f64);
                let (top, last) = (rise * steps as f64 - 1.0, steps as f64 - 1.0);
                if t < top {
                    curve.between(first, 1.0, t / top)
                } else {
                    let u = if t < last { (t - top) / (last - top) } else { 1.0 };
                    curve.between(1.0, first / final_div, u)
                }
            }
            Self::Step { every, factor } => power(factor, step / every.max(1)),
            Self::Closure(ref closure) => closure.at(step),
        }
    }

    /// The number of steps after which the factor no longer changes, if the schedule has one.
    ///
    /// ```
    /// use wick_train::Schedule;
    ///
    /// assert_eq!("linear:steps=1000".parse::<Schedule>()?.steps(), Some(1000));
    /// assert_eq!("step:every=30,factor=0.1".parse::<Schedule>()?.steps(), None);
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn steps(&self) -> Option<u64> {
        match *self {
            Self::Linear { steps, .. }
            | Self::Cosine { steps, .. }
            | Self::WarmupStableDecay { steps, .. }
            | Self::OneCycle { steps, .. } => Some(steps),
            Self::Constant { .. } | Self::Step { .. } | Self::Closure(_) => None,
        }
    }
}

/// From 1 at step `from`, and before it, to the floor at step `to`, and after it.
fn decay(curve: Curve, step: u64, from: u64, to: u64, floor: f64) -> f64 {
    if step >= to {
        return floor;
    }
    curve.between(1.0, floor, step.saturating_sub(from) as f64 / (to - from) as f64)
}

/// `x^n` by squaring, with the same roundings on every machine.
fn power(mut x: f64, mut n: u64) -> f64 {
    let mut product = 1.0;
    while n > 0 {
        if n % 2 == 1 {
            product *= x;
        }
        x *= x;
        n /= 2;
    }
    product
}
