//! The learning-rate finder.

#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::Named;

use crate::Error;
use crate::optimizer::{AnyOptimizer, OptimizerSpec};
use crate::schedule::{Curve, Schedule};

/// The learning-rate finder. First some steps at rates that rise geometrically (Smith 2017, arXiv 1506.01186): between
/// the rates at which the loss begins to fall and at which it blows up, it finds the one by which three quarters of the
/// fall are done. The fall is that from the loss that the start has on the same batch, so that easy and hard batches do
/// not count. Then short trainings at rates about that one, each from the start and with the same batches. A trial
/// goes on as long as its loss can compete with the lowest that another one had at that step: which of two rates is
/// better often shows late, where the loss rests on a plateau or has fallen to its noise. The rate with the lowest loss
/// at the end is suggested, or the fastest of those that are as good. Every variable is put back to the bit.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Module, linear, loss::mse, seq};
/// use wick_init::{InitMap, Initializer, KeyedV1};
/// use wick_train::{OptimizerSpec, RateFinder};
///
/// let map = InitMap::new(42);
/// let vb = map.var_builder(DType::F32, &Device::Cpu);
/// let model = seq()
///     .add(linear(8, 32, vb.pp("a"))?)
///     .add(candle_nn::Activation::Relu)
///     .add(linear(32, 1, vb.pp("b"))?);
/// let key = KeyedV1::new(42).key("batch");
/// let xs = Initializer::normal(1.0).tensor(key, (64, 8), DType::F32, &Device::Cpu)?;
/// let targets = xs.narrow(1, 0, 1)?;
///
/// let finder = RateFinder::new("sgd:momentum=.9".parse()?);
/// let found = finder.run(&map.named_vars(), |_step| mse(&model.forward(&xs)?, &targets))?;
/// let rate = found.suggestion().expect("the loss falls");
/// assert!((1e-3..1.0).contains(&rate), "{rate}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct RateFinder {
    optimizer: OptimizerSpec,
    low: f64,
    high: f64,
    steps: u64,
    trial: u64,
}

/// One step of the finder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RatePoint {
    /// The learning rate of the step.
    pub rate: f64,
    /// The loss before the step.
    pub loss: f64,
    /// The loss of the start on the same batch.
    pub start: f64,
    /// The exponential average of the losses so far, without its bias towards the start.
    pub smoothed: f64,
}

/// A short training at one rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateTrial {
    /// The learning rate.
    pub rate: f64,
    /// The steps after which the trial ended: fewer than those of others if its loss could not compete.
    pub steps: u64,
    /// The mean loss of the last fifth of these steps; infinite if the loss blew up.
    pub loss: f64,
    /// The mean loss of all of them: of two rates with the same end the lower one belongs to the faster.
    pub mean: f64,
}

/// What the finder saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateTest {
    /// The steps in their order, up to the one at which the loss blew up.
    pub points: Vec<RatePoint>,
    /// The rate at which the loss left all that came before, or became NaN; none if it did not up to the last.
    pub limit: Option<f64>,
    /// The short trainings, by rising rate; none if the loss never falls, or none were asked for.
    pub trials: Vec<RateTrial>,
}

/// The loss blew up if its average is this many times the lowest one.
const BLOW_UP: f64 = 4.0;
/// What the average keeps at each step.
const KEEP: f64 = 0.9;
/// The part of the fall of the loss by which a rate is found.
const FALLEN: f64 = 0.75;
/// Losses of trials that are as close as this part of them are taken for equal.
const TIE: f64 = 0.02;
/// A trial goes on if its loss is at most this part above the lowest of the others: the means of short trials differ
/// by chance by less.
const COMPETES: f64 = 0.5;
/// The rates of the trials, as multiples of that rate, the most probable first.
const TRIALS: [f64; 6] = [1.0, 2.0, 0.5, 4.0, 0.25, 8.0];
/// The further rates that are tried at most where the first or the last is the best, each twice or half of it.
const FURTHER: usize = 6;
/// The lengths at which a trial is compared with the others, as multiples of the shortest.
const LENGTHS: [u64; 3] = [1, 2, 4];

impl RateFinder {
    /// 150 steps from 1e-6 to 10 by this optimizer, whose own rate is not used, and six to twelve trials of 100, 200 or
    /// 400 steps.
    pub fn new(optimizer: OptimizerSpec) -> Self {
        Self { optimizer, low: 1e-6, high: 10.0, steps: 150, trial: 100 }
    }

    /// The first and the last rate, above 0 and rising; no rate outside is tried.
    pub fn with_range(self, low: f64, high: f64) -> Self {
        Self { low, high, ..self }
    }

    /// The number of steps, at least 10.
    pub fn with_steps(self, steps: u64) -> Self {
        Self { steps, ..self }
    }

