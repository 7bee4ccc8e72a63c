//! The learning-rate finder.

#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::Named;

use crate::Error;
use crate::optimizer::{AnyOptimizer, OptimizerSpec};
use crate::schedule::{Curve, Schedule};

/// The learning-rate finder: some steps at rates that rise geometrically, on a copy of the variables in effect, since
/// all of them are put back to the bit (Smith 2017, arXiv 1506.01186).
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
}

/// One step of the finder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RatePoint {
    /// The learning rate of the step.
    pub rate: f64,
    /// The loss before the step.
    pub loss: f64,
    /// The exponential average of the losses so far, without its bias towards the start.
    pub smoothed: f64,
}

/// What the finder saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateTest {
    /// The steps in their order, up to the one at which the loss blew up.
    pub points: Vec<RatePoint>,
    /// The rate at which the loss left all that came before, or became NaN; none if it did not up to the last.
    pub limit: Option<f64>,
}

/// The loss blew up if its average is this many times the lowest one.
const BLOW_UP: f64 = 4.0;
/// What the average keeps at each step.
const KEEP: f64 = 0.9;

impl RateFinder {
    /// 150 steps from 1e-6 to 10 by this optimizer, whose own rate is not used.
    pub fn new(optimizer: OptimizerSpec) -> Self {
        Self { optimizer, low: 1e-6, high: 10.0, steps: 150 }
    }

    /// The first and the last rate, above 0 and rising.
    pub fn with_range(self, low: f64, high: f64) -> Self {
        Self { low, high, ..self }
    }

    /// The number of steps, at least 10.
    pub fn with_steps(self, steps: u64) -> Self {
        Self { steps, ..self }
    }

    /// Takes the steps, and puts every variable back. `loss` makes the scalar loss of a step's batch.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::Settings`] if the first loss is not finite; those of the
    /// pass. All variables have the bits that they had.
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
        let before = vars.iter().map(|(_, var)| Ok(var.copy()?.detach())).collect::<Result<Vec<_>>>()?;
        let found = self.steps(vars, &mut loss);
        for ((_, var), before) in vars.iter().zip(&before) {
            var.set(before)?;
        }
        found
    }

    fn steps(
        &self,
        vars: &[(String, Var)],
        loss: &mut impl FnMut(u64) -> Result<Tensor>,
    ) -> std::result::Result<RateTest, Error> {
        let named = vars.iter().map(|(name, var)| Named::new(name, var.clone())).collect();
        let mut optimizer = AnyOptimizer::new(&self.optimizer, named)?;
        let mut points: Vec<RatePoint> = Vec::new();
        let (mut average, mut lowest) = (0.0, f64::INFINITY);
        for step in 0..self.steps {
            let rate = self.low * (self.high / self.low).powf(step as f64 / (self.steps - 1) as f64);
            let tensor = loss(step)?;
            let value = tensor.to_dtype(DType::F64)?.to_scalar::<f64>()?;
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
                return Ok(RateTest { limit: points.last().map(|point| point.rate), points });
            }
            points.push(RatePoint { rate, loss: value, smoothed });
            optimizer.step(&tensor.backward()?, rate)?;
        }
        Ok(RateTest { points, limit: None })
    }
}

impl RateTest {
    /// The rate at which the average loss falls fastest for each factor of the rate; none if it never falls by a
    /// thousandth.
    pub fn steepest(&self) -> Option<f64> {
        let first = self.points.first()?.smoothed;
        let lowest = self.points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
        if first - lowest <= 1e-3 * first.abs() {
            return None;
        }
        let slope =
            |pair: &[RatePoint]| (pair[1].smoothed - pair[0].smoothed) / (pair[1].rate / pair[0].rate).ln();
        let slopes = self.points.windows(2).map(|pair| (slope(pair), pair[0].rate));
        slopes.filter(|(slope, _)| *slope < 0.0).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, rate)| rate)
    }

    /// The rate with the lowest average loss.
    pub fn lowest(&self) -> Option<f64> {
        self.points.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed)).map(|point| point.rate)
    }

    /// A constant rate to train with; none if the loss never falls.
    pub fn suggestion(&self) -> Option<f64> {
        self.steepest()
    }

    /// The one-cycle schedule over `steps` steps whose highest rate is the suggestion: a factor for it.
    pub fn one_cycle(&self, steps: u64) -> Option<(f64, Schedule)> {
        let schedule =
            Schedule::OneCycle { steps, rise: 0.3, div: 25.0, final_div: 1e4, curve: Curve::Cosine };
        self.suggestion().map(|rate| (rate, schedule))
    }
}
