//! Softmax by candle's own ops.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops;

use crate::cpu::lanes;

/// Softmax or its logarithm over the last dimension; half-precision tensors are computed in `f32`.
pub(super) fn apply(xs: &Tensor, log: bool) -> Result<Tensor> {
    if xs.elem_count() == 0 {
        return Ok(xs.clone()); // candle takes no maximum of nothing.
    }
    if lanes::is_half(xs.dtype()) {
        return apply(&xs.to_dtype(DType::F32)?, log)?.to_dtype(xs.dtype());
    }
    if log { ops::log_softmax(xs, D::Minus1) } else { ops::softmax(xs, D::Minus1) }
}
