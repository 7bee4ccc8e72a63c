//! One run to a threshold.

use std::sync::atomic::{AtomicI32, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{DType, Result as CandleResult, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::survival::Steps;
use crate::data::{Batch, Dataset};
use crate::error::Error;
use crate::metrics::{Evaluation, Metrics};
use crate::trainer::{Config, EarlyStopping, Ended, NamedVars, Point, Step, Trainer, evaluate};

/// A loss that is this many times the largest of the first ones has diverged.
const DIVERGED: f64 = 1000.0;

/// The first losses of a run, by which the later ones are judged: one alone may be small by chance.
const FIRST: u64 = 20;

/// The most samples of the training part that the figures at the end are of; they are spread over it.
const MOST_SAMPLES: usize = 10_000;

/// What a run is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// This accuracy or `R²` of the validation, or more.
    Score(f64),
    /// This mean of the training losses between two points of the course, or less.
    Loss(f64),
}

impl Threshold {
    /// Whether a point of the course has reached it.
    pub fn is_reached(self, point: &Point) -> bool {
        match self {
            Self::Score(least) => point.score.is_some_and(|score| score >= least),
            Self::Loss(most) => point.loss <= most,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CourseEnd {
    /// All its steps are done.
    Finished,
    /// It reached the threshold, and was to end there.
    AtThreshold,
    /// A number was not finite, or the loss was above 1000 and above 1000 times the largest of its first 20 losses.
    Diverged,
}

/// A loss and a score of some samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The mean loss.
    pub loss: f64,
    /// The accuracy, or `R²`; `None` where that is not defined.
    pub score: Option<f64>,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// How it ended.
    pub ended: CourseEnd,
    /// The steps after which it reached the threshold; `None` if it did not.
    pub reached: Option<u64>,
    /// Its points.
    pub history: Vec<Point>,
    /// The figures of the last weights on the training part; `None` if the run diverged.
    pub training: Option<Figures>,
    /// The figures of the last weights on the test part; `None` if the run diverged or there is none.
    pub test: Option<Figures>,
}

impl Course {
    /// The steps to the threshold. A run that did not reach it is censored at the last step of the budget, and so is a
    /// run that diverged, unless it had reached it before: it would not have come back.
    pub fn steps(&self, budget: u64) -> Steps {
        self.reached.map_or(Steps::censored(budget), Steps::reached)
    }

    /// The training loss of the last point; `None` if the run diverged.
    pub fn last_loss(&self) -> Option<f64> {
        self.history.last().filter(|_| self.ended != CourseEnd::Diverged).map(|point| point.loss)
    }
}

/// What all runs to a threshold have in common.
#[derive(Clone, Copy)]
pub struct Race<'a> {
    /// The samples to train on.
    pub training: &'a dyn Dataset,
    /// The samples of the validation.
    pub validation: Option<&'a dyn Dataset>,
    /// The samples that the last weights are tested on.
    pub test: Option<&'a dyn Dataset>,
    /// What the outputs mean.
    pub metrics: &'a Metrics,
    /// The steps between validations, each a point of the course. Without a validation it has no effect: the points are
    /// at the ends of epochs.
    pub every: u64,
    /// What is to be reached.
    pub threshold: Threshold,
    /// Whether a run ends at the threshold.
    pub ends_there: bool,
}

impl std::fmt::Debug for Race<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Race")
            .field("samples", &self.training.len())
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

impl Race<'_> {
    /// Trains a model to the threshold, or to the end of its budget, and evaluates its last weights. `gradients` returns
    /// the mean loss of a batch and its gradients, `outputs` the outputs of a batch, `rates` multiplies learning rates of
    /// variables as in [`Trainer::with_rates`]. A run ends at once as [`CourseEnd::Diverged`], which is no error, if
    /// its numbers are not finite, or if its loss is above 1000 and above 1000 times the largest of its first 20 losses
    /// (of those before it, if they are fewer).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{Module, VarBuilder, VarMap, linear};
    /// use wick_train::compare::{CourseEnd, Race, Threshold};
    /// use wick_train::data::{InMemory, Targets};
    /// use wick_train::metrics::Metrics;
    /// use wick_train::{Config, Length};
    ///
    /// let xs = Tensor::new(&[[1f32, 0.0], [0.0, 1.0], [1.0, 1.0]], &Device::Cpu)?;
    /// let ys = xs.sum_keepdim(1)?;
    /// let data = InMemory::new(&xs)?.with_targets(Targets::Numbers(ys))?;
    /// let race = Race {
    ///     training: &data,
    ///     validation: Some(&data),
    ///     test: None,
    ///     metrics: &Metrics::Regression { standardization: None },
    ///     every: 10,
    ///     threshold: Threshold::Score(0.99),
    ///     ends_there: true,
    /// };
    /// let run = |rate: &str| {
    ///     let vars = VarMap::new();
    ///     let model = linear(2, 1, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
    ///     let config = Config { batch: 3, length: Length::Steps(500), optimizer: rate.parse()?, ..Config::default() };
    ///     race.run(&vars, Vec::new(), config, |step| {
    ///         let loss = candle_nn::loss::mse(&model.forward(step.input())?, step.targets()?)?;
    ///         let gradients = loss.backward()?;
    ///         Ok((loss, gradients))
    ///     }, |batch| model.forward(&batch.input))
    /// };
    /// let course = run("sgd:lr=0.1")?;
    /// assert!(course.reached < Some(200) && course.ended == CourseEnd::AtThreshold);
    /// let course = run("sgd:lr=100")?;
    /// assert_eq!((course.reached, course.ended), (None, CourseEnd::Diverged));
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Trainer::fit_gradients`], but divergence.
    pub fn run(
        &self,
        vars: &impl NamedVars,
        rates: Vec<(Var, f64)>,
        config: Config,
        mut gradients: impl FnMut(&Step) -> CandleResult<(Tensor, GradStore)>,
        outputs: impl Fn(&Batch) -> CandleResult<Tensor>,
    ) -> Result<Course, Error> {
        let stop = AtomicI32::new(0);
        let mut trainer = Trainer::new(vars, config)?.with_rates(rates).with_stop(&stop);
        let known = self.validation.map(Known);
        if let Some(validation) = &known {
            let every = Some(self.every);
            let metrics = self.metrics.clone();
            trainer =
                trainer.with_validation(validation, metrics, every, EarlyStopping::default(), |batch| {
                    outputs(batch)
                });
        }
        if self.ends_there {
            let threshold = self.threshold;
            trainer = trainer.with_goal(move |point| threshold.is_reached(point));
        }
        let mut growth = Growth::default();
        let fitted = trainer.fit_gradients(&Known(self.training), |step| {
            let (loss, store) = gradients(step)?;
            let value = loss.detach().flatten_all()?.to_dtype(DType::F64)?.get(0)?.to_scalar::<f64>()?;
            if growth.is_divergence(step.number(), value) {
                stop.store(1, Ordering::Relaxed);
            }
            Ok((loss, store))
        });
        let history = trainer.history().to_vec();
        drop(trainer);
        let reached = history.iter().find(|point| self.threshold.is_reached(point)).map(|point| point.step);
        let ended = match fitted.map(|outcome| outcome.ended) {
            Ok(Ended::GoalReached) => CourseEnd::AtThreshold,
            // The last step of a run is done, whatever asks it to stop.
            Ok(_) if stop.load(Ordering::Relaxed) != 0 => CourseEnd::Diverged,
            Ok(_) => CourseEnd::Finished,
            Err(error) if self.is_divergence(&error) => CourseEnd::Diverged,
            Err(error) => return Err(error),
        };
        let mut course = Course { ended, reached, history, training: None, test: None };
        if ended == CourseEnd::Diverged {
            return Ok(course);
        }
        let training = Spread(self.training);
        match (
            self.figures(&training, &outputs)?,
            self.test.map(|test| self.figures(test, &outputs)).transpose()?,
        ) {
            (None, _) | (_, Some(None)) => course.ended = CourseEnd::Diverged,
            (training, test) => (course.training, course.test) = (training, test.flatten()),
        }
        Ok(course)
    }

    /// The figures of the weights as they are; `None` if they are not finite.
    fn figures(
        &self,
        data: &dyn Dataset,
        outputs: &impl Fn(&Batch) -> CandleResult<Tensor>,
    ) -> Result<Option<Figures>, Error> {
        let of = |evaluation: Evaluation| Figures { loss: evaluation.loss, score: evaluation.score() };
        match evaluate(data, self.metrics.clone(), outputs) {
            Ok(evaluation) => Ok(Some(of(evaluation))),
            Err(error) if self.is_divergence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the error is that of numbers that are not finite. Errors of a regression may be beyond the largest number
    /// where no output is.
    fn is_divergence(&self, error: &Error) -> bool {
        match error {
            Error::Diverged { .. } | Error::NotFinite { .. } => true,
            Error::Data(text) => text.contains("beyond the largest number"),
            _ => false,
        }
    }
}

/// The largest of the first losses of a run, and at least 1, which is the order of a loss of classes and of targets of
/// the variance 1.
pub(super) struct Growth {
    largest: f64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { largest: 1.0 }
    }
}

impl Growth {
    /// Whether the loss of a step, from 0, has grown beyond the limit. The first loss never has: there is nothing that it
    /// grew from.
    pub(super) fn is_divergence(&mut self, step: u64, loss: f64) -> bool {
        let loss = loss.abs();
        if step > 0 && loss > DIVERGED * self.largest {
            return true;
        }
        if step < FIRST {
            self.largest = self.largest.max(loss);
        }
        false
    }
}

/// Data that are not hashed for each of many runs on them.
struct Known<'a>(&'a dyn Dataset);

impl Dataset for Known<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        self.0.batch(indices)
    }

    fn fingerprint(&self) -> Result<Option<u64>, Error> {
        Ok(Some(0))
    }

    fn row(&self, index: usize) -> usize {
        self.0.row(index)
    }

    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        self.0.epoch_batch(epoch, indices)
    }
}

/// At most 10,000 samples that are spread over all.
struct Spread<'a>(&'a dyn Dataset);

impl Dataset for Spread<'_> {
    fn len(&self) -> usize {
        self.0.len().min(MOST_SAMPLES)
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        let (all, some) = (self.0.len(), self.len());
        self.0.batch(&indices.iter().map(|index| index * all / some).collect::<Vec<_>>())
    }
}
