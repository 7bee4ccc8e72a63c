//! The learning rate at which a loss falls fastest.

use std::sync::atomic::{AtomicI32, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{DType, Result as CandleResult, Tensor, Var};

use super::{Config, Length, NamedVars, Step, Trainer};
use crate::data::Dataset;
use crate::error::Error;
use crate::schedule::Schedule;

/// The part of the smoothed loss that is kept from step to step.
const KEPT: f64 = 0.9;

/// A test of learning rates, one a step, from low to high (Smith 2017, *Cyclical learning rates for training neural
/// networks*, section 3.3): where the loss falls fastest is a good rate, and where it rises is the limit.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, linear};
/// use wick_train::data::{InMemory, Targets};
/// use wick_train::{Config, RateTest};
///
/// let xs = Tensor::new(&[[1f32, 0.0], [0.0, 1.0], [1.0, 1.0]], &Device::Cpu)?;
/// let data = InMemory::new(&xs)?.with_targets(Targets::Numbers(xs.sum_keepdim(1)?))?;
/// let vars = VarMap::new();
/// let model = linear(2, 1, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
/// let config = Config { batch: 3, optimizer: "sgd".parse()?, ..Config::default() };
/// let found = RateTest::default().run(&vars, &config, &data, |step| {
///     let loss = candle_nn::loss::mse(&model.forward(step.input())?, step.targets()?)?;
///     let gradients = loss.backward()?;
///     Ok((loss, gradients))
/// })?;
/// let (rate, limit) = (found.steepest.unwrap(), found.limit.unwrap());
/// assert!((0.001..0.5).contains(&rate) && rate < limit && limit < 10.0, "{rate} {limit}");
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateTest {
    /// The first rate, above 0. 1e-6.
    pub low: f64,
    /// The last rate, above the first. 10.
    pub high: f64,
    /// The steps, 10 or more. 100.
    pub steps: u64,
    /// The test ends where the smoothed loss is this many times the lowest one, and counts as at its limit. 4.
    pub limit: f64,
}

impl Default for RateTest {
    fn default() -> Self {
        Self { low: 1e-6, high: 10.0, steps: 100, limit: 4.0 }
    }
}

/// What a test of learning rates found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundRates {
    /// The rate of each step, and the loss of the batch before it.
    pub losses: Vec<(f64, f64)>,
    /// The losses, smoothed: a mean in which a loss weighs 0.9 times as much as the next.
    pub smoothed: Vec<(f64, f64)>,
    /// The rate at which the smoothed loss falls fastest with the logarithm of the rate; `None` if it never falls.
    pub steepest: Option<f64>,
    /// The rate at which the smoothed loss is lowest.
    pub lowest: Option<f64>,
    /// The first rate at which the loss is beyond the limit or not finite; `None` if there is none up to the last.
    pub limit: Option<f64>,
}

impl RateTest {
    /// Trains at rising rates, and gives the variables the numbers back that they had, to the bit, also where it fails. The
    /// optimizer, the batch and the seed are those of the settings; their length and their schedule are not used.
    ///
    /// # Errors
    /// A parameter is out of its range, and as [`Trainer::fit_gradients`], but divergence.
    pub fn run(
        &self,
        vars: &(impl NamedVars + ?Sized),
        config: &Config,
        data: &dyn Dataset,
        gradients: impl FnMut(&Step) -> CandleResult<(Tensor, GradStore)>,
    ) -> Result<FoundRates, Error> {
        self.check()?;
        let all = vars.named_vars();
        let kept = all.iter().map(|(_, var)| var.copy()).collect::<CandleResult<Vec<Tensor>>>()?;
        let found = self.train(&all, config, data, gradients);
        for ((_, var), tensor) in all.iter().zip(&kept) {
            var.set(&tensor.detach())?;
        }
        found
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |parameter, value, range| Err(Error::Parameter { parameter, value, range });
        match *self {
            Self { low, .. } if !(low > 0.0 && low.is_finite()) => refuse("low", low, "finite and above 0"),
            Self { low, high, .. } if !(high > low && high.is_finite()) => {
                refuse("high", high, "finite and above low")
            }
            Self { steps, .. } if steps < 10 => refuse("steps", steps as f64, "10 or more"),
            Self { limit, .. } if limit.is_nan() || limit <= 1.0 => refuse("limit", limit, "above 1"),
            _ => Ok(()),
        }
    }

    fn rate(&self, step: u64) -> f64 {
        let along = step as f64 / (self.steps - 1) as f64;
        self.low * libm::pow(self.high / self.low, along)
    }

    fn train(
        &self,
        vars: &[(String, Var)],
        config: &Config,
        data: &dyn Dataset,
        mut gradients: impl FnMut(&Step) -> CandleResult<(Tensor, GradStore)>,
    ) -> Result<FoundRates, Error> {
        let test = *self;
        let factor = move |step: u64| test.rate(step) / test.low;
        let config = Config {
            length: Length::Steps(self.steps),
            optimizer: config.optimizer.clone().with_learning_rate(self.low),
            schedule: Schedule::from_fn("rate test", factor),
            ..config.clone()
        };
        let stop = AtomicI32::new(0);
        let mut found = FoundRates::default();
        let (mut sum, mut weight, mut lowest) = (0.0, 0.0, f64::INFINITY);
        let mut trainer = Trainer::new(&vars.to_vec(), config)?.with_stop(&stop);
        let fitted = trainer.fit_gradients(data, |step| {
            let (loss, store) = gradients(step)?;
            // The first step is tried twice before it is one, and a batch can be more than one block.
            if found.losses.len() as u64 == step.number() {
                let value = loss.detach().flatten_all()?.to_dtype(DType::F64)?.get(0)?.to_scalar::<f64>()?;
                let rate = self.rate(step.number());
                (sum, weight) = (KEPT * sum + (1.0 - KEPT) * value, KEPT * weight + 1.0 - KEPT);
                let smoothed = sum / weight;
                found.losses.push((rate, value));
                found.smoothed.push((rate, smoothed));
                if smoothed.is_nan() || smoothed > self.limit * lowest {
                    found.limit = Some(rate);
                    stop.store(1, Ordering::Relaxed);
                }
                lowest = lowest.min(smoothed);
            }
            Ok((loss, store))
        });
        drop(trainer);
        match fitted {
            Err(Error::Diverged { .. }) => {
                found.limit = found.limit.or(found.losses.last().map(|(rate, _)| *rate));
            }
            other => drop(other?),
        }
        found.read();
        Ok(found)
    }
}

impl Default for FoundRates {
    fn default() -> Self {
        Self { losses: Vec::new(), smoothed: Vec::new(), steepest: None, lowest: None, limit: None }
    }
}

impl FoundRates {
    /// Reads the rates off the smoothed losses.
    fn read(&mut self) {
        let finite = || self.smoothed.iter().filter(|(_, loss)| loss.is_finite());
        let Some(lowest) = finite().min_by(|a, b| a.1.total_cmp(&b.1)).copied() else { return };
        self.lowest = Some(lowest.0);
        let before: Vec<(f64, f64)> = finite().copied().take_while(|point| point.0 <= lowest.0).collect();
        // Slopes over five steps, of which the middle one is named.
        let slope = |points: &[(f64, f64)]| (points[4].1 - points[0].1) / (points[4].0 / points[0].0).ln();
        let steepest = before.windows(5).map(|points| (points[2].0, slope(points)));
        let steepest = steepest.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, slope)| *slope < 0.0);
        self.steepest = steepest.map(|(rate, _)| rate);
    }
}
