//! JAX's conventions (`jax.nn.initializers`): its normal initializers are cut off at two standard deviations
//! and corrected, so that the elements have the intended standard deviation. JAX's random numbers ([`JaxKey`]).

pub use crate::rng::jax::JaxKey;

use crate::fans::FanMode;
use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::initializer::parameters::Row;
use crate::structures::convolution::Centre;

pub(crate) const ROWS: &[Row] = &[
    ("jax.uniform", |p| Ok(uniform(p.or("scale", 0.01)?))),
    ("jax.normal", |p| Ok(normal(p.or("stddev", 0.01)?))),
    ("jax.truncated_normal", |p| {
        let std = p.or("stddev", 0.01)?;
        p.cut((0.0, std), "lower", "upper")
    }),
    ("jax.variance_scaling", |p| p.library_variance_scaling(&Distribution::OF_LIBRARIES, None)),
    ("jax.glorot_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("jax.glorot_normal", |p| p.scaled(glorot_normal())),
    ("jax.he_uniform", |p| p.scaled(Initializer::kaiming_uniform())),
    ("jax.he_normal", |p| p.scaled(he_normal())),
    ("jax.lecun_uniform", |p| p.scaled(Initializer::lecun_uniform())),
    ("jax.lecun_normal", |p| p.scaled(lecun_normal())),
    ("jax.delta_orthogonal", |p| Ok(delta_orthogonal(p.or("scale", 1.0)?))),
];

/// `normal(stddev)`: `N(0, stddev²)`; JAX's default is .01.
pub fn normal(stddev: f64) -> Initializer {
    Initializer::normal(stddev)
}

/// `uniform(scale)`: `U(0, scale)`, which is not centred; JAX's default is .01.
///
/// ```
/// assert_eq!(wick_init::jax::uniform(0.01), wick_init::Initializer::Uniform { low: 0.0, high: 0.01 });
/// ```
pub fn uniform(scale: f64) -> Initializer {
    Initializer::Uniform { low: 0.0, high: scale }
}

/// `truncated_normal(stddev, lower, upper)`: cut at `lower` and `upper` times the stddev (JAX's defaults are
/// ±2) and *not* corrected; cut at ±2, the elements have a standard deviation of `.87962566 stddev`.
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
/// use wick_init::{Distribution, FanMode, jax};
///
/// let he = jax::variance_scaling(2.0, FanMode::FanIn, Distribution::TruncatedNormal);
/// assert_eq!(he, jax::he_normal());
/// ```
pub fn variance_scaling(scale: f64, mode: FanMode, distribution: Distribution) -> Initializer {
    Initializer::VarianceScaling { scale, mode, distribution }
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
    Initializer::delta_orthogonal(scale, Centre::Lower)
}

/// `glorot_normal()`: truncated and corrected, `Var W = 2/(fan_in + fan_out)`.
///
/// ```
/// let std = wick_init::jax::glorot_normal().std(&[300, 100])?.unwrap();
/// assert!((std - (2.0f64 / 400.0).sqrt()).abs() < 1e-15);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn glorot_normal() -> Initializer {
    Initializer::xavier_normal().with_distribution(Distribution::TruncatedNormal)
}

/// `he_normal()`: truncated and corrected, `Var W = 2/fan_in`.
pub fn he_normal() -> Initializer {
    Initializer::kaiming_normal().with_distribution(Distribution::TruncatedNormal)
}

/// `lecun_normal()`: truncated and corrected, `Var W = 1/fan_in`.
pub fn lecun_normal() -> Initializer {
    Initializer::lecun_normal().with_distribution(Distribution::TruncatedNormal)
}
