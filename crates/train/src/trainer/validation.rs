//! Validation, early stopping, and the best weights.

use candle_core::{Result as CandleResult, Tensor};

use crate::data::{Batch, Dataset};
use crate::error::Error;
use crate::metrics::{Evaluation, Evaluator, Metrics};

/// When a run stops because its validation becomes no better, and by what number it is judged.
///
/// ```
/// use wick_train::{EarlyStopping, Monitor};
///
/// let stopping = EarlyStopping { patience: 5, ..EarlyStopping::default() };
/// assert_eq!((stopping.monitor, stopping.min_delta), (Monitor::Loss, 0.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyStopping {
    /// The number that is watched.
    pub monitor: Monitor,
    /// The validations without an improvement after which the run stops; `u64::MAX` for never.
    pub patience: u64,
    /// What counts as an improvement: more than this, not negative.
    pub min_delta: f64,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self { monitor: Monitor::Loss, patience: u64::MAX, min_delta: 0.0 }
    }
}

/// The number by which validations are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitor {
    /// The loss, of which less is better.
    Loss,
    /// The accuracy or `R²`, of which more is better.
    Score,
}

impl Monitor {
    /// The number, turned so that less is better.
    fn cost(self, evaluation: &Evaluation) -> f64 {
        match self {
            Self::Loss => evaluation.loss,
            Self::Score => evaluation.score().map_or(f64::INFINITY, |score| -score),
        }
    }
}

impl EarlyStopping {
    /// Whether a validation is better than the best so far.
    pub(crate) fn is_better(&self, evaluation: &Evaluation, best: Option<&Evaluation>) -> bool {
        let cost = self.monitor.cost(evaluation);
        best.is_none_or(|best| cost < self.monitor.cost(best) - self.min_delta)
    }
}

/// From a batch to the outputs of the model.
type Outputs<'a> = dyn Fn(&Batch) -> CandleResult<Tensor> + 'a;

/// A validation: the data, and how a model's outputs are had.
pub(crate) struct Validation<'a> {
    pub(crate) data: &'a dyn Dataset,
    pub(crate) metrics: Metrics,
    pub(crate) outputs: Box<Outputs<'a>>,
    /// The steps between validations; `None` for the end of each epoch.
    pub(crate) every: Option<u64>,
    pub(crate) stopping: EarlyStopping,
}

impl std::fmt::Debug for Validation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validation")
            .field("samples", &self.data.len())
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

/// The samples that are evaluated at once.
const BATCH: usize = 256;

/// Evaluates a model on a data set, in the order of its samples, 256 at once.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_train::data::{InMemory, Targets};
/// use wick_train::metrics::Metrics;
///
/// let xs = Tensor::new(&[[1f32], [2.0]], &Device::Cpu)?;
/// let data = InMemory::new(&xs)?.with_targets(Targets::Numbers(xs.affine(2.0, 0.0)?))?;
/// let metrics = Metrics::Regression { standardization: None };
/// let evaluation = wick_train::evaluate(&data, metrics, |batch| batch.input.affine(2.0, 1.0))?;
/// assert_eq!(evaluation.loss, 0.5);
/// # Ok::<(), wick_train::Error>(())
/// ```
///
/// # Errors
/// Those of the data, of the model, and of [`Evaluator::add`].
pub fn evaluate(
    data: &dyn Dataset,
    metrics: Metrics,
    outputs: impl Fn(&Batch) -> CandleResult<Tensor>,
) -> Result<Evaluation, Error> {
    evaluate_by(data, metrics, BATCH, outputs)
}

/// Evaluates a model on batches of this size.
fn evaluate_by(
    data: &dyn Dataset,
    metrics: Metrics,
    size: usize,
    outputs: impl Fn(&Batch) -> CandleResult<Tensor>,
) -> Result<Evaluation, Error> {
    let mut evaluator = Evaluator::new(metrics);
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(size.max(1)) {
        let batch = data.batch(indices)?;
        let targets = batch.targets.as_ref().ok_or_else(|| {
            Error::Settings("data without targets cannot be evaluated: add them by with_targets".to_owned())
        })?;
        evaluator.add(&outputs(&batch)?.detach(), targets)?;
    }
    evaluator.finish()
}

impl Validation<'_> {
    /// Evaluates the model on batches that are no larger than a block of the training, which fits the memory.
    pub(crate) fn run(&self, block: usize) -> Result<Evaluation, Error> {
        let size = block.min(BATCH);
        evaluate_by(self.data, self.metrics.clone(), size, &self.outputs).map_err(|error| match error {
            Error::NotFinite { sample, column, value } => {
                Error::NotFinite { sample: self.data.row(sample), column, value }
            }
            error => error,
        })
    }
}
