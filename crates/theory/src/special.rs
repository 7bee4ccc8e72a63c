//! Special functions: those that activations, initializers and diagnoses have in common.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The logistic function `1/(1 + e^{-x})`.
///
/// ```
/// assert_eq!(wick_theory::special::sigmoid(0.0), 0.5);
/// ```
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The squared hyperbolic secant, which is the derivative of tanh. It has no cancellation, unlike `1 - tanh²`.
///
/// ```
/// assert_eq!(wick_theory::special::sech2(0.0), 1.0);
/// ```
pub fn sech2(x: f64) -> f64 {
    let cosh = x.cosh();
    1.0 / (cosh * cosh)
}

/// `ln(1 + e^x)`, without overflow on the right or cancellation on the left.
///
/// ```
/// assert_eq!(wick_theory::special::softplus(1e4), 1e4);
/// ```
pub fn softplus(x: f64) -> f64 {
    // `f64::max` drops a NaN; adding `ln_1p` of the NaN restores it.
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The density of the standard normal distribution, `e^{-x²/2}/√(2π)`.
///
/// ```
/// assert!((wick_theory::special::normal_pdf(0.0) - 0.398_942_280_401_432_7).abs() < 1e-16);
/// ```
pub fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// The distribution function `Φ` of the standard normal distribution, with full relative accuracy in the left tail.
///
/// ```
/// use wick_theory::special::normal_cdf;
///
/// assert_eq!(normal_cdf(0.0), 0.5);
/// assert!((normal_cdf(-10.0) / 7.619_853_024_160_527e-24 - 1.0).abs() < 1e-12);
/// ```
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}
