//! The activations: value, derivative, gain, and where they are flat.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::gaussian;
use crate::special::{normal_cdf, normal_pdf, sech2, sigmoid, softplus};

/// SELU's scale `λ` (Klambauer et al. 2017, arXiv 1706.02515, equation 14).
pub const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// SELU's `α` (Klambauer et al. 2017, equation 14).
pub const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// The cubic coefficient of GELU's tanh approximation (Hendrycks and Gimpel 2016, arXiv 1606.08415).
pub const GELU_CUBIC: f64 = 0.044_715;
/// `√(2/π)`, the slope inside GELU's tanh approximation.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// Left of this, `x·Φ(x)`, `x·σ(x)` and their kin are zero in `f64`; the product would make NaN of -∞.
const PRODUCT_UNDERFLOW: f64 = -760.0;

/// An activation `φ`, applied element by element to a pre-activation.
///
/// | name | `φ(x)` |
/// |---|---|
/// | `identity` | `x` |
/// | `sigmoid` | `1/(1 + e^{-x})` |
/// | `tanh` | `tanh x` |
/// | `relu` | `max(x, 0)` |
/// | `leaky_relu` | `x` for `x > 0`, else `slope·x`; the slope is 0.01 unless given |
/// | `elu` | `x` for `x > 0`, else `α(e^x - 1)`; α is 1 unless given |
/// | `selu` | `λ·elu(x)` with the constants of Klambauer et al. 2017 |
/// | `gelu` | `x Φ(x)` |
/// | `gelu_tanh` | `x/2·(1 + tanh(√(2/π)(x + 0.044715 x³)))` |
/// | `silu` | `x·sigmoid(x)` |
/// | `softplus` | `ln(1 + e^x)` |
/// | `softsign` | `x/(1 + |x|)` |
/// | `hardtanh` | `x` cut at ±1 |
/// | `hardswish` | `x·min(max(x + 3, 0), 6)/6` |
/// | `mish` | `x·tanh(softplus(x))` |
/// | `sin` | `sin x` |
/// | `erf` | `2/√π ∫₀ˣ e^{-t²} dt` |
///
/// Read from a name, with a parameter behind a colon where there is one:
///
/// ```
/// use wick_theory::Activation;
///
/// assert_eq!("tanh".parse(), Ok(Activation::Tanh));
/// assert_eq!("leaky_relu:0.2".parse(), Ok(Activation::LeakyRelu { slope: 0.2 }));
/// assert_eq!(Activation::LeakyRelu { slope: 0.2 }.to_string(), "leaky_relu:0.2");
/// assert!("swoosh".parse::<Activation>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // The table above has a row for each.
pub enum Activation {
    Identity,
    Sigmoid,
    Tanh,
    Relu,
    LeakyRelu { slope: f64 },
    Elu { alpha: f64 },
    Selu,
    Gelu,
    GeluTanh,
    Silu,
    Softplus,
    Softsign,
    Hardtanh,
    Hardswish,
    Mish,
    Sin,
    Erf,
}

use Activation::*;

impl Activation {
    /// Every activation, with its parameter at its usual value.
    pub const ALL: [Self; 17] = [
        Identity,
        Sigmoid,
        Tanh,
        Relu,
        LeakyRelu { slope: 0.01 },
        Elu { alpha: 1.0 },
        Selu,
        Gelu,
        GeluTanh,
        Silu,
        Softplus,
        Softsign,
        Hardtanh,
        Hardswish,
        Mish,
        Sin,
        Erf,
    ];

