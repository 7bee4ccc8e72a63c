//! The losses.

use candle_core::Tensor;

/// A loss of outputs `o` of shape `[B, outputs]`, a mean over the `B` samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossFunction {
    /// `1/(2B) Σ_b ‖o_b - y_b‖²` for targets `y` of the outputs' shape.
    SquaredError,
    /// `-1/B Σ_b Σ_k y_bk ln softmax(o_b)_k`, for rows `y_b` that are distributions, or for classes: integers
    /// of shape `[B]`, which stand for one-hot rows. A target of 0 adds nothing, also where the logit is -∞.
    CrossEntropy,
}

/// Whether the targets are the numbers of classes.
pub(super) fn are_classes(function: LossFunction, targets: &Tensor) -> bool {
    function == LossFunction::CrossEntropy && targets.rank() == 1 && targets.dtype().is_int()
}
