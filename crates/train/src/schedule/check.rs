//! What the parameters of a schedule have to be.

use super::{Schedule, Warmup};
use crate::error::Error;

impl Schedule {
    /// Checks the parameters.
    ///
    /// # Errors
    /// Names the parameter that is NaN or out of its range, or the parts that are longer than the whole.
    ///
    /// ```
    /// use wick_train::{Schedule, Warmup};
    ///
    /// let schedule = Schedule::Linear { steps: 10, warmup: Warmup::NONE, floor: 1.5 };
    /// assert_eq!(schedule.check().unwrap_err().to_string(), "floor = 1.5 is out of range: it must be 0 to 1");
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            Self::Constant { warmup } => warmup.check(),
            Self::Linear { steps, warmup, floor } | Self::Cosine { steps, warmup, floor } => {
                warmup.check()?;
                check("floor", floor, (0.0..=1.0).contains(&floor), "0 to 1")?;
                fits(warmup.steps < steps, || {
                    format!("a warm-up of {} steps leaves none of {steps}", warmup.steps)
                })
            }
            Self::WarmupStableDecay { steps, warmup, decay, floor, .. } => {
                warmup.check()?;
                check("floor", floor, (0.0..=1.0).contains(&floor), "0 to 1")?;
                fits(decay > 0, || "a decay of 0 steps is none: use constant".to_owned())?;
                fits(warmup.steps.checked_add(decay).is_some_and(|sum| sum <= steps), || {
                    format!(
                        "a warm-up of {} steps and a decay of {decay} are longer than all {steps}",
                        warmup.steps
                    )
                })
            }
            Self::OneCycle { steps, rise, div, final_div, .. } => {
                let above = |x: f64| (1.0..f64::INFINITY).contains(&x);
                check("div", div, above(div), "at least 1")?;
                check("final_div", final_div, above(final_div), "at least 1")?;
                check("rise", rise, rise > 0.0 && rise < 1.0, "between 0 and 1")?;
                fits(rise * steps as f64 > 1.0, || {
                    format!("rise = {rise} of {steps} steps is no more than one step")
                })
            }
            Self::Step { every, factor } => {
                check("factor", factor, factor > 0.0 && factor <= 1.0, "above 0 and at most 1")?;
                fits(every > 0, || "every is 0 steps: it must be 1 or more".to_owned())
            }
            Self::Closure(_) => Ok(()),
        }
    }
}

impl Warmup {
    fn check(self) -> Result<(), Error> {
        check("start", self.start, (0.0..=1.0).contains(&self.start), "0 to 1")?;
        fits(self.steps > 0 || self.start == 1.0, || {
            format!("start = {} is that of a warm-up, which has 0 steps", self.start)
        })
    }
}

fn check(parameter: &'static str, value: f64, holds: bool, range: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Parameter { parameter, value, range }) }
}

fn fits(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Schedule(reason())) }
}
