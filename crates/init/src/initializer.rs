//! The schemes, and the one core that turns any of them into a distribution.

use candle_core::{DType, Device, Shape, Tensor};

use crate::error::check;
use crate::stream::fill;
use crate::{Error, FanMode, Fans, Key};

/// How a tensor starts.
///
/// The named schemes ([`xavier_normal`](Self::xavier_normal), [`kaiming_uniform`](Self::kaiming_uniform) …)
/// are constructors of [`VarianceScaling`](Self::VarianceScaling). A scheme can be read from text, a SPEC:
/// see [`Initializer::from_str`](#impl-FromStr-for-Initializer).
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{Initializer, KeyedV1};
///
/// let key = KeyedV1::new(42).key("fc.weight");
/// let weight = Initializer::xavier_normal().tensor(&key, (750, 800), DType::F32, &Device::Cpu)?;
/// let std = weight.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt();
/// assert!((f64::from(std) - (2.0f64 / 1550.0).sqrt()).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initializer {
    /// Every element the same; any finite value.
    Constant(f64),
    /// `N(mean, std²)`; `std ≥ 0`. Mind that papers write `N(mean, variance)`.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation, not the variance.
        std: f64,
    },
    /// `U(low, high)`; `low ≤ high`.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Mean 0 and `Var W = scale / fan`, `scale ≥ 0`: the core of the Xavier, Kaiming and LeCun schemes.
    /// The std is that of what comes out, whatever the family.
    VarianceScaling {
        /// The variance times the fan; the square of what PyTorch calls gain.
        scale: f64,
        /// Which fan.
        mode: FanMode,
        /// The family of the distribution.
        family: Family,
    },
}

/// The family of a distribution that is given by its variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `N(0, σ²)`.
    Normal,
    /// `U(-√3 σ, √3 σ)`, whose standard deviation is `σ`.
    Uniform,
}

/// What the elements of one tensor are drawn from: a scheme after its shape is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Every element the same.
    Constant(f64),
    /// `N(mean, std²)`.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// `U(low, high)`.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
}

impl Distribution {
    /// The standard deviation: `(high - low)/√12` for the uniform one.
    pub fn std(self) -> f64 {
        match self {
            Self::Constant(_) => 0.0,
            Self::Normal { std, .. } => std,
            Self::Uniform { low, high } => (high - low) / 12f64.sqrt(),
        }
    }
}

impl Initializer {
    /// All zeros.
    pub fn zeros() -> Self {
        Self::Constant(0.0)
    }

    /// All ones.
    pub fn ones() -> Self {
        Self::Constant(1.0)
    }

    /// `N(0, std²)`.
    pub fn normal(std: f64) -> Self {
        Self::Normal { mean: 0.0, std }
    }

    /// `U(-bound, bound)`.
    pub fn uniform(bound: f64) -> Self {
        Self::Uniform { low: -bound, high: bound }
    }

