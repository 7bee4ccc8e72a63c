//! The activations composed of candle's own ops.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::{Result, Tensor};
use wick_theory::{Activation, GELU_CUBIC, SELU_ALPHA, SELU_SCALE};

/// An activation composed of candle's ops, for devices without an op of this crate.
///
/// Kinks are masks, which are constants of the graph, so that the gradient at a kink is the enum's. No
/// intermediate result overflows, so that no `0·∞` makes a gradient NaN.
pub(crate) fn compose(activation: Activation, xs: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(xs.clone()),
        Activation::Sigmoid => sigmoid(xs),
        Activation::Tanh => xs.tanh(),
        Activation::Relu => above(xs, 0.0)? * xs,
        Activation::LeakyRelu { slope } => {
            let mask = above(xs, 0.0)?;
            xs * ((mask * (1.0 - slope))? + slope)?
        }
        Activation::Elu { alpha } => elu(xs, alpha),
        Activation::Selu => elu(xs, SELU_ALPHA)? * SELU_SCALE,
        Activation::Gelu => xs * (((xs * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?,
        Activation::GeluTanh => {
            let near = xs.clamp(-20f64, 20f64)?;
            let inner = ((&near + (near.powf(3.0)? * GELU_CUBIC)?)? * (8.0 / PI).sqrt())?;
            xs * sigmoid(&inner)?
        }
        Activation::Silu => xs * sigmoid(xs)?,
        Activation::Softplus => softplus(xs),
        Activation::Softsign => {
            // |x| as x·sign(x), with sign a constant of the graph.
            let sign = ((above(xs, 0.0)? * 2.0)? - 1.0)?;
            xs / ((xs * sign)? + 1.0)?
        }
        Activation::Hardtanh => {
            let (right, inside) = (at_least(xs, 1.0)?, between(xs, 1.0)?);
            let left = at_least(&xs.neg()?, 1.0)?;
            (xs * inside)? + (right - left)?
        }
        Activation::Hardswish => {
            let (right, inside) = (at_least(xs, 3.0)?, between(xs, 3.0)?);
            (((xs.clamp(-3f64, 3f64)? + 3.0)? * xs)? / 6.0)?.mul(&inside)? + (xs * right)?
        }
        Activation::Mish => xs * softplus(xs)?.tanh()?,
        Activation::Sin => xs.sin(),
        Activation::Erf => xs.erf(),
    }
}

/// `(1 + tanh(x/2))/2`, a form of the sigmoid in which nothing overflows.
fn sigmoid(xs: &Tensor) -> Result<Tensor> {
    ((xs * 0.5)?.tanh()? + 1.0)? * 0.5
}

/// 1 where `x > edge`, else 0.
fn above(xs: &Tensor, edge: f64) -> Result<Tensor> {
    xs.detach().gt(edge)?.to_dtype(xs.dtype())
}

/// 1 where `x ≥ edge`, else 0.
fn at_least(xs: &Tensor, edge: f64) -> Result<Tensor> {
    xs.detach().ge(edge)?.to_dtype(xs.dtype())
}

/// 1 where `-edge < x < edge`, else 0.
fn between(xs: &Tensor, edge: f64) -> Result<Tensor> {
    xs.detach().abs()?.lt(edge)?.to_dtype(xs.dtype())
}

/// `x⁺ + α(e^{x⁻} - 1)`: the exponent is never positive.
fn elu(xs: &Tensor, alpha: f64) -> Result<Tensor> {
    let right = above(xs, 0.0)?;
    let left = (1.0 - &right)?;
    (xs * right)? + (((xs * left)?.exp()? - 1.0)? * alpha)?
}

/// `x⁺ + ln(1 + e^{-|x|})`.
fn softplus(xs: &Tensor) -> Result<Tensor> {
    let right = above(xs, 0.0)?;
    let sign = ((&right * 2.0)? - 1.0)?;
    (xs * &right)? + ((xs * sign)?.neg()?.exp()? + 1.0)?.log()?
}
