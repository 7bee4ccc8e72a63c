//! The named initializers of independent elements: a few lines each over the variants of [`Initializer`].

use super::Initializer;
use super::distribution::Distribution;
use crate::fans::FanMode;

impl Initializer {
    /// All zeros.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// assert_eq!(Initializer::zeros(), Initializer::Constant(0.0));
    /// ```
    pub fn zeros() -> Self {
        Self::Constant(0.0)
    }

    /// All ones.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// assert_eq!(Initializer::ones(), Initializer::Constant(1.0));
    /// ```
    pub fn ones() -> Self {
        Self::Constant(1.0)
    }

    /// `N(0, std²)`, `std ≥ 0`.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::normal(0.5).std(&[7])?.unwrap();
    /// assert!((std - 0.5).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn normal(std: f64) -> Self {
        Self::Normal { mean: 0.0, std }
    }

    /// `U(-bound, bound)`, `bound ≥ 0`.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::uniform(0.3).std(&[7])?.unwrap();
    /// assert!((std - 0.3 / 3f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn uniform(bound: f64) -> Self {
        Self::Uniform { low: -bound, high: bound }
    }

    /// `N(0, std²)` cut off at `±2 std`, outside which 4.6 % of a normal lie. The elements have a standard
    /// deviation of `0.87962566 std`.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::truncated_normal(0.5).std(&[7])?.unwrap();
    /// assert!((std - 0.5 * 0.879_625_661_034_239_8).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn truncated_normal(std: f64) -> Self {
        Self::TruncatedNormal { mean: 0.0, std, low: -2.0 * std, high: 2.0 * std }
    }

    /// `N(0, 2/(fan_in + fan_out))` (Glorot and Bengio 2010, equation 12).
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// assert_eq!(Initializer::xavier_normal().std(&[750, 800])?, Some((2.0f64 / 1550.0).sqrt()));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn xavier_normal() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanAvg, distribution: Distribution::Normal }
    }

    /// `U(±√(6/(fan_in + fan_out)))` (Glorot and Bengio 2010, equation 16).
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::xavier_uniform().std(&[750, 800])?.unwrap();
    /// assert!((std - (2.0f64 / 1550.0).sqrt()).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn xavier_uniform() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanAvg, distribution: Distribution::Uniform }
    }

    /// `N(0, 2/fan_in)`: keeps the variance through ReLU (He et al. 2015, equation 10).
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::kaiming_normal().std(&[64, 3, 7, 7])?.unwrap();
    /// assert!((std - (2.0f64 / 147.0).sqrt()).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn kaiming_normal() -> Self {
        Self::VarianceScaling { scale: 2.0, mode: FanMode::FanIn, distribution: Distribution::Normal }
    }

    /// `U(±√(6/fan_in))`: as [`kaiming_normal`](Self::kaiming_normal), uniform.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::kaiming_uniform().std(&[100, 400])?.unwrap();
    /// assert!((std - (2.0f64 / 400.0).sqrt()).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn kaiming_uniform() -> Self {
        Self::VarianceScaling { scale: 2.0, mode: FanMode::FanIn, distribution: Distribution::Uniform }
    }

    /// `N(0, 1/fan_in)` (LeCun et al. 1998, *Efficient BackProp*, equation 16).
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::lecun_normal().std(&[100, 400])?.unwrap();
    /// assert!((std - 0.05).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn lecun_normal() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanIn, distribution: Distribution::Normal }
    }

    /// `U(±√(3/fan_in))`: as [`lecun_normal`](Self::lecun_normal), uniform.
    ///
    /// ```
    /// use wick_init::Initializer;
    ///
    /// let std = Initializer::lecun_uniform().std(&[100, 400])?.unwrap();
    /// assert!((std - 0.05).abs() < 1e-15);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn lecun_uniform() -> Self {
        Self::VarianceScaling { scale: 1.0, mode: FanMode::FanIn, distribution: Distribution::Uniform }
    }

    /// The same initializer with `Var W = gain²/fan`, or with that gain if it is a structured one that has a
    /// gain. All other initializers stay as they are.
    ///
    /// ```
    /// use wick_init::Initializer;
    /// use wick_theory::Activation;
    ///
    /// let initializer = Initializer::kaiming_normal().with_gain(Activation::Tanh.gain());
    /// assert!((initializer.std(&[10, 100])?.unwrap() - 0.159_254).abs() < 1e-6);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn with_gain(self, gain: f64) -> Self {
        match self {
            // A negative gain is kept negative, so that it can be refused.
            Self::VarianceScaling { mode, distribution, .. } => {
                Self::VarianceScaling { scale: gain * gain.abs(), mode, distribution }
            }
            Self::Structured(ref structured) => {
                structured.structure().with_gain(gain).map_or(self.clone(), Self::Structured)
            }
            other => other,
        }
    }

    /// The same initializer, divided by another fan. Initializers that do not scale by a fan stay as they
    /// are.
    ///
    /// ```
    /// use wick_init::{FanMode, Initializer};
    ///
    /// let backward = Initializer::lecun_normal().with_mode(FanMode::FanOut);
    /// assert_eq!(backward.std(&[400, 100])?, Some(0.05));
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn with_mode(self, mode: FanMode) -> Self {
        match self {
            Self::VarianceScaling { scale, distribution, .. } => {
                Self::VarianceScaling { scale, mode, distribution }
            }
            other => other,
        }
    }

    /// The same initializer with another distribution. Initializers that are not given by a variance stay as
    /// they are.
    ///
    /// ```
    /// use wick_init::{Distribution, Initializer, jax};
    ///
    /// let he = Initializer::kaiming_normal().with_distribution(Distribution::TruncatedNormal);
    /// assert_eq!(he, jax::he_normal());
    /// ```
    pub fn with_distribution(self, distribution: Distribution) -> Self {
        match self {
            Self::VarianceScaling { scale, mode, .. } => Self::VarianceScaling { scale, mode, distribution },
            other => other,
        }
    }
}
