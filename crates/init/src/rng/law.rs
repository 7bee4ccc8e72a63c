//! The law of the elements of a tensor that are independent of each other.

use candle_core::DType;
use wick_theory::gaussian::integrate;

use super::values::{largest, smallest};
use crate::error::Error;

/// The standard deviation of a standard normal cut off at ±2: `√(1 - 4φ(2)/(Φ(2) - Φ(-2)))`.
pub(crate) const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;

/// The standard deviation of a standard normal cut off at ±3: `√(1 - 6φ(3)/(Φ(3) - Φ(-3)))`.
pub(crate) const TRUNCATED_STD_3: f64 = 0.986_578_392_558_108_6;

/// The law that each element of a tensor is drawn from: an initializer applied to a shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Law {
    /// All elements have this value.
    Constant(f64),
    /// `N(mean, std²)`.
    Normal { mean: f64, std: f64 },
    /// `U(low, high)`.
    Uniform { low: f64, high: f64 },
    /// `N(mean, std²)` cut off outside `[low, high]`; `mean` and `std` are those before the cut.
    TruncatedNormal { mean: f64, std: f64, low: f64, high: f64 },
}

impl Law {
    /// The standard deviation of the elements: `(high - low)/√12` for a uniform law, and the one after the
    /// cut for a truncated normal.
    pub(crate) fn std(self) -> f64 {
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

    /// Whether the law is symmetric about 0.
    pub(crate) fn is_centred(self) -> bool {
        match self {
            Self::Constant(value) => value == 0.0,
            Self::Normal { mean, .. } => mean == 0.0,
            Self::Uniform { low, high } => low == -high,
            Self::TruncatedNormal { mean, low, high, .. } => mean == 0.0 && low == -high,
        }
    }

    /// Whether the law is a truncated normal.
    pub(crate) fn is_cut(self) -> bool {
        matches!(self, Self::TruncatedNormal { .. })
    }

    /// Returns an error if a parameter, or a normal ten standard deviations from the mean, is beyond the
    /// largest number of a type, or if numbers of one standard deviation are rounded to 0 in it.
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
        if let Some(value) = extremes.into_iter().find(|value| value.is_nan() || value.abs() > largest) {
            return Err(Error::Overflow { value, dtype });
        }
        let usual = match self {
            Self::Constant(value) => value.abs(),
            Self::Uniform { low, high } => low.abs().max(high.abs()),
            Self::Normal { mean, std } => mean.abs() + std,
            Self::TruncatedNormal { low, high, .. } => low.abs().max(high.abs()),
        };
        if usual > 0.0 && usual <= 0.5 * smallest(dtype) {
            return Err(Error::Underflow { value: usual, dtype });
        }
        Ok(())
    }
}

/// Returns the standard deviation of a standard normal cut off outside `[a, b]`, by quadrature: the closed
/// form loses its digits to cancellation where the window is narrow or far from 0.
fn cut_std(a: f64, b: f64) -> f64 {
    // Mirrored, the window lies in the upper tail or holds 0; farther than `reach` from the peak, less than
    // 1e-32 of the window's mass is left.
    let (a, b) = if b < 0.0 { (-b, -a) } else { (a, b) };
    let peak = a.max(0.0);
    let reach = if peak > 0.0 { 75.0 / (peak + 12.0) } else { 12.0 };
    let (a, b) = (a.max(peak - 12.0), b.min(peak + reach));
    if a >= b {
        return 0.0;
    }
    // The density, which is 1 at the peak, as a function of the distance from the middle of the window.
    let middle = 0.5 * a + 0.5 * b;
    let density = |d: f64| (-0.5 * (middle + d - peak) * (middle + d + peak)).exp();
    // The density decays at a rate of the peak's distance from 0.
    let scale = peak.max(1.0);
    let moment = |f: &dyn Fn(f64) -> f64| {
        integrate(&|d| f(d / scale) * density(d / scale), scale * (a - middle), scale * (b - middle))
    };
    let mass = moment(&|_| 1.0);
    let shift = moment(&|d| d) / mass;
    (moment(&|d| (d - shift).powi(2)) / mass).sqrt()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use wick_theory::special::normal_cdf;

    use super::*;

    #[test]
    fn laws_that_a_type_rounds_to_zero_are_refused() {
        let refused = |law: Law, dtype| matches!(law.check_type(dtype), Err(Error::Underflow { .. }));
        let normal = |std| Law::Normal { mean: 0.0, std };
        assert!(refused(normal(1e-9), DType::F16) && !refused(normal(1e-9), DType::F32));
        assert!(refused(normal(1e-46), DType::BF16) && refused(Law::Constant(-1e-46), DType::F32));
        assert!(refused(Law::Uniform { low: -1e-9, high: 1e-9 }, DType::F16));
        assert!(!refused(normal(0.0), DType::F16) && !refused(Law::Constant(0.0), DType::F16));
        assert!(
            !refused(Law::Normal { mean: 1.0, std: 1e-9 }, DType::F16) && !refused(normal(1e-7), DType::F16)
        );
        assert!(!refused(normal(f64::from_bits(1)), DType::F64));
    }

    #[test]
    fn the_truncation_constant_is_what_it_says() {
        let density = (-2f64).exp() / (2.0 * PI).sqrt();
        let mass = normal_cdf(2.0) - normal_cdf(-2.0);
        assert!(((1.0 - 4.0 * density / mass).sqrt() - TRUNCATED_STD).abs() < 1e-15);
        assert!((cut_std(-3.0, 3.0) - TRUNCATED_STD_3).abs() < 1e-14);
    }

    /// A narrow window is nearly uniform, `width/√12`; one far out nearly exponential, `1/a` (times `1 -
    /// 3/a²`); bounds that cut nothing off leave 1.
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
            let got = Law::TruncatedNormal { mean, std, low, high }.std();
            assert!((got / expected - 1.0).abs() < 1e-6, "{mean} {std} {low} {high}: {got} {expected}");
        }
    }
}
