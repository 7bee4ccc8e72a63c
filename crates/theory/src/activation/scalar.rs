//! The formulas that take more than one expression: values and derivatives in `f64`, with their limits at ±∞.

use std::f64::consts::PI;

use crate::special::{normal_cdf, normal_pdf, sech2, sigmoid, softplus};

/// SELU's scale `λ` (Klambauer et al. 2017, arXiv 1706.02515, equation 14).
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// SELU's `α` (Klambauer et al. 2017, equation 14).
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The cubic coefficient of GELU's tanh approximation (Hendrycks and Gimpel 2016, arXiv 1606.08415).
pub const GELU_CUBIC: f64 = 0.044_715;
/// `√(2/π)`, the slope inside GELU's tanh approximation.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// Left of this, `x·Φ(x)`, `x·σ(x)` and similar products are zero in `f64`. At -∞ the product itself would be
/// NaN.
const PRODUCT_UNDERFLOW: f64 = -760.0;

/// `x · gate(x)` for a gate that rises from 0 to 1.
fn gated(x: f64, gate: impl Fn(f64) -> f64) -> f64 {
    if x < PRODUCT_UNDERFLOW { 0.0 } else { x * gate(x) }
}

/// The derivative of a gated product: `inside(x)`, with its limits 0 and 1 far out.
fn gated_derivative(x: f64, inside: impl Fn(f64) -> f64) -> f64 {
    if x < PRODUCT_UNDERFLOW {
        0.0
    } else if x > -PRODUCT_UNDERFLOW {
        1.0
    } else {
        inside(x)
    }
}

pub(super) fn gelu(x: f64) -> f64 {
    gated(x, normal_cdf)
}

pub(super) fn gelu_derivative(x: f64) -> f64 {
    gated_derivative(x, |x| normal_cdf(x) + x * normal_pdf(x))
}

pub(super) fn gelu_tanh(x: f64) -> f64 {
    gated(x, |x| sigmoid(2.0 * gelu_tanh_inner(x)))
}

pub(super) fn gelu_tanh_derivative(x: f64) -> f64 {
    gated_derivative(x, |x| {
        let u = gelu_tanh_inner(x);
        let inner_derivative = SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x);
        sigmoid(2.0 * u) + 0.5 * x * sech2(u) * inner_derivative
    })
}

fn gelu_tanh_inner(x: f64) -> f64 {
    debug_assert!((SQRT_2_OVER_PI - (2.0 / PI).sqrt()).abs() < 1e-16);
    SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)
}

pub(super) fn silu(x: f64) -> f64 {
    gated(x, sigmoid)
}

pub(super) fn silu_derivative(x: f64) -> f64 {
    gated_derivative(x, |x| sigmoid(x) * (1.0 + x * sigmoid(-x)))
}

pub(super) fn mish(x: f64) -> f64 {
    gated(x, |x| softplus(x).tanh())
}

pub(super) fn mish_derivative(x: f64) -> f64 {
    gated_derivative(x, |x| {
        let s = softplus(x);
        s.tanh() + x * sech2(s) * sigmoid(x)
    })
}

pub(super) fn leaky_relu(x: f64, slope: f64) -> f64 {
    if x <= 0.0 { slope * x } else { x }
}

pub(super) fn leaky_relu_derivative(x: f64, slope: f64) -> f64 {
    if x > 0.0 { 1.0 } else { slope }
}

pub(super) fn elu(x: f64, alpha: f64) -> f64 {
    if x <= 0.0 { alpha * x.exp_m1() } else { x }
}

pub(super) fn elu_derivative(x: f64, alpha: f64) -> f64 {
    if x <= 0.0 { alpha * x.exp() } else { 1.0 }
}

pub(super) fn softsign(x: f64) -> f64 {
    if x.is_infinite() { x.signum() } else { x / (1.0 + x.abs()) }
}

pub(super) fn hardswish(x: f64) -> f64 {
    if x <= -3.0 {
        0.0
    } else if x >= 3.0 {
        x
    } else {
        x * (x + 3.0) / 6.0
    }
}

pub(super) fn hardswish_derivative(x: f64) -> f64 {
    if x <= -3.0 {
        0.0
    } else if x >= 3.0 {
        1.0
    } else {
        (2.0 * x + 3.0) / 6.0
    }
}
