//! timm's conventions (`timm.layers`).

pub use super::jax::{lecun_normal, variance_scaling};

use super::torch;
use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::initializer::parameters::Row;

pub(crate) const ROWS: &[Row] = &[
    ("timm.trunc_normal", torch::read_trunc_normal),
    ("timm.trunc_normal_tf", |p| {
        let centre = (p.or("mean", 0.0)?, p.or("std", 1.0)?);
        p.cut(centre, "a", "b")
    }),
    ("timm.variance_scaling", |p| {
        p.library_variance_scaling(&Distribution::OF_LIBRARIES, Some(Distribution::Normal))
    }),
    ("timm.lecun_normal", |p| p.scaled(lecun_normal())),
];

/// `trunc_normal_(std)`: PyTorch's, with the absolute bounds ±2, so that a normal of small std is hardly cut.
///
/// ```
/// let std = wick_init::timm::trunc_normal(0.02).std(&[7])?.unwrap();
/// assert!((std - 0.02).abs() < 1e-12);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn trunc_normal(std: f64) -> Initializer {
    Initializer::TruncatedNormal { mean: 0.0, std, low: -2.0, high: 2.0 }
}

/// `trunc_normal_tf_(mean, std, a, b)`: TensorFlow's, with the bounds (timm's defaults are ±2) in units of
/// the std around the mean.
///
/// ```
/// let cut = wick_init::timm::trunc_normal_tf(1.0, 0.5, -1.0, 3.0);
/// assert_eq!(cut.to_string(), "truncated_normal:mean=1,std=0.5,low=0.5,high=2.5");
/// ```
pub fn trunc_normal_tf(mean: f64, std: f64, a: f64, b: f64) -> Initializer {
    Initializer::TruncatedNormal { mean, std, low: mean + a * std, high: mean + b * std }
}
