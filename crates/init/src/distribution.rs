//! Distributions of single elements.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::DType;

use crate::Error;
use crate::error::check;

/// The standard deviation of a standard normal cut off at ±2:
/// `√(1 - 4φ(2)/(Φ(2) - Φ(-2)))`.
pub(crate) const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

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
    /// `N(mean, std²)` cut off outside `[low, high]`.
    TruncatedNormal {
        /// The mean before the cut.
        mean: f64,
        /// The standard deviation before the cut.
        std: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
}

impl Distribution {
    /// The standard deviation of what comes out: `(high - low)/√12` for the uniform one, and after the cut for
    /// the truncated one.
    ///
    /// ```
    /// use wick_init::Distribution;
    ///
    /// let cut = Distribution::TruncatedNormal { mean: 0.0, std: 1.0, low: -2.0, high: 2.0 };
    /// assert!((cut.std() - 0.879_625_661_034_239_8).abs() < 1e-15);
    /// ```
    pub fn std(self) -> f64 {
        match self {
            Self::Constant(_) => 0.0,
            Self::Normal { std, .. } => std,
            Self::Uniform { low, high } => (high - low) / 12f64.sqrt(),
            Self::TruncatedNormal { std: 0.0, .. } => 0.0,
            Self::TruncatedNormal { mean, std, low, high } => {
                let (a, b) = ((low - mean) / std, (high - mean) / std);
                let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
                // In the lower tail, where differences of the distribution function keep their digits.
                let (p, q) = if a > 0.0 { (-b, -a) } else { (a, b) };
                let mass = normal_cdf(q) - normal_cdf(p);
                let shift = (density(a) - density(b)) / mass;
                let spread = 1.0 + (a * density(a) - b * density(b)) / mass - shift * shift;
                std * spread.max(0.0).sqrt()
            }
        }
    }
}

impl Distribution {
    /// An error if a parameter, or a normal ten standard deviations out, is beyond the largest number of a type.
    pub(crate) fn check_type(self, dtype: DType) -> Result<(), Error> {
        let largest = match dtype {
            DType::F64 => f64::MAX,
            DType::F16 => 65504.0,
            DType::BF16 => 3.389e38,
            _ => f64::from(f32::MAX),
        };
        let extremes = match self {
            Self::Constant(value) => [value, value],
            Self::Normal { mean, std } => [mean - 10.0 * std, mean + 10.0 * std],
            Self::Uniform { low, high } => [low, high],
            Self::TruncatedNormal { mean, std, low, high } => {
                [low.max(mean - 10.0 * std), high.min(mean + 10.0 * std)]
            }
        };
        match extremes.into_iter().find(|value| value.is_nan() || value.abs() > largest) {
            Some(value) => Err(Error::Overflow { value, dtype }),
            None => Ok(()),
        }
    }
}

/// With a smaller share of uniforms kept, PyTorch's way to a far truncated normal takes too long: it draws the whole
/// tensor again until the last element is inside.
const SMALLEST_SHARE: f64 = 1e-3;

impl Distribution {
    /// An error for a truncated normal that PyTorch's algorithm would hardly ever finish: one with a wide window far
    /// from the mean, of which it draws uniforms and keeps those that fall under the density.
    pub(crate) fn check_torch(self) -> Result<(), Error> {
        let Self::TruncatedNormal { mean, std, low, high } = self else { return Ok(()) };
        if std == 0.0 {
            return Ok(());
        }
        let (a, b) = ((low - mean) / std, (high - mean) / std);
        let (p, q) = if a > 0.0 { (-b, -a) } else { (a, b) };
        let inside = normal_cdf(q) - normal_cdf(p);
        let nearest = mean.clamp(low, high) - mean;
        let peak = (-0.5 * (nearest / std).powi(2)).exp() / (2.0 * PI).sqrt();
        let share = inside / (peak * (b - a));
        let needs = "small enough for the window to be filled: PyTorch's stream keeps less than one uniform in a \
                     thousand here";
        check("high", high, inside > 0.3 || low == high || share >= SMALLEST_SHARE, needs).map(drop)
    }
}

/// The standard normal distribution function, with full relative accuracy in the left tail.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truncation_constant_is_what_it_says() {
        let density = (-2f64).exp() / (2.0 * PI).sqrt();
        let mass = normal_cdf(2.0) - normal_cdf(-2.0);
        assert!(((1.0 - 4.0 * density / mass).sqrt() - TRUNCATED_STD).abs() < 1e-15);
    }

    /// Against the mean square by summing the density in small steps.
    #[test]
    fn stds_after_the_cut() {
        for (mean, std, low, high) in [(0.0, 1.0, -1.0, 3.0), (0.5, 0.2, 0.6, 1.0), (0.0, 1.0, 4.0, 6.0)] {
            let step = (high - low) / 100_000.0;
            let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
            for i in 0..100_000 {
                let x = low + (f64::from(i) + 0.5) * step;
                let density = (-0.5 * ((x - mean) / std).powi(2)).exp();
                (mass, first, second) = (mass + density, first + density * x, second + density * x * x);
            }
            let expected = (second / mass - (first / mass).powi(2)).sqrt();
            let got = Distribution::TruncatedNormal { mean, std, low, high }.std();
            assert!((got / expected - 1.0).abs() < 1e-6, "{mean} {std} {low} {high}: {got} {expected}");
        }
    }
}