    /// The number of steps of the shortest trials, from 5 to 2⁶⁰; those that can compete take twice, and then four
    /// times as many. 0 for no trials.
    pub fn with_trial_steps(self, trial: u64) -> Self {
        Self { trial, ..self }
    }

    /// Takes the steps, and puts every variable back. `loss` makes the scalar loss of a step's batch; the steps are
    /// counted from 0 in each trial.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::Settings`] if the first loss is not finite or depends on
    /// none of the variables; those of the pass. All variables have the bits that they had.
    pub fn run(
        &self,
        vars: &[(String, Var)],
        mut loss: impl FnMut(u64) -> Result<Tensor>,
    ) -> std::result::Result<RateTest, Error> {
        let check = |parameter, value: f64, holds: bool, range| {
            if holds { Ok(()) } else { Err(Error::Parameter { parameter, value, range }) }
        };
        check("low", self.low, self.low > 0.0 && self.low.is_finite(), "above 0")?;
        check("high", self.high, self.high > self.low && self.high.is_finite(), "above the lowest rate")?;
        check("steps", self.steps as f64, self.steps >= 10, "at least 10")?;
        let trial = self.trial;
        check("trial", trial as f64, trial == 0 || (5..=1 << 60).contains(&trial), "0, or from 5 to 2⁶⁰")?;
        let before = vars.iter().map(|(_, var)| Ok(var.copy()?.detach())).collect::<Result<Vec<_>>>()?;
        let restore = || vars.iter().zip(&before).try_for_each(|((_, var), before)| var.set(before));
        let found = self.rising(vars, &mut loss);
        restore()?;
        let mut found = found?;
        let Some(middle) = found.fallen().filter(|_| self.trial > 0) else { return Ok(found) };
        let mut lowest = [f64::INFINITY; LENGTHS.len()];
        let is_inside = |rate: &f64| (self.low..=self.high).contains(rate);
        let mut next: Vec<f64> = TRIALS.map(|factor| factor * middle).into_iter().filter(is_inside).collect();
        for further in 0..=FURTHER {
            for rate in next.drain(..) {
                let trial = self.constant(vars, rate, &mut lowest, &mut loss);
                restore()?;
                found.trials.push(trial?);
            }
            found.trials.sort_by(|a, b| a.rate.total_cmp(&b.rate));
            next.extend(found.beyond().filter(|rate| further < FURTHER && is_inside(rate)));
        }
        Ok(found)
    }

    fn optimizer(&self, vars: &[(String, Var)]) -> Result<AnyOptimizer> {
        AnyOptimizer::new(
            &self.optimizer,
            vars.iter().map(|(name, var)| Named::new(name, var.clone())).collect(),
        )
    }

    /// A trial, which lowers the `lowest` losses of each length.
    fn constant(
        &self,
        vars: &[(String, Var)],
        rate: f64,
        lowest: &mut [f64; LENGTHS.len()],
        loss: &mut impl FnMut(u64) -> Result<Tensor>,
    ) -> std::result::Result<RateTrial, Error> {
        let mut optimizer = self.optimizer(vars)?;
        let mut losses = Vec::new();
        for (length, lowest) in LENGTHS.iter().zip(lowest) {
            for step in losses.len() as u64..self.trial * length {
                let tensor = loss(step)?;
                losses.push(number(&tensor)?);
                if !losses[losses.len() - 1].is_finite() {
                    return Ok(RateTrial { rate, steps: step + 1, loss: f64::INFINITY, mean: f64::INFINITY });
                }
                optimizer.step(&tensor.backward()?, rate)?;
            }
            let end = mean_from(&losses, losses.len() * 4 / 5);
            *lowest = end.min(*lowest);
            if end > *lowest + COMPETES * lowest.abs() {
                break;
            }
        }
        let (end, mean) = (mean_from(&losses, losses.len() * 4 / 5), mean_from(&losses, 0));
        Ok(RateTrial { rate, steps: losses.len() as u64, loss: end, mean })
    }

