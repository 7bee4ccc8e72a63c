//! JAX's conventions (`jax.nn.initializers`): normal schemes are cut off at two standard deviations and
//! corrected, so that the std is the one meant.

use crate::{Centre, Family, FanMode, Initializer};

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

/// `truncated_normal(stddev, lower, upper)`: cut at `lower` and `upper` times the stddev (JAX's own are ±2) and *not*
/// corrected; cut at ±2, what comes out has `.87962566 stddev`.
///
/// ```
/// let half = wick_init::jax::truncated_normal(2.0, 0.0, 3.0);
/// assert_eq!(half.to_string(), "truncated_normal:mean=0,std=2,low=0,high=6");
/// ```
pub fn truncated_normal(stddev: f64, lower: f64, upper: f64) -> Initializer {
    Initializer::TruncatedNormal { mean: 0.0, std: stddev, low: lower * stddev, high: upper * stddev }
}

/// `variance_scaling(scale, mode, distribution)`: `Var W = scale/fan`.
///
/// ```
/// use wick_init::{FanMode, Family, jax};
///
/// let he = jax::variance_scaling(2.0, FanMode::FanIn, Family::TruncatedNormal);
/// assert_eq!(he, jax::he_normal());
/// ```
pub fn variance_scaling(scale: f64, mode: FanMode, family: Family) -> Initializer {
    Initializer::VarianceScaling { scale, mode, family }
}

/// `glorot_uniform()`: `Var W = 2/(fan_in + fan_out)`.
pub fn glorot_uniform() -> Initializer {
    Initializer::xavier_uniform()
}

/// `he_uniform()`: `Var W = 2/fan_in`.
pub fn he_uniform() -> Initializer {
    Initializer::kaiming_uniform()
}

/// `lecun_uniform()`: `Var W = 1/fan_in`.
pub fn lecun_uniform() -> Initializer {
    Initializer::lecun_uniform()
}

/// `delta_orthogonal(scale)`: the centre of an even side is the lower one, `⌊(k-1)/2⌋`.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{KeyedV1, jax};
///
/// let w = jax::delta_orthogonal(1.0).tensor(KeyedV1::new(1).key("w"), (1, 1, 4), DType::F32, &Device::Cpu)?;
/// let places = w.abs()?.flatten_all()?.to_vec1::<f32>()?;
/// assert_eq!(places, [0.0, 1.0, 0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn delta_orthogonal(scale: f64) -> Initializer {
    Initializer::DeltaOrthogonal { gain: scale, centre: Centre::Lower }
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
