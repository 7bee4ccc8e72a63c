//! One wide layer: the length map, the correlation map and their slopes.

use crate::gaussian::{Shape, expectation_of};
use crate::nonlinearity::{Nonlinearity, shape};

/// Wide layers `h ← W φ(h) + b` with `Var W = σ_w²/fan_in` and `Var b = σ_b²`.
///
/// `q` is the variance of a pre-activation over the draws of the weights, `c` the correlation of the
/// pre-activations of two inputs (Poole et al. 2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv
/// 1611.01232).
///
/// ```
/// use wick_theory::{Activation, MeanField};
///
/// // He's weights keep any variance of a ReLU net, and that of its gradients.
/// let he = MeanField { phi: Activation::Relu, weight_variance: 2.0, bias_variance: 0.0 };
/// assert!((he.length_map(3.7) - 3.7).abs() < 1e-12);
/// assert!((he.chi_1(3.7) - 1.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanField<N> {
    /// The activation of each layer.
    pub phi: N,
    /// `σ_w²`: the variance of a weight times the fan_in. Not negative.
    pub weight_variance: f64,
    /// `σ_b²`: the variance of a bias. Not negative.
    pub bias_variance: f64,
}

/// The smallest variance at which the limit `q → 0` is taken.
const ALMOST_ZERO: f64 = 1e-10;

impl<N: Nonlinearity> MeanField<N> {
    pub(super) fn mean(&self, q: f64, f: impl Fn(f64) -> f64) -> f64 {
        expectation_of(f, q, shape(&self.phi))
    }

    /// The gain `1/√E[φ(z)²]`: weights of `Var W = gain²/fan_in` keep a variance of 1. The variances of
    /// `self` are not used.
    ///
    /// ```
    /// use wick_theory::{Custom, MeanField};
    ///
    /// let square = Custom { value: |x: f64| x * x, derivative: |x: f64| 2.0 * x, kinks: vec![] };
    /// let field = MeanField { phi: square, weight_variance: 1.0, bias_variance: 0.0 };
    /// assert!((field.gain() - 1.0 / 3f64.sqrt()).abs() < 1e-12); // E z⁴ = 3
    /// ```
    pub fn gain(&self) -> f64 {
        self.mean(1.0, |x| self.phi.value(x).powi(2)).sqrt().recip()
    }

    /// The length map `q' = σ_w² E[φ(√q z)²] + σ_b²`: the variance of the next layer's pre-activations.
    pub fn length_map(&self, q: f64) -> f64 {
        self.weight_variance * self.mean(q, |x| self.phi.value(x).powi(2)) + self.bias_variance
    }

    /// `χ₁ = σ_w² E[φ'(√q z)²]`: the factor of a squared gradient from one layer to the next, and the slope
    /// of the correlation map at `c = 1`. At `q = 0` it is the limit from above, which is not `φ'(0)²` where
    /// `φ` has a kink at 0.
    pub fn chi_1(&self, q: f64) -> f64 {
        self.weight_variance * self.mean(q.max(ALMOST_ZERO), |x| self.phi.derivative(x).powi(2))
    }

    /// `χ_∥ = σ_w² d/dq E[φ(√q z)²]`, which is `χ₁ + σ_w² E[φ φ'']`: the slope of the length map. By Stein's
    /// lemma it is `σ_w² E[x φ(x) φ'(x)]/q`, so that no second derivative is needed.
    pub fn chi_parallel(&self, q: f64) -> f64 {
        let q = q.max(ALMOST_ZERO);
        self.weight_variance * self.mean(q, |x| x * self.phi.value(x) * self.phi.derivative(x)) / q
    }

    /// The correlation map, which gives the correlation of two inputs one layer on:
    /// `c' = (σ_w² E[φ(u₁) φ(u₂)] + σ_b²)/√(q₁' q₂')` for `u₁ = √q₁ z₁`, `u₂ = √q₂ (c z₁ + √(1-c²) z₂)`, `c`
    /// in `[-1, 1]`.
    pub fn correlation_map(&self, q1: f64, q2: f64, c: f64) -> f64 {
        let product =
            self.weight_variance * self.of_two(q1, q2, c, |x| self.phi.value(x)) + self.bias_variance;
        product / (self.length_map(q1) * self.length_map(q2)).sqrt()
    }

    /// `E[f(u₁) f(u₂)]` of two Gaussians of variances `q₁` and `q₂` and correlation `c`.
    pub(super) fn of_two(&self, q1: f64, q2: f64, c: f64, f: impl Fn(f64) -> f64) -> f64 {
        // The outer integral is over the wider of the two, so that the inner one is a smooth function of it.
        let (q1, q2) = if q1 < q2 { (q2, q1) } else { (q1, q2) };
        let rest = (1.0 - c * c).max(0.0) * q2;
        let slope = if q1 > 0.0 { c * (q2 / q1).sqrt() } else { 0.0 };
        self.mean(q1, |u1| {
            let centre = slope * u1;
            f(u1) * expectation_of(|x| f(centre + x), rest, Shape { centre, ..shape(&self.phi) })
        })
    }
}
