//! The result of a validation.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Error;

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
        /// Samples by their class (row) and the class that the model says (column); `None` with more than 200 classes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confusion: Option<Vec<Vec<u64>>>,
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

/// The numbers of a tensor in `f64`, row by row.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Error> {
    let tensor = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Refuses outputs that are not finite; `before` samples were added before these.
pub(super) fn check_finite(outputs: &[f64], columns: usize, before: u64) -> Result<(), Error> {
    match outputs.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::NotFinite {
            sample: before as usize + at / columns.max(1),
            column: at % columns.max(1),
            value: outputs[at],
        }),
        None => Ok(()),
    }
}
