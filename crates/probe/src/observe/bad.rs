//! The first tensor with NaN, an infinity or a number near the limit of its type.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor};
use serde::Serialize;
use wick_kernels::Summary;

use crate::limits::largest;

/// Whether a tensor is a value or a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A value of the forward pass.
    Forward,
    /// A gradient of the backward pass.
    Backward,
}

/// What is wrong with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The magnitude is above a quarter of the largest number of the type.
    NearLimit,
    /// The number is an infinity or NaN.
    NonFinite,
}

/// The size of a layer's signals in an earlier step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Past {
    /// The step, from 0.
    pub step: u64,
    /// The root mean square of the value.
    pub rms: f64,
    /// The root mean square of the gradient.
    pub gradient_rms: Option<f64>,
}

/// The first bad tensor, as [`Probe::first_bad`](crate::Probe::first_bad) returns it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BadTensor {
    /// The name given to the tap or the observer.
    pub name: String,
    /// How many calls of this name came before, in the same step.
    pub call: usize,
    /// Whether the tensor is a value or a gradient.
    pub side: Side,
    /// The step, from 0, as [`Probe::next_step`](crate::Probe::next_step) counts.
    pub step: u64,
    /// What is wrong.
    pub what: What,
    /// The first bad number, in the order of the tensor's elements; where the probe was given the statistics of
    /// the tensor alone, the first bad one of its minimum, maximum and mean.
    pub value: f64,
    /// The index of that number in the first dimension. It is `None` where the probe was given the statistics
    /// of the tensor and not the tensor: see [`Probe::first_bad`](crate::Probe::first_bad).
    pub sample: Option<usize>,
    /// The steps of the same name before this one, five at most.
    pub past: Vec<Past>,
}

impl fmt::Display for BadTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Forward { "value" } else { "gradient" };
        write!(f, "step {}: the {side} at {} is the first with {}", self.step, self.name, self.value)?;
        if let Some(sample) = self.sample {
            write!(f, ", in sample {sample}")?;
        }
        for past in &self.past {
            write!(f, "; in step {} its rms was {:.3e}", past.step, past.rms)?;
            if let Some(rms) = past.gradient_rms {
                write!(f, " and its gradient's {rms:.3e}")?;
            }
        }
        Ok(())
    }
}

/// A bad number, and the sample that contains it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bad {
    pub(crate) what: What,
    pub(crate) value: f64,
    pub(crate) sample: Option<usize>,
}

/// Finds the first bad number of a tensor. The summary tells whether to look for one: only then are the
/// elements read. Without the tensor, the number is the first bad one among the summary's minimum, maximum
/// and mean.
pub(crate) fn find_bad(summary: &Summary, dtype: DType, tensor: Option<&Tensor>) -> Result<Option<Bad>> {
    let limit = largest(dtype) / 4.0;
    let is_near = |x: &f64| x.abs() > limit;
    let extremes = [summary.min, summary.max, summary.mean];
    if summary.count == 0 || extremes.iter().all(|x| x.is_finite() && !is_near(x)) {
        return Ok(None);
    }
    let (values, rows) = match tensor {
        Some(tensor) => (numbers(tensor)?, tensor.dims().first().copied().unwrap_or(1).max(1)),
        None => (extremes.to_vec(), 1),
    };
    let first = |what: What, is_bad: &dyn Fn(&f64) -> bool| {
        let index = values.iter().position(is_bad)?;
        let sample = tensor.map(|_| index / (values.len() / rows).max(1));
        Some(Bad { what, value: values[index], sample })
    };
    Ok(first(What::NonFinite, &|x| !x.is_finite()).or_else(|| first(What::NearLimit, &is_near)))
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()
}
