//! The first tensor that is not a number any more.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor};
use serde::Serialize;

use crate::Summary;

/// Where a tensor came to a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// As a value.
    Forward,
    /// As a gradient.
    Backward,
}

/// What is wrong with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A magnitude above a quarter of the largest of the type.
    NearLimit,
    /// An infinity or NaN.
    NonFinite,
}

/// What a layer was like in an earlier step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Past {
    /// The step, from 0.
    pub step: u64,
    /// The root mean square of the value.
    pub rms: f64,
    /// The root mean square of the gradient.
    pub gradient_rms: Option<f64>,
}

/// The first bad tensor: see [`Probe::first_bad`](crate::Probe::first_bad).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BadTensor {
    /// The tap's name.
    pub name: String,
    /// How many calls of this name came before, in its step.
    pub call: usize,
    /// Value or gradient.
    pub side: Side,
    /// The step, from 0, as [`Probe::next_step`](crate::Probe::next_step) counts.
    pub step: u64,
    /// What is wrong.
    pub what: What,
    /// The first number that is bad, in the order in which the tensor lies.
    pub value: f64,
    /// Its place in the first dimension; `None` where only a observer heard of it.
    pub sample: Option<usize>,
    /// The last few steps of this tap before it.
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

/// A bad number, and the sample that it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bad {
    pub(crate) what: What,
    pub(crate) value: f64,
    pub(crate) sample: Option<usize>,
}

/// From a summary alone, of a type that is not known.
pub(crate) fn heard(summary: &Summary) -> Option<Bad> {
    let bad = [summary.rms, summary.min, summary.max].into_iter().find(|x| !x.is_finite())?;
    (summary.count > 0).then_some(Bad { what: What::NonFinite, value: bad, sample: None })
}

/// Looks for the first bad number, if the summary says that there is one.
pub(crate) fn inspect(xs: &Tensor, summary: &Summary) -> Result<Option<Bad>> {
    let limit = match xs.dtype() {
        DType::F16 => 65504.0,
        DType::BF16 => 3.389e38,
        DType::F32 => f64::from(f32::MAX),
        _ => f64::MAX,
    } / 4.0;
    let largest = summary.min.abs().max(summary.max.abs());
    let what = if heard(summary).is_some_and(|_| !(largest.is_finite() && summary.mean.is_finite())) {
        What::NonFinite
    } else if largest > limit {
        What::NearLimit
    } else {
        return Ok(None);
    };
    let values =
        xs.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let is_bad = |x: &f64| if what == What::NonFinite { !x.is_finite() } else { x.abs() > limit };
    let Some(place) = values.iter().position(is_bad) else { return Ok(None) };
    let rows = xs.dims().first().copied().unwrap_or(1).max(1);
    let sample = Some(place / (values.len() / rows).max(1));
    Ok(Some(Bad { what, value: values[place], sample }))
}
