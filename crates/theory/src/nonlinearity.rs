//! What a layer applies, as the theory sees it: a function with its derivative and its kinks.

use crate::activation::Activation;

/// A function that a layer applies, with its derivative: an [`Activation`], or a [`Custom`] one.
pub trait Nonlinearity {
    /// `φ(x)`.
    fn value(&self, x: f64) -> f64;

    /// `φ'(x)`.
    fn derivative(&self, x: f64) -> f64;

    /// Where `φ` or a derivative of it jumps: integrals are split there.
    fn kinks(&self) -> &[f64];
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
}

/// A function given by closures.
#[derive(Debug, Clone)]
pub struct Custom<F, D> {
    /// `φ`.
    pub value: F,
    /// `φ'`.
    pub derivative: D,
    /// Where `φ` or a derivative of it jumps.
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
}
