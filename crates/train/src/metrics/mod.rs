//! What a validation measures.

mod classification;
mod evaluation;
mod regression;
#[cfg(test)]
mod tests;

use candle_core::Tensor;

pub use evaluation::{Evaluation, Scores};

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
/// assert_eq!((accuracy, confusion), (2.0 / 3.0, Some(vec![vec![1, 0], vec![1, 1]])));
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
    /// No sample was added, or a mean is beyond the largest `f64`.
    pub fn finish(self) -> Result<Evaluation, Error> {
        let evaluation = match self.sums {
            Sums::Classification(sums) => sums.finish(),
            Sums::Regression(sums) => sums.finish(),
        }?;
        let numbers = match &evaluation.scores {
            Scores::Classification { .. } => vec![evaluation.loss],
            Scores::Regression { mse, mae, r2 } => vec![evaluation.loss, *mse, *mae, r2.unwrap_or(0.0)],
        };
        match numbers.iter().all(|x| x.is_finite()) {
            true => Ok(evaluation),
            false => Err(Error::Data(
                "the errors of the validation are beyond the largest number: lower the learning rate, or scale the \
                 targets"
                    .to_owned(),
            )),
        }
    }
}