    /// `N(0, 2/(fan_in + fan_out))` (Glorot and Bengio 2010, equation 12).
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::xavier_normal().distribution(&[750, 800])?.std();
    /// assert_eq!(std, (2.0f64 / 1550.0).sqrt());
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn xavier_normal() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanAvg, family: Family::Normal }
    }

    /// `U(±√(6/(fan_in + fan_out)))` (Glorot and Bengio 2010, equation 16).
    pub fn xavier_uniform() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanAvg, family: Family::Uniform }
    }

    /// `N(0, 2/fan_in)`: keeps the variance through ReLU (He et al. 2015, equation 10).
    pub fn kaiming_normal() -> Self {
        Self::VarianceScaling { scale: 2.0, mode: FanMode::FanIn, family: Family::Normal }
    }

    /// `U(±√(6/fan_in))`: as [`kaiming_normal`](Self::kaiming_normal), from the uniform family.
    pub fn kaiming_uniform() -> Self {
        Self::VarianceScaling { scale: 2.0, mode: FanMode::FanIn, family: Family::Uniform }
    }

    /// `N(0, 1/fan_in)` (LeCun et al. 1998, *Efficient BackProp*, equation 16).
    pub fn lecun_normal() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanIn, family: Family::Normal }
    }

    /// `U(±√(3/fan_in))`: as [`lecun_normal`](Self::lecun_normal), from the uniform family.
    pub fn lecun_uniform() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanIn, family: Family::Uniform }
    }

    /// The same scheme with `Var W = gain²/fan`. Schemes that do not scale by a fan stay as they are.
    ///
    /// ```
    /// use wick_init::Initializer;
    /// use wick_theory::Activation;
    ///
    /// let scheme = Initializer::kaiming_normal().with_gain(Activation::Tanh.gain());
    /// assert!((scheme.distribution(&[10, 100])?.std() - 0.159_254).abs() < 1e-6);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn with_gain(self, gain: f64) -> Self {
        match self {
            // A negative gain is kept negative, so that `distribution` can refuse it.
            Self::VarianceScaling { mode, family, .. } => {
                Self::VarianceScaling { scale: gain * gain.abs(), mode, family }
            }
            other => other,
        }
    }

    /// The same scheme divided by another fan. Schemes that do not scale by a fan stay as they are.
    pub fn with_mode(self, mode: FanMode) -> Self {
        match self {
            Self::VarianceScaling { scale, family, .. } => Self::VarianceScaling { scale, mode, family },
            other => other,
        }
    }

    /// The one core: what the elements of a tensor of this shape are drawn from.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a negative or non-finite parameter or crossed bounds,
    /// [`Error::NoFans`] where the scheme needs fans and the shape has none.
    pub fn distribution(&self, shape: &[usize]) -> Result<Distribution, Error> {
        match *self {
            Self::Constant(value) => {
                check("value", value, true, "finite")?;
                Ok(Distribution::Constant(value))
            }
            Self::Normal { mean, std } => {
                check("mean", mean, true, "finite")?;
                check("std", std, std >= 0.0, "finite and not negative")?;
                Ok(Distribution::Normal { mean, std })
            }
            Self::Uniform { low, high } => {
                check("high", high, true, "finite")?;
                check("low", low, low <= high, "finite and not above high")?;
                Ok(Distribution::Uniform { low, high })
            }
            Self::VarianceScaling { scale, mode, family } => {
                check("scale", scale, scale >= 0.0, "finite and not negative")?;
                let fans = Fans::of(shape)
                    .map_err(|_| Error::NoFans { shape: shape.to_vec(), scheme: self.to_string() })?;
                // A tensor without elements has no fan to divide by, and nothing to draw.
                let std = (scale / mode.of(fans).max(1.0)).sqrt();
                Ok(match family {
                    Family::Normal => Distribution::Normal { mean: 0.0, std },
                    Family::Uniform => {
                        let bound = 3f64.sqrt() * std;
                        Distribution::Uniform { low: -bound, high: bound }
                    }
                })
            }
        }
    }

    /// Draws a tensor: element `i` (row-major) depends on the key and on `i` alone. `f64` is drawn in
    /// `f64`, the other types in `f32`, and rounded once.
    ///
    /// # Errors
    /// As [`distribution`](Self::distribution); [`Error::Type`] for a type that is not floating point;
    /// [`Error::Candle`] if the device refuses.
    pub fn tensor(
        &self,
        key: &Key,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, Error> {
        let shape = shape.into();
        fill::tensor(key, self.distribution(shape.dims())?, shape, dtype, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every named scheme against its formula, on a linear layer and on a convolution.
    #[test]
    fn schemes_have_their_std() {
        let (fan_in, fan_out) = (800f64, 750f64);
        let cases = [
            (Initializer::xavier_normal(), 2.0 / (fan_in + fan_out)),
            (Initializer::xavier_uniform(), 2.0 / (fan_in + fan_out)),
            (Initializer::kaiming_normal(), 2.0 / fan_in),
            (Initializer::kaiming_uniform(), 2.0 / fan_in),
            (Initializer::kaiming_normal().with_mode(FanMode::FanOut), 2.0 / fan_out),
            (Initializer::lecun_normal(), 1.0 / fan_in),
            (Initializer::lecun_uniform(), 1.0 / fan_in),
            (Initializer::xavier_normal().with_gain(5.0 / 3.0), 25.0 / 9.0 * 2.0 / (fan_in + fan_out)),
            (Initializer::lecun_normal().with_mode(FanMode::FanGeoAvg), 1.0 / (fan_in * fan_out).sqrt()),
            (Initializer::normal(0.3), 0.09),
            (Initializer::uniform(0.3), 0.03),
            (Initializer::ones(), 0.0),
        ];
        for (scheme, variance) in cases {
            let std = scheme.distribution(&[750, 800]).unwrap().std();
            assert!((std * std - variance).abs() < 1e-15, "{scheme}: {}", std * std);
        }
        let convolution = Initializer::kaiming_normal().distribution(&[64, 3, 7, 7]).unwrap();
        assert_eq!(convolution.std(), (2.0f64 / 147.0).sqrt());
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let nan = f64::NAN;
        let cases = [
            (Initializer::normal(-1.0), "std = -1"),
            (Initializer::normal(nan), "std = NaN"),
            (Initializer::Normal { mean: f64::INFINITY, std: 1.0 }, "mean = inf"),
            (Initializer::Uniform { low: 1.0, high: 0.0 }, "low = 1"),
            (Initializer::Uniform { low: nan, high: 0.0 }, "low = NaN"),
            (Initializer::Constant(nan), "value = NaN"),
            (Initializer::xavier_normal().with_gain(-2.0), "scale = -4"),
        ];
        for (scheme, message) in cases {
            let error = scheme.distribution(&[2, 2]).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let error = Initializer::xavier_normal().distribution(&[5]).unwrap_err().to_string();
        assert_eq!(
            error,
            "shape [5] has no fans: xavier_normal needs a weight of two or more dimensions [out, in, …]"
        );
    }

    #[test]
    fn integers_are_refused() {
        let key = crate::KeyedV1::new(0).key("w");
        let error = Initializer::zeros().tensor(&key, 3, DType::U32, &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("u32"), "{error}");
    }
}
