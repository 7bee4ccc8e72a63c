//! The mean field theory of signals in deep networks: what becomes of variances, correlations and gradients from layer to
//! layer when the layers are wide.

use crate::Activation;
use crate::gaussian::expectation;
use crate::response::Response;

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

/// Wide layers `h ← W φ(h) + b` with `Var W = σ_w²/fan_in` and `Var b = σ_b²`.
///
/// `q` is the variance of a pre-activation over the draws of the weights, `c` the correlation of two inputs' (Poole et al.
/// 2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv 1611.01232).
///
/// ```
/// use wick_theory::{Activation, MeanField};
///
/// // He's weights keep the variance of a ReLU net, whatever it is, and its gradients'.
/// let he = MeanField { phi: Activation::Relu, weight_variance: 2.0, bias_variance: 0.0 };
/// assert!((he.length_map(3.7) - 3.7).abs() < 1e-12);
/// assert!((he.chi_1(3.7) - 1.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanField<N> {
    /// What each layer applies.
    pub phi: N,
    /// `σ_w²`: the variance of a weight times the fan_in. Not negative.
    pub weight_variance: f64,
    /// `σ_b²`: the variance of a bias. Not negative.
    pub bias_variance: f64,
}

/// Where a net neither forgets nor amplifies: `χ₁ = 1`, with a stable length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Critical {
    /// The variance of the pre-activations.
    pub q: f64,
    /// `σ_w²`.
    pub weight_variance: f64,
    /// `σ_b²`.
    pub bias_variance: f64,
}

/// Over how many layers something falls by `e`; ∞ where it does not change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthScales {
    /// `ξ_q = -1/ln χ_∥`: a difference from the fixed length.
    pub length: f64,
    /// `ξ_c = -1/ln χ_{c*}`: a difference from the fixed correlation. `None` where the length is 0.
    pub correlation: Option<f64>,
    /// `ξ_∇ = 1/|ln χ₁|`: the squared gradient, falling or growing.
    pub gradient: f64,
}

/// Where layers of one kind come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// The variance of the pre-activations.
    pub q: f64,
    /// The correlation of two inputs: 1 in an ordered phase, less in a chaotic one. `None` where the length is 0, as nothing has
    /// no direction.
    pub c: Option<f64>,
    /// By how much a squared gradient changes from layer to layer; above 1 in a chaotic phase.
    pub chi_1: f64,
    /// How fast.
    pub scales: DepthScales,
}

/// Lengths that are told from 0 and from ∞; the integrals' work grows with the root of the length.
const SHORTEST: f64 = 1e-14;
const LONGEST: f64 = 1e6;
/// Steps of the search for a fixed point, each by this factor.
const STEP: f64 = 1.25;
/// For a limit at `q → 0`.
const ALMOST_ZERO: f64 = 1e-10;

impl<N: Nonlinearity> MeanField<N> {
    fn mean(&self, q: f64, f: impl Fn(f64) -> f64) -> f64 {
        expectation(f, q, self.phi.kinks())
    }

    /// The gain `1/√E[φ(z)²]`: weights of `Var W = gain²/fan_in` keep a variance of 1, whatever the variances of `self` are.
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

    /// `q' = σ_w² E[φ(√q z)²] + σ_b²`.
    pub fn length_map(&self, q: f64) -> f64 {
        self.weight_variance * self.mean(q, |x| self.phi.value(x).powi(2)) + self.bias_variance
    }

    /// `χ₁ = σ_w² E[φ'(√q z)²]`: by how much a squared gradient changes from one layer to the next, and the slope of the
    /// correlation map at `c = 1`. At `q = 0` it is the limit from above, which is not `φ'(0)²` where `φ` has a kink there.
    pub fn chi_1(&self, q: f64) -> f64 {
        self.weight_variance * self.mean(q.max(ALMOST_ZERO), |x| self.phi.derivative(x).powi(2))
    }

    /// `χ_∥ = σ_w² d/dq E[φ(√q z)²]`, which is `χ₁ + σ_w² E[φ φ'']`: the slope of the length map. By Stein's lemma it is
    /// `σ_w² E[x φ(x) φ'(x)]/q`, so that no second derivative is needed.
    pub fn chi_parallel(&self, q: f64) -> f64 {
        let q = q.max(ALMOST_ZERO);
        self.weight_variance * self.mean(q, |x| x * self.phi.value(x) * self.phi.derivative(x)) / q
    }

    /// The correlation of two inputs one layer on: `c' = (σ_w² E[φ(u₁) φ(u₂)] + σ_b²)/√(q₁' q₂')` for `u₁ = √q₁ z₁`,
    /// `u₂ = √q₂ (c z₁ + √(1-c²) z₂)`, `c` in `[-1, 1]`.
    pub fn correlation_map(&self, q1: f64, q2: f64, c: f64) -> f64 {
        let product =
            self.weight_variance * self.of_two(q1, q2, c, |x| self.phi.value(x)) + self.bias_variance;
        product / (self.length_map(q1) * self.length_map(q2)).sqrt()
    }

    /// `E[f(u₁) f(u₂)]` of two Gaussians of variances `q₁` and `q₂` and correlation `c`.
    fn of_two(&self, q1: f64, q2: f64, c: f64, f: impl Fn(f64) -> f64) -> f64 {
        let rest = (1.0 - c * c).max(0.0) * q2;
        let kinks = self.phi.kinks();
        self.mean(q1, |u1| {
            let centre = if q1 > 0.0 { c * (q2 / q1).sqrt() * u1 } else { 0.0 };
            let moved: Vec<f64> = kinks.iter().map(|kink| kink - centre).collect();
            f(u1) * expectation(|x| f(centre + x), rest, &moved)
        })
    }