    /// The name, without a parameter.
    pub fn name(self) -> &'static str {
        match self {
            Identity => "identity",
            Sigmoid => "sigmoid",
            Tanh => "tanh",
            Relu => "relu",
            LeakyRelu { .. } => "leaky_relu",
            Elu { .. } => "elu",
            Selu => "selu",
            Gelu => "gelu",
            GeluTanh => "gelu_tanh",
            Silu => "silu",
            Softplus => "softplus",
            Softsign => "softsign",
            Hardtanh => "hardtanh",
            Hardswish => "hardswish",
            Mish => "mish",
            Sin => "sin",
            Erf => "erf",
        }
    }

    /// `φ(x)`. NaN gives NaN; ±∞ gives the limit (NaN for `sin`).
    ///
    /// ```
    /// use wick_theory::Activation;
    ///
    /// assert_eq!(Activation::Sigmoid.value(0.0), 0.5);
    /// assert_eq!(Activation::Silu.value(f64::NEG_INFINITY), 0.0);
    /// ```
    pub fn value(self, x: f64) -> f64 {
        match self {
            Identity => x,
            Sigmoid => sigmoid(x),
            Tanh => x.tanh(),
            Relu if x <= 0.0 => 0.0,
            Relu => x,
            LeakyRelu { slope } if x <= 0.0 => slope * x,
            LeakyRelu { .. } => x,
            Elu { alpha } => elu(x, alpha),
            Selu => SELU_SCALE * elu(x, SELU_ALPHA),
            Gelu | GeluTanh | Silu | Mish if x < PRODUCT_UNDERFLOW => 0.0,
            Gelu => x * normal_cdf(x),
            GeluTanh => x * sigmoid(2.0 * gelu_tanh_inner(x)),
            Silu => x * sigmoid(x),
            Softplus => softplus(x),
            Softsign if x.is_infinite() => x.signum(),
            Softsign => x / (1.0 + x.abs()),
            Hardtanh => x.clamp(-1.0, 1.0),
            Hardswish if x <= -3.0 => 0.0,
            Hardswish if x >= 3.0 => x,
            Hardswish => x * (x + 3.0) / 6.0,
            Mish => x * softplus(x).tanh(),
            Sin => x.sin(),
            Erf => libm::erf(x),
        }
    }

    /// `φ'(x)`. At a kink, the one-sided derivative that PyTorch takes: 0 for `relu` at 0, the
    /// slope for `leaky_relu`, 0 for `hardtanh` at ±1.
    ///
    /// ```
    /// use wick_theory::Activation;
    ///
    /// assert_eq!(Activation::Tanh.derivative(0.0), 1.0);
    /// assert_eq!(Activation::Relu.derivative(0.0), 0.0);
    /// ```
    pub fn derivative(self, x: f64) -> f64 {
        match self {
            _ if x.is_nan() => x,
            Identity => 1.0,
            Sigmoid => sigmoid(x) * sigmoid(-x),
            Tanh => sech2(x),
            Relu => f64::from(x > 0.0),
            LeakyRelu { slope } => {
                if x > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Elu { alpha } => elu_derivative(x, alpha),
            Selu => SELU_SCALE * elu_derivative(x, SELU_ALPHA),
            Gelu | GeluTanh | Silu | Mish if x < PRODUCT_UNDERFLOW => 0.0,
            Gelu | GeluTanh | Silu | Mish if x > -PRODUCT_UNDERFLOW => 1.0,
            Gelu => normal_cdf(x) + x * normal_pdf(x),
            GeluTanh => {
                let u = gelu_tanh_inner(x);
                let inner_derivative = SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x);
                sigmoid(2.0 * u) + 0.5 * x * sech2(u) * inner_derivative
            }
            Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
            Softplus => sigmoid(x),
            Softsign => (1.0 + x.abs()).powi(-2),
            Hardtanh => f64::from(-1.0 < x && x < 1.0),
            Hardswish if x <= -3.0 => 0.0,
            Hardswish if x >= 3.0 => 1.0,
            Hardswish => (2.0 * x + 3.0) / 6.0,
            Mish => {
                let s = softplus(x);
                s.tanh() + x * sech2(s) * sigmoid(x)
            }
            Sin => x.cos(),
            Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
        }
    }

    /// Where `φ'` or `φ''` jumps, in rising order. Quadrature and central differences must not step over these.
    pub fn kinks(self) -> &'static [f64] {
        match self {
            Relu | LeakyRelu { .. } | Elu { .. } | Selu | Softsign => &[0.0],
            Hardtanh => &[-1.0, 1.0],
            Hardswish => &[-3.0, 3.0],
            Identity | Sigmoid | Tanh | Gelu | GeluTanh | Silu | Softplus | Mish | Sin | Erf => &[],
        }
    }

    /// The gain that keeps a pre-activation's variance at 1: `1/√E[φ(z)²]`, `z ~ N(0, 1)`, so that
    /// `Var W = gain²/fan_in` makes the next layer's pre-activation as wide as this one's.
    ///
    /// This is computed, and differs from the table that PyTorch keeps (5/3 for tanh, 1 for sigmoid,
    /// 3/4 for SELU).
    ///
    /// ```
    /// use wick_theory::Activation;
    ///
    /// assert!((Activation::Tanh.gain() - 1.592_537).abs() < 1e-6);
    /// ```
    pub fn gain(self) -> f64 {
        let second_moment = gaussian::expectation(|z| self.value(z).powi(2), 1.0, self.kinks());
        second_moment.sqrt().recip()
    }

    /// The closed interval that `φ` fills, where both ends are finite; else `None`.
    ///
    /// ```
    /// use wick_theory::Activation;
    ///
    /// assert_eq!(Activation::Sigmoid.range(), Some((0.0, 1.0)));
    /// assert_eq!(Activation::Relu.range(), None);
    /// ```
    pub fn range(self) -> Option<(f64, f64)> {
        match self {
            Sigmoid => Some((0.0, 1.0)),
            Tanh | Softsign | Hardtanh | Sin | Erf => Some((-1.0, 1.0)),
            _ => None,
        }
    }

    /// The flat tails `(low, high)`: a pre-activation at or below `low`, or at or above `high`, is
    /// *saturated*, which means that from there outwards `|φ'|` stays under a tenth of its maximum.
    /// `-∞` and `∞` say that there is no such tail.
    ///
    /// ```
    /// use wick_theory::Activation;
    ///
    /// let (low, high) = Activation::Tanh.saturation_thresholds();
    /// assert!((high - 1.818_446).abs() < 1e-6 && low == -high); // sech²(1.818446) = 0.1
    /// assert_eq!(Activation::Relu.saturation_thresholds(), (0.0, f64::INFINITY));
    /// assert_eq!(Activation::Sin.saturation_thresholds(), (f64::NEG_INFINITY, f64::INFINITY));
    /// ```
    pub fn saturation_thresholds(self) -> (f64, f64) {
        if matches!(self, Identity | Sin) {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        (-self.flat_from(-1.0), self.flat_from(1.0))
    }

    /// The distance from zero at which the tail on the side `sign` begins, or ∞.
    fn flat_from(self, sign: f64) -> f64 {
        const FAR: f64 = 40.0;
        const STEP: f64 = 1.0 / 16.0;
        let steps = (2.0 * FAR / STEP) as i32;
        let steepest =
            (0..=steps).map(|i| self.derivative(-FAR + f64::from(i) * STEP).abs()).fold(0.0, f64::max);
        let flat = |distance: f64| self.derivative(sign * distance).abs() < 0.1 * steepest;

        // From far out inwards to the first place that is not flat, then halve that step. A kink lies on
        // a multiple of the step, and the halving lands on it exactly.
        let Some(inside) = (0..steps).map(|i| FAR - f64::from(i) * STEP).find(|&d| !flat(d)) else {
            return f64::INFINITY;
        };
        if inside == FAR {
            return f64::INFINITY;
        }
        let (mut inside, mut outside) = (inside, inside + STEP);
        if self.kinks().contains(&(sign * outside)) {
            return outside;
        }
        for _ in 0..80 {
            let middle = 0.5 * (inside + outside);
            if flat(middle) { outside = middle } else { inside = middle }
        }
        outside
    }
}

