//! Functions with the names of `candle_nn::ops`, with gradients. Those that are not written here (`silu`, `sigmoid`,
//! `pixel_shuffle` and more) are candle's own.
//!
//! ```
//! use candle_core::{Device, Var};
//! use wick_layers::ops::{silu, softmax_last_dim}; // candle's, and one of this module, which passes gradients
//!
//! let x = Var::new(&[[0f32, 0.0]], &Device::Cpu)?;
//! assert!(silu(&softmax_last_dim(&x)?)?.sum_all()?.backward()?.get(&x).is_some());
//! # Ok::<(), candle_core::Error>(())
//! ```

use candle_core::shape::Dim;
use candle_core::{D, Result, Tensor};
// What this module has itself stands in front of the same name of candle's.
pub use candle_nn::ops::*;
use wick_kernels::MaskKey;

pub use crate::attention::sdpa;
pub use crate::dropout::Dropout;

/// Softmax over a dimension: [`wick_kernels::softmax`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_layers::ops::softmax;
///
/// let x = Tensor::new(&[[0f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
/// assert_eq!(softmax(&x, 0)?.to_vec2::<f32>()?, [[0.5, 0.5], [0.5, 0.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the tensor does not have the dimension or is not floating point.
pub fn softmax<N: Dim>(xs: &Tensor, dim: N) -> Result<Tensor> {
    over(xs, dim, wick_kernels::softmax)
}

/// The logarithm of softmax over a dimension: [`wick_kernels::log_softmax`].
///
/// # Errors
/// If the tensor does not have the dimension or is not floating point.
pub fn log_softmax<N: Dim>(xs: &Tensor, dim: N) -> Result<Tensor> {
    over(xs, dim, wick_kernels::log_softmax)
}

/// Softmax over the last dimension; candle's ends the gradient.
///
/// # Errors
/// If the tensor is a scalar or not floating point.
pub fn softmax_last_dim(xs: &Tensor) -> Result<Tensor> {
    wick_kernels::softmax(xs)
}

fn over<N: Dim>(xs: &Tensor, dim: N, op: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let dim = dim.to_index(xs.shape(), "softmax")?;
    if dim + 1 == xs.rank() {
        return op(xs);
    }
    op(&xs.transpose(dim, D::Minus1)?)?.transpose(dim, D::Minus1)
}

/// Dropout by mask number `mask` of a key: [`wick_kernels::dropout`]. Each step takes another number; the same number is
/// the same mask. (candle's function takes neither a key nor a number.) The layer [`Dropout`] counts for itself.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_layers::ops::dropout;
///
/// let x = Tensor::ones(64, DType::F32, &Device::Cpu)?;
/// let of_step = |step| dropout(&x, 0.5, 42, step)?.to_vec1::<f32>();
/// assert_eq!(of_step(0)?, of_step(0)?);
/// assert_ne!(of_step(0)?, of_step(1)?);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the probability is not in `[0, 1)`, or the tensor is not floating point.
pub fn dropout(xs: &Tensor, drop_p: f32, key: impl Into<MaskKey>, mask: u64) -> Result<Tensor> {
    wick_kernels::dropout(xs, crate::dropout::probability(drop_p), key.into(), mask)
}

/// Layer norm over the last dimension with weight `alpha` and bias `beta`; candle's ends the gradient.
///
/// # Errors
/// Those of [`wick_kernels::layer_norm`].
pub fn layer_norm(xs: &Tensor, alpha: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
    wick_kernels::layer_norm(xs, alpha, Some(beta), eps.into())
}

/// RMS norm over the last dimension with weight `alpha`; candle's ends the gradient.
///
/// # Errors
/// Those of [`wick_kernels::rms_norm`].
pub fn rms_norm(xs: &Tensor, alpha: &Tensor, eps: f32) -> Result<Tensor> {
    wick_kernels::rms_norm(xs, alpha, eps.into())
}
