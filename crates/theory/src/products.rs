//! Products of Gaussian matrices.

use std::f64::consts::{LN_2, PI};

/// Euler's `γ`.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Digamma and trigamma, `ψ(k/2)` and `ψ'(k/2)` for `k ≥ 1`: finite sums up from 1/2 or 1.
fn polygamma_of_half(k: u32) -> (f64, f64) {
    let (start, digamma, trigamma) = if k.is_multiple_of(2) {
        (1.0, -EULER, PI * PI / 6.0)
    } else {
        (0.5, -EULER - 2.0 * LN_2, PI * PI / 2.0)
    };
    let steps = (k - 1) / 2;
    // The smallest terms first.
    let terms = (0..steps).rev().map(|step| 1.0 / (start + f64::from(step)));
    let (sum, squares) = terms.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    (digamma + sum, trigamma - squares)
}

/// The `i`-th Lyapunov exponent (from 1, the largest) of products of real `n × n` matrices of N(0, σ²)
/// elements, and the variance of `ln s_i` for each factor: `λ_i = ln σ + ½[ln 2 + ψ((n-i+1)/2)]` and
/// `ψ'((n-i+1)/2)/4` (Newman 1986, *The distribution of Lyapunov exponents: exact results for random
/// matrices*; Forrester 2013, arXiv 1206.2001).
///
/// `None` unless `1 ≤ i ≤ n` and `σ > 0`.
///
/// ```
/// let (largest, variance) = wick_theory::lyapunov_exponent(4, 1, 1.0).unwrap();
/// assert!((largest - 0.557_966).abs() < 1e-6);
/// ```
pub fn lyapunov_exponent(n: u32, i: u32, sigma: f64) -> Option<(f64, f64)> {
    if i == 0 || i > n || sigma.is_nan() || sigma <= 0.0 {
        return None;
    }
    let (digamma, trigamma) = polygamma_of_half(n - i + 1);
    Some((sigma.ln() + 0.5 * (LN_2 + digamma), 0.25 * trigamma))
}

/// Mean and variance of `ln‖P u‖` for the product `P` of `factors` matrices of N(0, σ²) elements and a fixed
/// unit vector `u`: exact for every number of factors, `L λ₁` and `L ψ'(n/2)/4` (Cohen and Newman 1984, *The
/// stability of large random matrices and their products*).
///
/// ```
/// // The lecture's 101 matrices of 4 × 4.
/// let (mean, variance) = wick_theory::log_norm_of_product(4, 101, 1.0).unwrap();
/// assert!((mean - 56.3546).abs() < 1e-4 && variance.sqrt() < 4.1);
/// ```
pub fn log_norm_of_product(n: u32, factors: u32, sigma: f64) -> Option<(f64, f64)> {
    let (exponent, variance) = lyapunov_exponent(n, 1, sigma)?;
    Some((f64::from(factors) * exponent, f64::from(factors) * variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponents_of_four_by_four() {
        for (i, expected) in (1..).zip([0.557_966, 0.364_819, 0.057_966, -0.635_181]) {
            let (exponent, _) = lyapunov_exponent(4, i, 1.0).unwrap();
            assert!((exponent - expected).abs() < 6e-7, "λ_{i}: {exponent}");
            let (scaled, _) = lyapunov_exponent(4, i, 3.0).unwrap();
            assert!((scaled - exponent - 3f64.ln()).abs() < 1e-15);
        }
    }

    /// ψ and ψ' against differences of ln Γ.
    #[test]
    fn polygammas_are_derivatives() {
        for k in [1, 2, 3, 4, 17, 100, 1001] {
            let (x, step) = (f64::from(k) / 2.0, 1e-3);
            let (low, middle, high) = (libm::lgamma(x - step), libm::lgamma(x), libm::lgamma(x + step));
            let (digamma, trigamma) = polygamma_of_half(k);
            assert!((digamma - (high - low) / (2.0 * step)).abs() < 1e-4, "ψ({x})");
            assert!(
                (trigamma - (high - 2.0 * middle + low) / (step * step)).abs() < 1e-3,
                "ψ'({x}) {trigamma}"
            );
        }
        // ln|x| of a normal has the variance π²/8.
        assert!((0.25 * polygamma_of_half(1).1 - PI * PI / 8.0).abs() < 1e-15);
    }

    #[test]
    fn arguments_out_of_range_give_none() {
        assert!(lyapunov_exponent(4, 0, 1.0).is_none() && lyapunov_exponent(4, 5, 1.0).is_none());
        assert!(lyapunov_exponent(0, 1, 1.0).is_none() && log_norm_of_product(4, 3, f64::NAN).is_none());
    }
}
