//! Scalar functions that more than one activation is made of.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The logistic function `1/(1 + e^{-x})`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The hyperbolic secant squared, the derivative of tanh, without the cancellation of `1 - tanh²`.
pub(crate) fn sech2(x: f64) -> f64 {
    let cosh = x.cosh();
    1.0 / (cosh * cosh)
}

/// `ln(1 + e^x)` without overflow on the right or cancellation on the left.
pub(crate) fn softplus(x: f64) -> f64 {
    // `f64::max` would swallow a NaN; the sum with `ln_1p` of NaN brings it back.
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The standard normal density.
pub(crate) fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// The standard normal distribution function, with full relative accuracy in the left tail.
pub(crate) fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}
