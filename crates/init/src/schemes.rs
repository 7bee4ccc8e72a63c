//! The named schemes: a few lines each over the variants of [`Initializer`].

use crate::{Family, FanMode, Initializer};

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

    /// `N(0, std²)` cut off at `±2 std`, where 4.6 % of a normal lie outside. What comes out has a standard
    /// deviation of `0.87962566 std`.
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

    /// The same scheme with `Var W = gain²/fan`, or with that gain where it has one of its own. The others stay
    /// as they are.
    ///
    /// ```
    /// use wick_init::Initializer;
    /// use wick_theory::Activation;
    ///
    /// let scheme = Initializer::kaiming_normal().with_gain(Activation::Tanh.gain());
    /// assert!((scheme.std(&[10, 100])?.unwrap() - 0.159_254).abs() < 1e-6);
    /// # Ok::<(), wick_init::Error>(())
    /// ```
    pub fn with_gain(self, gain: f64) -> Self {
        match self {
            // A negative gain is kept negative, so that it can be refused.
            Self::VarianceScaling { mode, family, .. } => {
                Self::VarianceScaling { scale: gain * gain.abs(), mode, family }
            }
            Self::Identity { .. } => Self::Identity { gain },
            Self::Orthogonal { .. } => Self::Orthogonal { gain },
            Self::DeltaOrthogonal { .. } => Self::DeltaOrthogonal { gain },
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

    /// The same scheme from another family. Schemes that are not given by a variance stay as they are.
    pub fn with_family(self, family: Family) -> Self {
        match self {
            Self::VarianceScaling { scale, mode, .. } => Self::VarianceScaling { scale, mode, family },
            other => other,
        }
    }
}
