//! Each activation as a loop body: its value and its derivative, without branches.
//!
//! A new activation is a struct with a `Function`, and an arm of [`visit`].

use wick_theory::{Activation, GELU_CUBIC, SELU_ALPHA, SELU_SCALE};

use crate::activation::function::{Function, OfOutput};
use crate::activation::math::{
    SIN_LIMIT, cos, erf, exp, exp_for_f32, exp_m1, normal_cdf_and_slope, normal_cdf_for_f32, sech2,
    sigmoid_for_f32, sin, softplus, tanh_f32,
};

#[derive(Clone, Copy)]
pub(crate) struct Identity;
#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;
#[derive(Clone, Copy)]
pub(crate) struct Tanh;
#[derive(Clone, Copy)]
pub(crate) struct Relu;
#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu(f64);
/// `scale·elu(x)` with the parameter `α`.
#[derive(Clone, Copy)]
pub(crate) struct Elu {
    scale: f64,
    alpha: f64,
}
#[derive(Clone, Copy)]
pub(crate) struct Gelu;
#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;
#[derive(Clone, Copy)]
pub(crate) struct Silu;
#[derive(Clone, Copy)]
pub(crate) struct Softplus;
#[derive(Clone, Copy)]
pub(crate) struct Softsign;
#[derive(Clone, Copy)]
pub(crate) struct Hardtanh;
#[derive(Clone, Copy)]
pub(crate) struct Hardswish;
#[derive(Clone, Copy)]
pub(crate) struct Mish;
#[derive(Clone, Copy)]
pub(crate) struct Sin;
#[derive(Clone, Copy)]
pub(crate) struct Erf;

/// A visitor that is called with the function of an activation, whose type it then knows.
pub(crate) trait Visit {
    /// The result of the visit.
    type Output;

    /// Visits the function.
    fn visit<F: Function>(self, function: F) -> Self::Output;
}

/// Calls the visitor with the function of the activation.
pub(crate) fn visit<V: Visit>(activation: Activation, visitor: V) -> V::Output {
    match activation {
        Activation::Identity => visitor.visit(Identity),
        Activation::Sigmoid => visitor.visit(Sigmoid),
        Activation::Tanh => visitor.visit(Tanh),
        Activation::Relu => visitor.visit(Relu),
        Activation::LeakyRelu { slope } => visitor.visit(LeakyRelu(slope)),
        Activation::Elu { alpha } => visitor.visit(Elu { scale: 1.0, alpha }),
        Activation::Selu => visitor.visit(Elu { scale: SELU_SCALE, alpha: SELU_ALPHA }),
        Activation::Gelu => visitor.visit(Gelu),
        Activation::GeluTanh => visitor.visit(GeluTanh),
        Activation::Silu => visitor.visit(Silu),
        Activation::Softplus => visitor.visit(Softplus),
        Activation::Softsign => visitor.visit(Softsign),
        Activation::Hardtanh => visitor.visit(Hardtanh),
        Activation::Hardswish => visitor.visit(Hardswish),
        Activation::Mish => visitor.visit(Mish),
        Activation::Sin => visitor.visit(Sin),
        Activation::Erf => visitor.visit(Erf),
    }
}

/// `x`, but at least -760, where `x·Φ(x)`, `x·σ(x)` and the like are already zero, so that no `-∞·0` makes a
/// NaN.
#[inline(always)]
fn left_end(x: f64) -> f64 {
    if x < -760.0 { -760.0 } else { x }
}

/// NaN if `x` is, else `y`.
#[inline(always)]
fn or_nan(x: f64, y: f64) -> f64 {
    if x.is_nan() { x } else { y }
}

impl Function for Identity {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        x
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        or_nan(x, 1.0)
    }

    const OF_OUTPUT: OfOutput = OfOutput::Exactly;
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        sigmoid_for_f32(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let e = exp_for_f32(-x.abs());
        e / ((1.0 + e) * (1.0 + e))
    }

    const OF_OUTPUT: OfOutput = OfOutput::InF32;

    #[inline(always)]
    fn gradient_of_output_f32(self, h: f32, g: f32) -> f32 {
        h * (1.0 - h) * g
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        let t = exp_m1(2.0 * if x.abs() > 40.0 { 40.0 } else { x.abs() });
        (t / (t + 2.0)).copysign(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        sech2(x)
    }

    #[inline(always)]
    fn value_f32(self, x: f32) -> f32 {
        tanh_f32(x)
    }

    const OF_OUTPUT: OfOutput = OfOutput::InF32;

    #[inline(always)]
    fn gradient_of_output_f32(self, h: f32, g: f32) -> f32 {
        (-h).mul_add(h, 1.0) * g
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        if x <= 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        or_nan(x, if x > 0.0 { 1.0 } else { 0.0 })
    }

    #[inline(always)]
    fn value_f32(self, x: f32) -> f32 {
        if x <= 0.0 { 0.0 } else { x }
    }

    const OF_OUTPUT: OfOutput = OfOutput::Exactly;

    #[inline(always)]
    fn gradient_of_output_f32(self, h: f32, g: f32) -> f32 {
        if h > 0.0 { g } else { h * g }
    }
}

