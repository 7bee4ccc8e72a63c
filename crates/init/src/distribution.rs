//! Distributions of single elements.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::DType;

use wick_theory::gaussian::integrate;

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
                std * cut_std((low - mean) / std, (high - mean) / std)
            }
        }
    }
}

impl Distribution {
    /// Whether the law is symmetric about 0.
    pub(crate) fn is_centred(self) -> bool {
        match self {
            Self::Constant(value) => value == 0.0,
            Self::Normal { mean, .. } => mean == 0.0,
            Self::Uniform { low, high } => low == -high,
            Self::TruncatedNormal { mean, low, high, .. } => mean == 0.0 && low == -high,
        }
    }
}

/// The standard deviation of a standard normal cut off outside `[a, b]`. By quadrature: the closed form cancels where
/// the window is narrow or far out.
fn cut_std(a: f64, b: f64) -> f64 {
    // In the upper tail or across the middle; beyond `reach` of the peak, less than 1e-32 of the window is left.
    let (a, b) = if b < 0.0 { (-b, -a) } else { (a, b) };
    let peak = a.max(0.0);
    let reach = if peak > 0.0 { 75.0 / (peak + 12.0) } else { 12.0 };
    let (a, b) = (a.max(peak - 12.0), b.min(peak + reach));
    if a >= b {
        return 0.0;
    }
    // The density, 1 at the peak, by the distance from the middle of the window.
    let middle = 0.5 * a + 0.5 * b;
    let density = |d: f64| (-0.5 * (middle + d - peak) * (middle + d + peak)).exp();
    // Far out, the density falls as fast as the peak is far.
    let scale = peak.max(1.0);
    let moment = |f: &dyn Fn(f64) -> f64| {
        integrate(&|d| f(d / scale) * density(d / scale), scale * (a - middle), scale * (b - middle))
    };
    let mass = moment(&|_| 1.0);
    let shift = moment(&|d| d) / mass;
    (moment(&|d| (d - shift).powi(2)) / mass).sqrt()
}

/// The largest number of a type.
pub(crate) fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => 3.389e38,
        _ => f64::from(f32::MAX),
    }
}

impl Distribution {
    /// An error if a parameter, or a normal ten standard deviations out, is beyond the largest number of a type.
    pub(crate) fn check_type(self, dtype: DType) -> Result<(), Error> {
        let largest = largest(dtype);
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
    /// Nor does PyTorch draw uniforms over more than its own range.
    pub(crate) fn check_torch(self, dtype: DType) -> Result<(), Error> {
        if let Self::Uniform { low, high } = self {
            let range = if dtype == DType::F64 { high - low } else { f64::from(high as f32 - low as f32) };
            return check("high", high, range.is_finite(), "less than the type's largest number above low")
                .map(drop);
        }
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

    /// A narrow window is nearly uniform, `width/√12`; one far out nearly exponential, `1/a` (times `1 - 3/a²`); bounds that
    /// cut nothing off leave 1.
    #[test]
    fn stds_where_the_closed_form_cancels() {
        for (low, width) in [(0.3, 1e-6), (-5.0, 1e-9), (20.0, 1e-8)] {
            assert!((cut_std(low, low + width) / (width / 12f64.sqrt()) - 1.0).abs() < 1e-6, "{low} {width}");
        }
        for a in [20.0, 1e3] {
            for b in [1e7, f64::INFINITY] {
                assert!((cut_std(a, b) * a - (1.0 - 3.0 / (a * a))).abs() < 30.0 / a.powi(4), "{a} {b}");
                assert_eq!(cut_std(a, b), cut_std(-b, -a));
            }
        }
        assert!((cut_std(f64::NEG_INFINITY, f64::INFINITY) - 1.0).abs() < 1e-13);
        assert!((cut_std(-2.0, 2.0) - TRUNCATED_STD).abs() < 1e-14);
        // A half normal: √(1 - 2/π).
        assert!((cut_std(0.0, f64::INFINITY) - (1.0 - 2.0 / PI).sqrt()).abs() < 1e-13);
        assert_eq!(cut_std(1.0, 1.0), 0.0);
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
