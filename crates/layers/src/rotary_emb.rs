//! Rotary position embeddings with candle-nn's names, which pass gradients.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use wick_layers::rotary_emb::rope;
//!
//! let x = Var::new(&[[[[1f32, 2.0]]]], &Device::Cpu)?;
//! let (cos, sin) = (Tensor::new(&[[0f32]], &Device::Cpu)?, Tensor::new(&[[1f32]], &Device::Cpu)?);
//! let y = rope(&x, &cos, &sin)?;
//! assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-2.0, 1.0]);
//! assert!(y.sum_all()?.backward()?.get(&x).is_some()); // candle_nn::rotary_emb::rope has none
//! # Ok::<(), candle_core::Error>(())
//! ```

use candle_core::{Result, Tensor};
use wick_kernels::RopeLayout;

/// Rotates `xs` `[batch, heads, positions, width]`, in which number `i` of a head is paired with `i + width/2`, by the
/// angles of `cos` and `sin`, `[positions, width/2]` or `[batch, positions, width/2]` ([`wick_kernels::rope`]).
///
/// # Errors
/// If shapes, types or devices do not fit together.
pub fn rope(xs: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    wick_kernels::rope(xs, cos, sin, RopeLayout::Halves)
}

/// The same as [`rope`] where number `2i` is paired with `2i + 1`.
///
/// # Errors
/// Those of [`rope`].
pub fn rope_i(xs: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    wick_kernels::rope(xs, cos, sin, RopeLayout::Interleaved)
}

/// The same as [`rope`] for `xs` of `[batch, positions, heads, width]`.
///
/// # Errors
/// Those of [`rope`].
pub fn rope_thd(xs: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    wick_kernels::rope(xs, cos, sin, RopeLayout::HalvesOfPositions)
}

pub use candle_nn::rotary_emb::{rope_i_slow, rope_slow};
