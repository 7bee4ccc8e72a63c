//! Keras' conventions (`keras.initializers`): the normal initializers are JAX's; the plain ones have other
//! default standard deviations. Keras' `VarianceScaling` calls [`Distribution::TruncatedNormal`] `normal`,
//! and [`Distribution::Normal`] `untruncated_normal`.

pub use super::jax::{
    glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform, variance_scaling,
};

use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::initializer::parameters::Row;
use crate::structures::stft::{self, Scaling, Side, Window};

pub(crate) const ROWS: &[Row] = &[
    ("keras.random_normal", |p| {
        Ok(Initializer::Normal { mean: p.or("mean", 0.0)?, std: p.or("stddev", 0.05)? })
    }),
    ("keras.random_uniform", |p| {
        Ok(Initializer::Uniform { low: p.or("minval", -0.05)?, high: p.or("maxval", 0.05)? })
    }),
    ("keras.truncated_normal", |p| {
        let (mean, std) = (p.or("mean", 0.0)?, p.or("stddev", 0.05)?);
        Ok(Initializer::TruncatedNormal { mean, std, low: mean - 2.0 * std, high: mean + 2.0 * std })
    }),
    ("keras.variance_scaling", |p| p.library_variance_scaling(&WORDS, Some(Distribution::TruncatedNormal))),
    ("keras.glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("keras.glorot_normal", |p| p.scaled(glorot_normal())),
    ("keras.he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("keras.he_normal", |p| p.scaled(he_normal())),
    ("keras.lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("keras.lecun_normal", |p| p.scaled(lecun_normal())),
    stft::ROW,
];

/// Keras' words for the distributions.
const WORDS: [(&str, Distribution); 4] = [
    ("normal", Distribution::TruncatedNormal),
    ("truncated_normal", Distribution::TruncatedNormal),
    ("untruncated_normal", Distribution::Normal),
    ("uniform", Distribution::Uniform),
];

/// `RandomNormal()`: `N(0, 0.05²)`.
pub fn random_normal() -> Initializer {
    Initializer::normal(0.05)
}

/// `RandomUniform()`: `U(±0.05)`.
pub fn random_uniform() -> Initializer {
    Initializer::uniform(0.05)
}

/// `TruncatedNormal()`: `N(0, 0.05²)` cut at `±0.1`, not corrected.
///
/// ```
/// let std = wick_init::keras::truncated_normal().std(&[7])?.unwrap();
/// assert!((std - 0.05 * 0.879_625_661).abs() < 1e-10);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn truncated_normal() -> Initializer {
    Initializer::truncated_normal(0.05)
}

/// `STFT(side, window)`, with Keras' default scaling (`density`) and a window that is not periodic.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{KeyedV1, Side, Window, keras};
///
/// let kernels = keras::stft(Side::Real, Window::None);
/// let w = kernels.tensor(KeyedV1::new(0).key("w"), (3, 1, 4), DType::F64, &Device::Cpu)?;
/// assert_eq!(w.flatten_all()?.to_vec1::<f64>()?[8..], [1.0, -1.0, 1.0, -1.0]); // the highest frequency
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stft(side: Side, window: Window) -> Initializer {
    Initializer::stft(side, window, Scaling::Density, false)
}
