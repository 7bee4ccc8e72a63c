//! PyTorch's `trunc_normal_`, and the laws that PyTorch's stream cannot draw.

use std::f64::consts::PI;

use candle_core::DType;
use wick_theory::special::normal_cdf;

use super::loops::round;
use super::math::ln;
use crate::error::{Error, check as check_parameter};
use crate::rng::law::Law;
use crate::rng::values::Values;

/// The smallest fraction of uniforms that PyTorch's algorithm for a far truncated normal may accept. Below it
/// the algorithm takes too long: it draws the whole tensor again until the last element is accepted.
const SMALLEST_FRACTION: f64 = 1e-3;

/// Returns an error for a law that PyTorch's stream cannot draw: a truncated normal with a wide window far
/// from the mean, for which PyTorch's algorithm would hardly ever finish, and a uniform law over more than
/// the range of PyTorch's type.
pub(crate) fn check(law: Law, dtype: DType) -> Result<(), Error> {
    if let Law::Uniform { low, high } = law {
        let range = if dtype == DType::F64 { high - low } else { f64::from(high as f32 - low as f32) };
        let needs = "less than the type's largest number above low";
        return check_parameter("high", high, range.is_finite(), needs).map(drop);
    }
    let Law::TruncatedNormal { mean, std, low, high } = law else { return Ok(()) };
    if std == 0.0 {
        return Ok(());
    }
    let (a, b) = ((low - mean) / std, (high - mean) / std);
    let (p, q) = if a > 0.0 { (-b, -a) } else { (a, b) };
    let inside = normal_cdf(q) - normal_cdf(p);
    let nearest = mean.clamp(low, high) - mean;
    let peak = (-0.5 * (nearest / std).powi(2)).exp() / (2.0 * PI).sqrt();
    let accepted = inside / (peak * (b - a));
    let needs = "small enough for the window to be filled: PyTorch's stream keeps less than one uniform in a \
                 thousand here";
    check_parameter("high", high, inside > 0.3 || low == high || accepted >= SMALLEST_FRACTION, needs)
        .map(drop)
}

/// Draws as `trunc_normal_` does: normals, redrawn where they are outside the bounds; if few would be inside,
/// uniforms, accepted with a probability proportional to the density. `draw` draws a whole tensor, also for
/// each repetition.
pub(super) fn draw(
    (mean, std): (f64, f64),
    (low, high): (f64, f64),
    dtype: DType,
    mut draw: impl FnMut(Law) -> Values,
) -> Values {
    if std == 0.0 {
        // All of the mass is at the mean, which lies between the bounds.
        return draw(Law::Constant(mean));
    }
    let inside = normal_cdf((high - mean) / std) - normal_cdf((low - mean) / std);
    let wide = dtype == DType::F64;
    let exact = |x: f64| if wide { x } else { f64::from(round(x as f32, dtype)) };
    let mut draw = |law| draw(law).into_f64();
    let mut values;
    if inside > 0.3 {
        let normal = Law::Normal { mean, std };
        let outside = |x: f64| x < exact(low) || x > exact(high);
        values = draw(normal);
        while values.iter().any(|&x| outside(x)) {
            for (x, again) in values.iter_mut().zip(draw(normal)) {
                if outside(*x) {
                    *x = again;
                }
            }
        }
    } else {
        let peak = -0.5 * ((mean.clamp(low, high) - mean) / std).powi(2);
        let (proposal, unit) = (Law::Uniform { low, high }, Law::Uniform { low: 0.0, high: 1.0 });
        // Each step is rounded to the type, as the elements of tensors are. The scalars that are subtracted
        // are rounded too, and the divisor of a narrow type is an `f32`.
        let divisor = if wide { std } else { f64::from(std as f32) };
        let log_density = |x: f64| {
            let z = exact(exact(x - exact(mean)) / divisor);
            exact(exact(exact(z * z) * -0.5) - exact(peak))
        };
        values = draw(proposal);
        let mut candidates = values.clone();
        let mut pending = vec![true; values.len()];
        loop {
            for ((pending, x), u) in pending.iter_mut().zip(&candidates).zip(draw(unit)) {
                let log = if wide { u.ln() } else { f64::from(round(log_of(u as f32), dtype)) };
                *pending = *pending && log > log_density(*x);
            }
            if !pending.contains(&true) {
                break;
            }
            candidates = draw(proposal);
            for ((x, again), _) in values.iter_mut().zip(&candidates).zip(&pending).filter(|(_, p)| **p) {
                *x = *again;
            }
        }
    }
    if wide { Values::F64(values) } else { Values::F32(values.into_iter().map(|x| x as f32).collect()) }
}

/// `ln`, which is -∞ at 0.
fn log_of(u: f32) -> f32 {
    if u == 0.0 { f32::NEG_INFINITY } else { ln(u) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializer::Initializer;
    use crate::rng::torch::TorchRng;
    use candle_core::Device;

    fn truncated(std: f64, low: f64, high: f64) -> Result<Vec<f64>, Error> {
        let initializer = Initializer::TruncatedNormal { mean: 0.0, std, low, high };
        let drawn = initializer.tensor(&mut TorchRng::new(1), 500, DType::F64, &Device::Cpu)?;
        Ok(drawn.to_vec1()?)
    }

    #[test]
    fn a_window_that_takes_too_long_is_refused() {
        let error = truncated(1.0, 3.0, 1e7).unwrap_err().to_string();
        assert!(error.starts_with("high = 10000000 is out of range"), "{error}");
        assert!(truncated(1.0, -1e7, -3.0).is_err());
        for (low, high) in [(3.0, 5.0), (-20.0, -8.0), (-1e7, 1e7), (2.0, 2.0)] {
            let drawn = truncated(1.0, low, high).unwrap();
            assert!(drawn.iter().all(|x| (low..=high).contains(x)), "{low} {high}");
        }
    }

    #[test]
    fn a_std_of_zero_gives_the_mean() {
        assert_eq!(truncated(0.0, -1.0, 2.0).unwrap(), [0.0; 500]);
    }
}
