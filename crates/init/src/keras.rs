//! Keras' conventions (`keras.initializers`): the normal schemes are JAX's; the plain ones have standard
//! deviations of their own.

pub use crate::jax::{glorot_normal, he_normal, lecun_normal};

use crate::Initializer;

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
