//! What a validation measures.

mod classification;
mod regression;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::data::Standardization;
use crate::error::Error;
use classification::ClassificationSums;
use regression::RegressionSums;

/// What the outputs of a model mean.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Metrics {
    /// Outputs `[batch, classes]` are logits; targets `[batch]` are classes.
    Classification,
    /// Outputs are numbers of the targets' shape. Where the targets are standardised, the standardisation takes
    /// both back, so that errors have the units of the data.
    Regression {
        /// How the targets were standardised, if they were.
        standardization: Option<Standardization>,
    },
}

/// The result of a validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The number of samples.
    pub samples: u64,
    /// The mean loss over the samples: cross entropy in nats, or half the squared error summed over the outputs,
    /// in the units in which the model is trained.
    pub loss: f64,
    /// The scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// The scores of a validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Scores {
    /// Of classification.
    Classification {
        /// The fraction of samples whose class has the largest logit; of equal ones the first counts.
        accuracy: f64,
        /// The fraction whose class is among the five largest; `None` with five classes or fewer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top5: Option<f64>,
        /// Samples by their class (row) and the class that the model says (column).
        confusion: Vec<Vec<u64>>,
    },
    /// Of regression, over all outputs, in the units of the data.
    Regression {
        /// The mean squared error.
        mse: f64,
        /// The mean absolute error.
        mae: f64,
        /// `1 - Σ(y - o)²/Σ(y - ȳ)²`, the mean over the outputs whose targets differ; `None` if none do.
        r2: Option<f64>,
    },
}

impl Evaluation {
    /// The score in one number, of which more is better: the accuracy, or `R²`.
    pub fn score(&self) -> Option<f64> {
        match &self.scores {
            Scores::Classification { accuracy, .. } => Some(*accuracy),
            Scores::Regression { r2, .. } => *r2,
        }
    }
}

/// Evaluates outputs, batch by batch. All sums are in `f64`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_train::metrics::{Evaluator, Scores, Metrics};
///
/// let mut evaluator = Evaluator::new(Metrics::Classification);
/// let logits = Tensor::new(&[[2f32, 0.0], [0.0, 1.0], [3.0, 0.0]], &Device::Cpu)?;
/// evaluator.add(&logits, &Tensor::new(&[0u32, 1, 1], &Device::Cpu)?)?;
/// let evaluation = evaluator.finish()?;
/// let Scores::Classification { accuracy, confusion, .. } = evaluation.scores else { unreachable!() };
/// assert_eq!((accuracy, confusion), (2.0 / 3.0, vec![vec![1, 0], vec![1, 1]]));
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug)]
pub struct Evaluator {
    metrics: Metrics,
    sums: Sums,
}

#[derive(Debug)]
enum Sums {
    Classification(ClassificationSums),
    Regression(RegressionSums),
}

impl Evaluator {
    /// An evaluator of outputs that mean this.
    pub fn new(metrics: Metrics) -> Self {
        let sums = match metrics {
            Metrics::Classification => Sums::Classification(ClassificationSums::default()),
            Metrics::Regression { .. } => Sums::Regression(RegressionSums::default()),
        };
        Self { metrics, sums }
    }

    /// Adds the outputs and the targets of some samples.
    ///
    /// # Errors
    /// The shapes do not fit, a class is not below the number of outputs, or an output is not finite: its sample is
    /// named, from 0 over all that were added.
    pub fn add(&mut self, outputs: &Tensor, targets: &Tensor) -> Result<(), Error> {
        match &mut self.sums {
            Sums::Classification(sums) => sums.add(outputs, targets),
            Sums::Regression(sums) => {
                let standardization = match &self.metrics {
                    Metrics::Regression { standardization } => standardization.as_ref(),
                    Metrics::Classification => None,
                };
                sums.add(outputs, targets, standardization)
            }
        }
    }

    /// The result.
    ///
    /// # Errors
    /// No sample was added.
    pub fn finish(self) -> Result<Evaluation, Error> {
        match self.sums {
            Sums::Classification(sums) => sums.finish(),
            Sums::Regression(sums) => sums.finish(),
        }
    }
}

/// The numbers of a tensor in `f64`, row by row.
fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Error> {
    let tensor = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Refuses outputs that are not finite; `before` samples were added before these.
fn check_finite(outputs: &[f64], columns: usize, before: u64) -> Result<(), Error> {
    match outputs.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::NotFinite {
            sample: before as usize + at / columns.max(1),
            column: at % columns.max(1),
            value: outputs[at],
        }),
        None => Ok(()),
    }
}
