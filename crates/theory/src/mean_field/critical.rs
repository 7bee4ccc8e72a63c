//! The critical line `χ₁ = 1`, and where it begins.

use super::maps::MeanField;
use super::search::{SHORTEST, bisect, intervals};
use crate::nonlinearity::Nonlinearity;

/// A critical point, at which gradients neither vanish nor explode: `χ₁ = 1`, with a stable length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Critical {
    /// The variance of the pre-activations.
    pub q: f64,
    /// `σ_w²`.
    pub weight_variance: f64,
    /// `σ_b²`.
    pub bias_variance: f64,
}

impl<N: Nonlinearity> MeanField<N> {
    /// The point of the line `χ₁ = 1` at the length `q`. The variances of `self` are not used. The bias
    /// variance of the point may be negative, in which case no net has it.
    fn edge(&self, q: f64) -> Critical {
        let weight_variance = 1.0 / self.mean(q, |x| self.phi.derivative(x).powi(2));
        let bias_variance = q - weight_variance * self.mean(q, |x| self.phi.value(x).powi(2));
        Critical { q, weight_variance, bias_variance }
    }

    /// Whether the length is stable at a point of the line `χ₁ = 1`. At 0, where all slopes are 1, the slope
    /// a little above 0 decides: GELU's lengths grow from 0.
    fn is_stable(&self, at: Critical) -> bool {
        const ABOVE: f64 = 1e-3;
        let field = MeanField { phi: &self.phi, weight_variance: at.weight_variance, bias_variance: 0.0 };
        field.chi_parallel(at.q.max(ABOVE)) <= 1.0 + 1e-9
    }

    /// The critical weight variance for the bias variance of `self` (the weight variance of `self` is not
    /// used): `χ₁ = 1` at a length that is fixed and stable (`χ_∥ ≤ 1`). `None` where no such length exists,
    /// as for GELU below its critical point.
    ///
    /// ```
    /// use wick_theory::{Activation, MeanField};
    ///
    /// let tanh = MeanField { phi: Activation::Tanh, weight_variance: 0.0, bias_variance: 0.05 };
    /// assert!((tanh.critical().unwrap().weight_variance - 1.760_954_64).abs() < 1e-8);
    /// ```
    pub fn critical(&self) -> Option<Critical> {
        let wanted = self.bias_variance;
        let first = self.edge(SHORTEST);
        if (first.bias_variance - wanted).abs() <= 1e-12 && self.is_stable(first) {
            return Some(Critical { q: 0.0, bias_variance: wanted, ..first });
        }
        for (before, q) in intervals() {
            let (low, high) = (self.edge(before).bias_variance, self.edge(q).bias_variance);
            if low < wanted && wanted <= high {
                let q = bisect(before, q, |q| self.edge(q).bias_variance < wanted);
                let found = Critical { bias_variance: wanted, ..self.edge(q) };
                if self.is_stable(found) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// The point of the smallest length on the critical line, where the line begins. It is at 0 for functions
    /// like tanh, and at a positive length and bias variance for GELU and SiLU, whose length is unstable
    /// below. `None` if there is no critical point.
    ///
    /// ```
    /// use wick_theory::{Activation, MeanField};
    ///
    /// let gelu = MeanField { phi: Activation::Gelu, weight_variance: 0.0, bias_variance: 0.0 };
    /// let point = gelu.critical_point().unwrap();
    /// assert!((point.q - (3.0 + 17f64.sqrt()) / 2.0).abs() < 1e-6);
    /// ```
    pub fn critical_point(&self) -> Option<Critical> {
        let real = |at: Critical| at.bias_variance > -1e-9 && self.is_stable(at);
        let first = self.edge(SHORTEST);
        if real(first) {
            return Some(Critical { q: 0.0, bias_variance: 0.0, ..first });
        }
        for (before, q) in intervals() {
            if real(self.edge(q)) {
                return Some(self.edge(bisect(before, q, |q| !real(self.edge(q)))));
            }
        }
        None
    }
}
