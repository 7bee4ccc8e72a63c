//! Losses with the names of `candle_nn::loss`.

use candle_core::{Result, Tensor};
pub use candle_nn::loss::{huber, mse, nll};
pub use wick_kernels::CrossEntropy;

/// Cross entropy of logits `[batch, classes]` with classes, integers `[batch]`, a mean over the batch, with its
/// gradient in the same pass. [`CrossEntropy`] has the options: a class that is left out, label smoothing, weights.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_layers::loss::{CrossEntropy, cross_entropy};
///
/// let (logits, classes) = (Tensor::new(&[[0f32, 0.0]], &Device::Cpu)?, Tensor::new(&[1u32], &Device::Cpu)?);
/// assert!((cross_entropy(&logits, &classes)?.to_scalar::<f32>()? - 2f32.ln()).abs() < 1e-6);
/// let smoothed = CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() };
/// assert!((smoothed.forward(&logits, &classes)?.to_scalar::<f32>()? - 2f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes or types do not fit together, or a class is not below the number of classes.
pub fn cross_entropy(inp: &Tensor, target: &Tensor) -> Result<Tensor> {
    CrossEntropy::default().forward(inp, target)
}

/// Binary cross entropy of logits with targets in `[0, 1]` of their shape, a mean over all elements, finite for every
/// finite logit: [`wick_kernels::binary_cross_entropy`], which also takes PyTorch's `pos_weight`. candle's is NaN or ∞
/// from logits of ±17 on.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_layers::loss::binary_cross_entropy_with_logit;
///
/// let (x, y) = (Tensor::new(&[[-100f32]], &Device::Cpu)?, Tensor::new(&[[1f32]], &Device::Cpu)?);
/// assert_eq!(binary_cross_entropy_with_logit(&x, &y)?.to_scalar::<f32>()?, 100.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes or types do not fit together.
pub fn binary_cross_entropy_with_logit(inp: &Tensor, target: &Tensor) -> Result<Tensor> {
    wick_kernels::binary_cross_entropy(inp, target, None)
}
