//! timm's conventions (`timm.layers`).

pub use crate::jax::lecun_normal;

use crate::Initializer;

/// `trunc_normal_(std)`: PyTorch's, with the absolute bounds ±2, so that a small std is hardly cut at all.
///
/// ```
/// let std = wick_init::timm::trunc_normal(0.02).std(&[7])?.unwrap();
/// assert!((std - 0.02).abs() < 1e-12);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn trunc_normal(std: f64) -> Initializer {
    Initializer::TruncatedNormal { mean: 0.0, std, low: -2.0, high: 2.0 }
}

/// `trunc_normal_tf_(std)`: TensorFlow's, with the bounds ±2 in units of the std.
pub fn trunc_normal_tf(std: f64) -> Initializer {
    Initializer::truncated_normal(std)
}