    /// The variance `q*` that the layers come to, from 1: stable, or 0 where they forget the signal. `None` where the variance
    /// grows beyond a million.
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

    /// The correlation `c*` that two inputs of the length `q > 0` come to, from 0: 1 where the net makes all inputs alike
    /// (ordered), less where it tells them apart (chaotic).
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

    /// The depth scales at the fixed point of the lengths; `None` where there is none. A net trains to about `6 ξ_c` layers
    /// (Schoenholz et al. 2017).
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

    /// The fixed point with all that is told of it, by series rather than by integrals in two dimensions: a thousand times as
    /// fast as [`depth_scales`](Self::depth_scales), and good to three digits. `None` where lengths have no fixed point.
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
        let at = Response::at(&Borrowed(&self.phi), q);
        let length = self.weight_variance * at.mean_square + self.bias_variance;
        let grows = |c: f64| (self.weight_variance * at.values(c) + self.bias_variance) / length > c + 1e-12;
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
        let slope = |c: f64| if c == 1.0 { chi_1 } else { self.weight_variance * at.slopes(c) };
        let scales = DepthScales {
            length: falls(self.chi_parallel(q)),
            correlation: c.map(|c| falls(slope(c))),
            gradient: 1.0 / chi_1.ln().abs(),
        };
        Some(Phase { q, c, chi_1, scales })
    }

    /// The point of the line `χ₁ = 1` at a length, whatever the weight and bias variances of `self` are; its bias variance may
    /// come out negative, where no net is.
    fn edge(&self, q: f64) -> Critical {
        let weight_variance = 1.0 / self.mean(q, |x| self.phi.derivative(x).powi(2));
        let bias_variance = q - weight_variance * self.mean(q, |x| self.phi.value(x).powi(2));
        Critical { q, weight_variance, bias_variance }
    }

    /// Whether the length is stable at a point of the line `χ₁ = 1`. At 0, where all slopes are 1, it is the one a little above
    /// that tells: GELU's lengths grow from there.
    fn holds(&self, at: Critical) -> bool {
        const ABOVE: f64 = 1e-3;
        let there =
            MeanField { phi: Borrowed(&self.phi), weight_variance: at.weight_variance, bias_variance: 0.0 };
        there.chi_parallel(at.q.max(ABOVE)) <= 1.0 + 1e-9
    }

    /// The critical weight variance for the bias variance of `self` (its weight variance does not matter): `χ₁ = 1` at a length
    /// that is fixed and stable (`χ_∥ ≤ 1`). `None` where there is none, as for GELU below its critical point.
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
        if (first.bias_variance - wanted).abs() <= 1e-12 && self.holds(first) {
            return Some(Critical { q: 0.0, bias_variance: wanted, ..first });
        }
        let lengths = std::iter::successors(Some(SHORTEST), |q| Some(q * STEP)).take_while(|q| *q < LONGEST);
        let mut before = SHORTEST;
        for q in lengths {
            let (low, high) = (self.edge(before).bias_variance, self.edge(q).bias_variance);
            if low < wanted && wanted <= high {
                let q = bisect(before, q, |q| self.edge(q).bias_variance < wanted);
                let found = Critical { bias_variance: wanted, ..self.edge(q) };
                if self.holds(found) {
                    return Some(found);
                }
            }
            before = q;
        }
        None
    }

    /// Where the critical line begins: the point on it of the smallest length. At 0 for functions like tanh; for GELU and SiLU,
    /// whose length is unstable below, at a length and a bias variance of their own. `None` if there is no critical point.
    ///
    /// ```
    /// use wick_theory::{Activation, MeanField};
    ///
    /// let gelu = MeanField { phi: Activation::Gelu, weight_variance: 0.0, bias_variance: 0.0 };
    /// let point = gelu.critical_point().unwrap();
    /// assert!((point.q - (3.0 + 17f64.sqrt()) / 2.0).abs() < 1e-6);
    /// ```
    pub fn critical_point(&self) -> Option<Critical> {
        let real = |at: Critical| at.bias_variance > -1e-9 && self.holds(at);
        let first = self.edge(SHORTEST);
        if real(first) {
            return Some(Critical { q: 0.0, bias_variance: 0.0, ..first });
        }
        let lengths = std::iter::successors(Some(SHORTEST), |q| Some(q * STEP)).take_while(|q| *q < LONGEST);
        let mut before = SHORTEST;
        for q in lengths {
            if real(self.edge(q)) {
                return Some(self.edge(bisect(before, q, |q| !real(self.edge(q)))));
            }
            before = q;
        }
        None
    }
}

/// A function lent.
struct Borrowed<'a, N>(&'a N);

impl<N: Nonlinearity> Nonlinearity for Borrowed<'_, N> {
    fn value(&self, x: f64) -> f64 {
        self.0.value(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        self.0.derivative(x)
    }

    fn kinks(&self) -> &[f64] {
        self.0.kinks()
    }
}

/// Where something that holds at `low` ends, before `high`.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if holds(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
#[path = "mean_field_tests.rs"]
mod tests;
