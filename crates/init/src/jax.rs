//! JAX's conventions (`jax.nn.initializers`): normal schemes are cut off at two standard deviations and
//! corrected, so that the std is the one meant.

use crate::{Family, Initializer};

/// `normal(stddev)`: `N(0, stddev²)`; JAX's own default is .01.
pub fn normal(stddev: f64) -> Initializer {
    Initializer::normal(stddev)
}

/// `uniform(scale)`: `U(0, scale)`, which is not centred; JAX's own default is .01.
///
/// ```
/// assert_eq!(wick_init::jax::uniform(0.01), wick_init::Initializer::Uniform { low: 0.0, high: 0.01 });
/// ```
pub fn uniform(scale: f64) -> Initializer {
    Initializer::Uniform { low: 0.0, high: scale }
}

/// `truncated_normal(stddev)`: cut at `±2 stddev` and *not* corrected; what comes out has `.87962566 stddev`.
pub fn truncated_normal(stddev: f64) -> Initializer {
    Initializer::truncated_normal(stddev)
}

/// `glorot_normal()`: truncated and corrected, `Var W = 2/(fan_in + fan_out)`.
///
/// ```
/// let std = wick_init::jax::glorot_normal().std(&[300, 100])?.unwrap();
/// assert!((std - (2.0f64 / 400.0).sqrt()).abs() < 1e-15);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn glorot_normal() -> Initializer {
    Initializer::xavier_normal().with_family(Family::TruncatedNormal)
}

/// `he_normal()`: truncated and corrected, `Var W = 2/fan_in`.
pub fn he_normal() -> Initializer {
    Initializer::kaiming_normal().with_family(Family::TruncatedNormal)
}

/// `lecun_normal()`: truncated and corrected, `Var W = 1/fan_in`.
pub fn lecun_normal() -> Initializer {
    Initializer::lecun_normal().with_family(Family::TruncatedNormal)
}