    /// The steps at rising rates.
    fn rising(
        &self,
        vars: &[(String, Var)],
        loss: &mut impl FnMut(u64) -> Result<Tensor>,
    ) -> std::result::Result<RateTest, Error> {
        let mut starts = Vec::new();
        for step in 0..self.steps {
            let tensor = loss(step)?;
            starts.push(number(&tensor)?);
            if step == 0 && starts[0].is_finite() {
                let gradients = tensor.backward()?;
                if !vars.iter().any(|(_, var)| gradients.get(var).is_some()) {
                    let problem =
                        format!("the loss depends on none of the {} variables: pass the model's", vars.len());
                    return Err(Error::Settings(problem));
                }
            }
        }
        let mut optimizer = self.optimizer(vars)?;
        let mut points: Vec<RatePoint> = Vec::new();
        let (mut average, mut lowest) = (0.0, f64::INFINITY);
        for (step, start) in starts.into_iter().enumerate() {
            let rate = self.low * (self.high / self.low).powf(step as f64 / (self.steps - 1) as f64);
            let tensor = loss(step as u64)?;
            let value = number(&tensor)?;
            if step == 0 && !value.is_finite() {
                return Err(Error::Settings(format!(
                    "the loss is {value} before any step: check the batch and the start"
                )));
            }
            average = KEEP * average + (1.0 - KEEP) * value;
            let smoothed = average / (1.0 - KEEP.powi(step as i32 + 1));
            lowest = smoothed.min(lowest);
            // The rate that did it is that of the step before.
            let is_lost = !value.is_finite() || smoothed > BLOW_UP * lowest.abs().max(f64::MIN_POSITIVE);
            if is_lost && step > 0 {
                return Ok(RateTest {
                    limit: points.last().map(|point| point.rate),
                    points,
                    trials: Vec::new(),
                });
            }
            points.push(RatePoint { rate, loss: value, start, smoothed });
            optimizer.step(&tensor.backward()?, rate)?;
        }
        Ok(RateTest { points, limit: None, trials: Vec::new() })
    }
}

/// The loss as a number.
fn number(loss: &Tensor) -> Result<f64> {
    loss.to_dtype(DType::F64)?.to_scalar()
}

/// The mean of the losses from one on, infinite if one is not finite.
fn mean_from(losses: &[f64], first: usize) -> f64 {
    let last = &losses[first..];
    let mean = last.iter().sum::<f64>() / last.len() as f64;
    if mean.is_finite() { mean } else { f64::INFINITY }
}

impl RateTest {
    /// The first rate by which three quarters of the average loss's fall below the start's are done; none if it never
    /// falls by a thousandth.
    pub fn fallen(&self) -> Option<f64> {
        let (mut average, mut of_start) = (0.0, 0.0);
        let falls = self.points.iter().zip(1..).map(|(point, step)| {
            average = KEEP * average + (1.0 - KEEP) * (point.start - point.loss);
            of_start = KEEP * of_start + (1.0 - KEEP) * point.start;
            let without_bias = 1.0 / (1.0 - KEEP.powi(step));
            (point.rate, without_bias * average, without_bias * of_start)
        });
        let falls: Vec<(f64, f64, f64)> = falls.collect();
        let &(_, largest, of_start) = falls.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        if largest <= 1e-3 * of_start.abs() || largest.is_nan() {
            return None;
        }
        falls.iter().find(|(_, fall, _)| *fall >= FALLEN * largest).map(|(rate, ..)| *rate)
    }

    /// Whether a lower and a higher rate than the suggestion were tried: else the best one may lie beyond.
    pub fn is_bracketed(&self) -> bool {
        self.suggestion().is_some_and(|rate| {
            self.trials.iter().any(|trial| trial.rate < rate)
                && self.trials.iter().any(|trial| trial.rate > rate)
        })
    }

    /// A constant rate to train with: that of the longest trial with the lowest loss at its end, or, of those within 2 %
    /// of it, of the one whose mean loss is the lowest; [`fallen`](Self::fallen) without trials; none if the loss never
    /// falls, or blew up in every trial.
    pub fn suggestion(&self) -> Option<f64> {
        if self.trials.is_empty() {
            return self.fallen();
        }
        let finite = || self.trials.iter().filter(|trial| trial.loss.is_finite());
        let longest = finite().map(|trial| trial.steps).max()?;
        let finalists = || finite().filter(|trial| trial.steps == longest);
        let lowest = finalists().map(|trial| trial.loss).fold(f64::INFINITY, f64::min);
        let is_as_good = |trial: &&RateTrial| trial.loss <= lowest + TIE * lowest.abs();
        let fastest = finalists().filter(is_as_good).min_by(|a, b| a.mean.total_cmp(&b.mean));
        fastest.map(|trial| trial.rate)
    }

    /// The rate to try next: beyond the lowest or the highest that was tried, if that one is the best.
    fn beyond(&self) -> Option<f64> {
        let (suggestion, first, last) = (self.suggestion()?, self.trials.first()?, self.trials.last()?);
        match suggestion {
            rate if rate == last.rate => Some(2.0 * rate),
            rate if rate == first.rate => Some(0.5 * rate),
            _ => None,
        }
    }

    /// The suggestion, with the one-cycle schedule over `steps` steps whose highest rate it is (Smith and Topin 2018,
    /// arXiv 1708.07120; the settings are PyTorch's).
    pub fn one_cycle(&self, steps: u64) -> Option<(f64, Schedule)> {
        let schedule =
            Schedule::OneCycle { steps, rise: 0.3, div: 25.0, final_div: 1e4, curve: Curve::Cosine };
        self.suggestion().map(|rate| (rate, schedule))
    }
}
