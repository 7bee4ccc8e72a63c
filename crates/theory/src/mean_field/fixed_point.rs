//! The limit of many equal layers: fixed lengths, fixed correlations and depth scales.

use super::maps::MeanField;
use super::search::{LONGEST, SHORTEST, STEP, bisect};
use crate::nonlinearity::Nonlinearity;
use crate::response::Response;

/// The numbers of layers over which a quantity falls by a factor `e`; ∞ where it does not change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthScales {
    /// `ξ_q = -1/ln χ_∥`, of a deviation from the fixed length.
    pub length: f64,
    /// `ξ_c = -1/ln χ_{c*}`, of a deviation from the fixed correlation. `None` where the fixed length is 0.
    pub correlation: Option<f64>,
    /// `ξ_∇ = 1/|ln χ₁|`, of the squared gradient, which falls or grows.
    pub gradient: f64,
}

/// The fixed point of many equal layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// The variance of the pre-activations.
    pub q: f64,
    /// The correlation of two inputs: 1 in an ordered phase, less in a chaotic one. `None` where the length
    /// is 0, because vectors of length 0 have no direction.
    pub c: Option<f64>,
    /// The factor of a squared gradient from layer to layer; above 1 in a chaotic phase.
    pub chi_1: f64,
    /// The numbers of layers that the approach takes.
    pub scales: DepthScales,
}

impl<N: Nonlinearity> MeanField<N> {
    /// The fixed length: the variance `q*` that the layers approach from 1. It is stable, or 0 where the
    /// signal dies out. `None` where the variance grows beyond a million.
    ///
    /// ```
    /// use wick_theory::{Activation, MeanField};
    ///
    /// let tanh = MeanField { phi: Activation::Tanh, weight_variance: 4.0, bias_variance: 0.05 };
    /// assert!((tanh.fixed_length().unwrap() - 2.195_494).abs() < 1e-6);
    /// let exploding = MeanField { phi: Activation::Relu, weight_variance: 2.1, bias_variance: 0.0 };
    /// assert_eq!(exploding.fixed_length(), None);
    /// ```
    pub fn fixed_length(&self) -> Option<f64> {
        let grows = |q: f64| self.length_map(q) - q;
        let here = grows(1.0);
        if here.abs() < 1e-13 {
            return Some(1.0);
        }
        let (mut near, factor) = (1.0, if here > 0.0 { STEP } else { 1.0 / STEP });
        loop {
            let next = near * factor;
            if next > LONGEST {
                return None;
            }
            if next < SHORTEST {
                return Some(0.0);
            }
            if (grows(next) > 0.0) != (here > 0.0) {
                let (low, high) = if factor > 1.0 { (near, next) } else { (next, near) };
                return Some(bisect(low, high, |q| grows(q) > 0.0));
            }
            near = next;
        }
    }

    /// The fixed correlation: the `c*` that two inputs of the length `q > 0` approach from 0. It is 1 where
    /// the net makes all inputs alike (ordered), and less where it tells them apart (chaotic).
    pub fn fixed_correlation(&self, q: f64) -> f64 {
        const STEPS: i32 = 64;
        if self.chi_1(q) <= 1.0 {
            return 1.0;
        }
        let grows = |c: f64| self.correlation_map(q, q, c) > c + 1e-14;
        if !grows(0.0) {
            return 0.0;
        }
        let at = |i: i32| f64::from(i) / f64::from(STEPS);
        match (1..STEPS).find(|i| !grows(at(*i))) {
            Some(i) => bisect(at(i - 1), at(i), grows),
            None => bisect(at(STEPS - 1), 1.0 - 1e-12, grows),
        }
    }

    /// The depth scales at the fixed length; `None` where there is no fixed length. A net can be trained to a
    /// depth of about `6 ξ_c` layers (Schoenholz et al. 2017).
    pub fn depth_scales(&self) -> Option<DepthScales> {
        let q = self.fixed_length()?;
        let falls = |slope: f64| -1.0 / slope.ln();
        let correlation = (q > 0.0).then(|| {
            let c = self.fixed_correlation(q);
            falls(if c == 1.0 {
                self.chi_1(q)
            } else {
                self.weight_variance * self.of_two(q, q, c, |x| self.phi.derivative(x))
            })
        });
        let gradient = 1.0 / self.chi_1(q).ln().abs();
        Some(DepthScales { length: falls(self.chi_parallel(q)), correlation, gradient })
    }

    /// The fixed point with its correlation, `χ₁` and depth scales, by series in place of integrals in two
    /// dimensions. It is a thousand times as fast as [`depth_scales`](Self::depth_scales), and good to three
    /// digits. `None` where there is no fixed length.
    ///
    /// ```
    /// use wick_theory::{Activation, MeanField};
    ///
    /// let tanh = MeanField { phi: Activation::Tanh, weight_variance: 4.0, bias_variance: 0.05 };
    /// let phase = tanh.phase().unwrap();
    /// assert!((phase.chi_1 - 1.342_402).abs() < 1e-6 && (phase.c.unwrap() - 0.16506).abs() < 1e-4);
    /// assert!((phase.scales.correlation.unwrap() / 6.9803 - 1.0).abs() < 1e-3);
    /// ```
    pub fn phase(&self) -> Option<Phase> {
        let q = self.fixed_length()?;
        let chi_1 = self.chi_1(q);
        let at = Response::new(&self.phi, q);
        let length = self.weight_variance * at.mean_square + self.bias_variance;
        let grows = |c: f64| {
            (self.weight_variance * at.product_of_values(c) + self.bias_variance) / length > c + 1e-12
        };
        let c = (q > 0.0).then(|| {
            if chi_1 <= 1.0 {
                1.0
            } else if grows(0.0) {
                bisect(0.0, 1.0 - 1e-9, grows)
            } else {
                0.0
            }
        });
        let falls = |slope: f64| -1.0 / slope.ln();
        let slope = |c: f64| if c == 1.0 { chi_1 } else { self.weight_variance * at.product_of_slopes(c) };
        let scales = DepthScales {
            length: falls(self.chi_parallel(q)),
            correlation: c.map(|c| falls(slope(c))),
            gradient: 1.0 / chi_1.ln().abs(),
        };
        Some(Phase { q, c, chi_1, scales })
    }
}
