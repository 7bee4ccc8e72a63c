//! The one enum of activations, and all that is particular to each: a variant here is one arm in each of
//! [`Activation::properties`], [`Activation::value`] and [`Activation::derivative`].

use std::f64::consts::FRAC_2_SQRT_PI;

use super::scalar;
use crate::gaussian::Tails;
use crate::special::{sech2, sigmoid, softplus};

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
/// An activation is read from its name, with its parameter after a colon where it has one:
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

/// What is known of an activation beside its value and its derivative.
struct Properties {
    name: &'static str,
    coefficients: (f64, f64),
    kinks: &'static [f64],
    range: Option<(f64, f64)>,
    tails: Tails,
    parameter: Option<Parameter>,
}

/// The number that comes after the colon of a name.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) default: f64,
    /// A value to show in an error message.
    pub(super) example: f64,
    /// The same activation with another value.
    pub(super) with: fn(f64) -> Activation,
}

/// Most activations: smooth, linear or constant far out, without a finite range, without a parameter.
const PLAIN: Properties = Properties {
    name: "",
    coefficients: (0.0, 1.0),
    kinks: &[],
    range: None,
    tails: Tails::Settled,
    parameter: None,
};

impl Activation {
    /// Every activation, with its parameter at its default.
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

    /// What is particular to each activation beside its value and derivative.
    fn properties(self) -> Properties {
        match self {
            Identity => Properties { name: "identity", ..PLAIN },
            Sigmoid => Properties { name: "sigmoid", range: Some((0.0, 1.0)), ..PLAIN },
            Tanh => Properties { name: "tanh", range: Some((-1.0, 1.0)), ..PLAIN },
            Relu => Properties { name: "relu", kinks: &[0.0], ..PLAIN },
            LeakyRelu { slope } => Properties {
                name: "leaky_relu",

                coefficients: (slope, 1.0),
                kinks: &[0.0],
                parameter: Some(Parameter {
                    name: "slope",
                    value: slope,
                    default: 0.01,
                    example: 0.2,
                    with: |slope| LeakyRelu { slope },
                }),
                ..PLAIN
            },
            Elu { alpha } => Properties {
                name: "elu",

                coefficients: (alpha, 1.0),
                kinks: &[0.0],
                parameter: Some(Parameter {
                    name: "alpha",
                    value: alpha,
                    default: 1.0,
                    example: 0.5,
                    with: |alpha| Elu { alpha },
                }),
                ..PLAIN
            },
            Selu => Properties {
                name: "selu",

                coefficients: (scalar::SELU_ALPHA, scalar::SELU_SCALE),
                kinks: &[0.0],
                ..PLAIN
            },
            Gelu => Properties { name: "gelu", ..PLAIN },
            GeluTanh => Properties { name: "gelu_tanh", ..PLAIN },
            Silu => Properties { name: "silu", ..PLAIN },
            Softplus => Properties { name: "softplus", ..PLAIN },
            Softsign => Properties { name: "softsign", kinks: &[0.0], range: Some((-1.0, 1.0)), ..PLAIN },
            Hardtanh => {
                Properties { name: "hardtanh", kinks: &[-1.0, 1.0], range: Some((-1.0, 1.0)), ..PLAIN }
            }
            Hardswish => Properties { name: "hardswish", kinks: &[-3.0, 3.0], ..PLAIN },
            Mish => Properties { name: "mish", ..PLAIN },
            Sin => Properties { name: "sin", tails: Tails::Periodic, range: Some((-1.0, 1.0)), ..PLAIN },
            Erf => Properties { name: "erf", range: Some((-1.0, 1.0)), ..PLAIN },
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
            Relu => {
                if x <= 0.0 {
                    0.0
                } else {
                    x
                }
            }
            LeakyRelu { slope } => scalar::leaky_relu(x, slope),
            Elu { alpha } => scalar::elu(x, alpha),
            Selu => scalar::SELU_SCALE * scalar::elu(x, scalar::SELU_ALPHA),
            Gelu => scalar::gelu(x),
            GeluTanh => scalar::gelu_tanh(x),
            Silu => scalar::silu(x),
            Softplus => softplus(x),
            Softsign => scalar::softsign(x),
            Hardtanh => x.clamp(-1.0, 1.0),
            Hardswish => scalar::hardswish(x),
            Mish => scalar::mish(x),
            Sin => x.sin(),
            Erf => libm::erf(x),
        }
    }

    /// `φ'(x)`. At a kink this is the one-sided derivative that PyTorch takes: 0 for `relu` at 0, the slope
    /// for `leaky_relu`, 0 for `hardtanh` at ±1.
    ///
    /// ```
    /// use wick_theory::Activation;
    ///
    /// assert_eq!(Activation::Tanh.derivative(0.0), 1.0);
    /// assert_eq!(Activation::Relu.derivative(0.0), 0.0);
    /// ```
    pub fn derivative(self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        match self {
            Identity => 1.0,
            Sigmoid => sigmoid(x) * sigmoid(-x),
            Tanh => sech2(x),
            Relu => f64::from(x > 0.0),
            LeakyRelu { slope } => scalar::leaky_relu_derivative(x, slope),
            Elu { alpha } => scalar::elu_derivative(x, alpha),
            Selu => scalar::SELU_SCALE * scalar::elu_derivative(x, scalar::SELU_ALPHA),
            Gelu => scalar::gelu_derivative(x),
            GeluTanh => scalar::gelu_tanh_derivative(x),
            Silu => scalar::silu_derivative(x),
            Softplus => sigmoid(x),
            Softsign => (1.0 + x.abs()).powi(-2),
            Hardtanh => f64::from(-1.0 < x && x < 1.0),
            Hardswish => scalar::hardswish_derivative(x),
            Mish => scalar::mish_derivative(x),
            Sin => x.cos(),
            Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
        }
    }

    /// The name, without a parameter.
    pub fn name(self) -> &'static str {
        self.properties().name
    }

    /// The parameter, of an activation that has one.
    pub(super) fn parameter(self) -> Option<Parameter> {
        self.properties().parameter
    }

    /// The constants of the formula that differ between activations of one form, as kernels take them: the
    /// slope of a leaky ReLU or the `α` of an ELU (0 for the others), and the factor of the whole (1 for all
    /// but SELU).
    ///
    /// ```
    /// use wick_theory::{Activation, SELU_ALPHA, SELU_SCALE};
    ///
    /// assert_eq!(Activation::Selu.coefficients(), (SELU_ALPHA, SELU_SCALE));
    /// assert_eq!(Activation::LeakyRelu { slope: 0.2 }.coefficients(), (0.2, 1.0));
    /// ```
    pub fn coefficients(self) -> (f64, f64) {
        self.properties().coefficients
    }

    /// Where `φ'` or `φ''` jumps, in rising order. Quadrature and central differences must not step over
    /// these.
    pub fn kinks(self) -> &'static [f64] {
        self.properties().kinks
    }

    /// How `φ` behaves far from zero.
    pub fn tails(self) -> Tails {
        self.properties().tails
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
        self.properties().range
    }
}
