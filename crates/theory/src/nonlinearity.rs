//! The trait of the functions that a layer may apply: a value, a derivative and the kinks.

use crate::activation::Activation;
use crate::gaussian::{Shape, Tails};

/// A function that a layer applies, with its derivative: an [`Activation`], or a [`Custom`] one.
pub trait Nonlinearity {
    /// `φ(x)`.
    fn value(&self, x: f64) -> f64;

    /// `φ'(x)`.
    fn derivative(&self, x: f64) -> f64;

    /// The places where `φ` or a derivative of it jumps. Integrals are split at these.
    fn kinks(&self) -> &[f64];

    /// How `φ` behaves far from zero, which bounds the work of an integral over wide pre-activations.
    fn tails(&self) -> Tails {
        Tails::Unknown
    }

    /// What is equal for equal functions alone, so that their integrals are kept from call to call: a name and the
    /// bits of its parameter. `None`, the default, keeps none.
    ///
    /// ```
    /// use wick_theory::{Activation, Nonlinearity};
    ///
    /// let leaky = |slope| Activation::LeakyRelu { slope };
    /// assert_eq!(leaky(0.1).identity(), leaky(0.1).identity());
    /// assert_ne!(leaky(0.1).identity(), leaky(0.2).identity());
    /// ```
    fn identity(&self) -> Option<(&'static str, u64)> {
        None
    }
}

/// What the integrals of a function need to know of it.
pub(crate) fn shape<N: Nonlinearity + ?Sized>(phi: &N) -> Shape<'_> {
    Shape { kinks: phi.kinks(), tails: phi.tails(), centre: 0.0 }
}

impl Nonlinearity for Activation {
    fn value(&self, x: f64) -> f64 {
        Activation::value(*self, x)
    }

    fn derivative(&self, x: f64) -> f64 {
        Activation::derivative(*self, x)
    }

    fn kinks(&self) -> &[f64] {
        Activation::kinks(*self)
    }

    fn tails(&self) -> Tails {
        Activation::tails(*self)
    }

    fn identity(&self) -> Option<(&'static str, u64)> {
        Some((self.name(), self.coefficients().0.to_bits()))
    }
}

/// A function given by closures. Its [`tails`](Nonlinearity::tails) are unknown.
#[derive(Debug, Clone)]
pub struct Custom<F, D> {
    /// `φ`.
    pub value: F,
    /// `φ'`.
    pub derivative: D,
    /// The places where `φ` or a derivative of it jumps.
    pub kinks: Vec<f64>,
}

impl<F: Fn(f64) -> f64, D: Fn(f64) -> f64> Nonlinearity for Custom<F, D> {
    fn value(&self, x: f64) -> f64 {
        (self.value)(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        (self.derivative)(x)
    }

    fn kinks(&self) -> &[f64] {
        &self.kinks
    }
}

impl<N: Nonlinearity + ?Sized> Nonlinearity for &N {
    fn value(&self, x: f64) -> f64 {
        (**self).value(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        (**self).derivative(x)
    }

    fn kinks(&self) -> &[f64] {
        (**self).kinks()
    }

    fn tails(&self) -> Tails {
        (**self).tails()
    }
}