fn elu(x: f64, alpha: f64) -> f64 {
    if x <= 0.0 { alpha * x.exp_m1() } else { x }
}

fn elu_derivative(x: f64, alpha: f64) -> f64 {
    if x <= 0.0 { alpha * x.exp() } else { 1.0 }
}

fn gelu_tanh_inner(x: f64) -> f64 {
    debug_assert!((SQRT_2_OVER_PI - (2.0 / PI).sqrt()).abs() < 1e-16);
    SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            LeakyRelu { slope } if *slope != 0.01 => write!(f, ":{slope}"),
            Elu { alpha } if *alpha != 1.0 => write!(f, ":{alpha}"),
            _ => Ok(()),
        }
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was read is no activation: its name is not known, or its parameter is missing or no finite number, or it takes none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", why(.0))]
pub struct UnknownActivation(pub String);

/// What is wrong with a text that is no activation.
fn why(text: &str) -> String {
    let name = text.split_once(':').map(|(name, _)| name);
    let known = Activation::ALL.into_iter().find(|activation| Some(activation.name()) == name);
    let form = |parameter: &str, example: &str| {
        format!("'{text}': the {parameter} is no finite number; write {example}")
    };
    match known {
        Some(LeakyRelu { .. }) => form("slope", "leaky_relu:SLOPE, as leaky_relu:0.2"),
        Some(Elu { .. }) => form("alpha", "elu:ALPHA, as elu:0.5"),
        Some(activation) => format!("'{text}': {activation} takes no parameter"),
        None => {
            let known = Activation::ALL.map(Activation::name).join(", ");
            format!("unknown activation '{text}'; known: {known}")
        }
    }
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownActivation(text.to_owned());
        let (name, parameter) = match text.split_once(':') {
            Some((name, number)) => {
                let number: f64 = number.parse().map_err(|_| unknown())?;
                (name, Some(number).filter(|n| n.is_finite()).ok_or_else(unknown)?.into())
            }
            None => (text, None),
        };
        let activation = Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(unknown)?;
        match (activation, parameter) {
            (_, None) => Ok(activation),
            (LeakyRelu { .. }, Some(slope)) => Ok(LeakyRelu { slope }),
            (Elu { .. }, Some(alpha)) => Ok(Elu { alpha }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
#[path = "activation_tests.rs"]
mod tests;
