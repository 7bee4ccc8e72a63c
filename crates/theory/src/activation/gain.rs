//! What is computed from the value and the derivative of an activation: its gain and its saturation
//! thresholds.

use std::sync::{Mutex, PoisonError};

use super::kind::Activation;
use crate::gaussian;

impl Activation {
    /// The gain that keeps a pre-activation's variance at 1: `1/√E[φ(z)²]`, `z ~ N(0, 1)`. With
    /// `Var W = gain²/fan_in` the next layer's pre-activations have the same variance as these.
    ///
    /// The gain is computed by quadrature. It differs from the table that PyTorch keeps (5/3 for tanh, 1 for
    /// sigmoid, 3/4 for SELU).
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

    /// The saturation thresholds `(low, high)`: a pre-activation at or below `low`, or at or above `high`, is
    /// *saturated*, which means that `|φ'|` is less than a tenth of its maximum there and everywhere further
    /// out. `-∞` and `∞` say that there is no such tail.
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
        // The search takes some thousand derivatives, and a training step asks once for each layer.
        static KNOWN: Mutex<Vec<(Activation, (f64, f64))>> = Mutex::new(Vec::new());
        /// The number of activations, with their parameters, that are kept: more than any program sweeps through.
        const MAX: usize = 64;
        let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, thresholds)) = lock().iter().find(|(other, _)| *other == self) {
            return *thresholds;
        }
        let thresholds = (-self.saturated_from(-1.0), self.saturated_from(1.0));
        let mut known = lock();
        if known.len() < MAX {
            known.push((self, thresholds));
        }
        thresholds
    }

    /// The distance from zero at which the saturated tail on the side `sign` begins, or ∞.
    fn saturated_from(self, sign: f64) -> f64 {
        const FAR: f64 = 40.0;
        const STEP: f64 = 1.0 / 16.0;
        let steps = (2.0 * FAR / STEP) as i32;
        let steepest =
            (0..=steps).map(|i| self.derivative(-FAR + f64::from(i) * STEP).abs()).fold(0.0, f64::max);
        let flat = |distance: f64| self.derivative(sign * distance).abs() < 0.1 * steepest;

        // The search goes from far out inwards to the first distance that is not flat, and then halves that
        // step. A kink is a multiple of the step.
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