impl Function for LeakyRelu {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        if x <= 0.0 { self.0 * x } else { x }
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        or_nan(x, if x > 0.0 { 1.0 } else { self.0 })
    }
}

impl Function for Elu {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        self.scale * if x <= 0.0 { self.alpha * exp_m1(x) } else { x }
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        or_nan(x, self.scale * if x <= 0.0 { self.alpha * exp(x) } else { 1.0 })
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        left_end(x) * normal_cdf_for_f32(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let x = left_end(x);
        let (area, slope) = normal_cdf_and_slope(if x > 760.0 { 760.0 } else { x });
        area + slope
    }
}

/// `2√(2/π)`.
const SLOPE: f64 = 1.595_769_121_605_730_7;

impl Function for GeluTanh {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        // Beyond ±40 the sigmoid is 0 or 1, and the cube would overflow.
        let near = x.clamp(-40.0, 40.0);
        left_end(x) * sigmoid_for_f32(SLOPE * (GELU_CUBIC * near * near).mul_add(near, near))
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let x = x.clamp(-40.0, 40.0);
        let twice = SLOPE * (GELU_CUBIC * x * x).mul_add(x, x);
        let slope = SLOPE * (3.0 * GELU_CUBIC * x).mul_add(x, 1.0);
        let e = exp(-twice.abs());
        let one = 1.0 + e;
        let top = if x < 0.0 { e } else { 1.0 };
        (x * slope).mul_add(e / (one * one), top / one)
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        left_end(x) * sigmoid_for_f32(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let x = x.clamp(-760.0, 760.0);
        let e = exp(-x.abs());
        let one = 1.0 + e;
        let top = if x < 0.0 { e } else { 1.0 };
        x.mul_add(e / (one * one), top / one)
    }
}

impl Function for Softplus {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        softplus(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        sigmoid_for_f32(x)
    }
}

impl Function for Softsign {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        // At ±10³⁰ the quotient rounds to ±1; at ±∞ it would be ∞/∞.
        let x = x.clamp(-1e30, 1e30);
        x / (1.0 + x.abs())
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let one = 1.0 + x.abs();
        1.0 / (one * one)
    }
}

impl Function for Hardtanh {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        x.clamp(-1.0, 1.0)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        or_nan(x, if x.abs() < 1.0 { 1.0 } else { 0.0 })
    }
}

impl Function for Hardswish {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        let inside = x * (x + 3.0) / 6.0;
        let left = if x <= -3.0 { 0.0 } else { inside };
        if x >= 3.0 { x } else { left }
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let inside = (2.0 * x + 3.0) / 6.0;
        let left = if x <= -3.0 { 0.0 } else { inside };
        if x >= 3.0 { 1.0 } else { left }
    }
}

impl Function for Mish {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        // tanh(ln(1 + e)) = (e² + 2e)/(e² + 2e + 2), which is 1 where e would overflow.
        let e = exp(if x > 40.0 { 40.0 } else { x });
        let n = e.mul_add(e, 2.0 * e);
        left_end(x) * (n / (n + 2.0))
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        let x = x.clamp(-760.0, 40.0);
        let e = exp(x);
        let n = e.mul_add(e, 2.0 * e);
        let d = n + 2.0;
        (4.0 * x).mul_add(e * (1.0 + e) / (d * d), n / d)
    }
}

impl Function for Sin {
    const LIMIT: f64 = SIN_LIMIT;

    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        sin(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        cos(x)
    }
}

impl Function for Erf {
    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        erf(x)
    }

    #[inline(always)]
    fn derivative(self, x: f64) -> f64 {
        std::f64::consts::FRAC_2_SQRT_PI * exp(-x * x)
    }
}
