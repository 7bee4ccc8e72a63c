//! The losses by candle's own ops.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::{log_softmax, softmax};

use crate::dot::dot;
use crate::loss::function::{LossFunction, are_classes};

/// The loss, for shapes that fit together.
pub(super) fn loss(function: LossFunction, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (batch, outputs) = (outputs.dims()[0] as f64, &widen(outputs)?);
    if are_classes(function, targets) {
        let chosen = log_softmax(outputs, D::Minus1)?.gather(&targets.unsqueeze(1)?, 1)?;
        return chosen.sum_all()? * (-1.0 / batch);
    }
    let targets = &widen(targets)?;
    match function {
        LossFunction::SquaredError => {
            let difference = (outputs - targets)?;
            dot(&difference, &difference)? * (0.5 / batch)
        }
        LossFunction::CrossEntropy => {
            let logs = log_softmax(outputs, D::Minus1)?;
            // 0·(-∞) is NaN: where the target is 0, the logarithm is replaced.
            let logs = targets.ne(0.0)?.where_cond(&logs, &logs.zeros_like()?)?;
            dot(targets, &logs)? * (-1.0 / batch)
        }
    }
}

/// The gradient with respect to the outputs, in their type.
pub(super) fn gradient(function: LossFunction, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let batch = outputs.dims()[0] as f64;
    if are_classes(function, targets) {
        let classes = targets.unsqueeze(1)?;
        let ones = Tensor::ones(classes.shape(), outputs.dtype(), outputs.device())?;
        return softmax(outputs, D::Minus1)?.scatter_add(&classes, &ones.neg()?, 1)? / batch;
    }
    let difference = match function {
        LossFunction::SquaredError => (outputs - targets)?,
        LossFunction::CrossEntropy => {
            let totals = targets.sum_keepdim(D::Minus1)?;
            (softmax(outputs, D::Minus1)?.broadcast_mul(&totals)? - targets)?
        }
    };
    difference / batch
}

/// Converts half-precision tensors to `f32`, in which sums are accurate.
fn widen(xs: &Tensor) -> Result<Tensor> {
    match xs.dtype() {
        DType::BF16 | DType::F16 => xs.to_dtype(DType::F32),
        _ => Ok(xs.clone()),
    }
}
