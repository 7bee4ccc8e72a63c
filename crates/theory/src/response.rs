//! What an activation makes of one Gaussian, and of two that are correlated.

use crate::gaussian::nodes;
use crate::nonlinearity::Nonlinearity;

/// Terms of a Hermite series. What is left out is taken as one more power, so that the ends, correlation 0
/// and 1, are exact.
const TERMS: usize = 40;

/// Integrals over `x = √q z` of what one layer computes.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// `E φ`.
    pub(crate) mean: f64,
    /// `E φ²`.
    pub(crate) mean_square: f64,
    /// `E φ'²`.
    pub(crate) slope_square: f64,
    /// `E[z² φ'²]/E φ'²`.
    pub(crate) stretch: f64,
    value: Series,
    square: Series,
    slope: Series,
    slope_squared: Series,
    /// `E φ³`, `E φ⁴`, `E φ'⁴`, `E[φ² φ'²]`.
    cube: f64,
    fourth: f64,
    slope_fourth: f64,
    square_slope: f64,
}

/// The coefficients of a function in normalized Hermite polynomials: `E[f(z₁) g(z₂)] = Σ f_k g_k c^k`
/// (Mehler).
#[derive(Debug, Clone)]
struct Series([f64; TERMS]);

/// Nodes of less weight are left out: together they move nothing by more than 1e-10.
const LIGHTEST: f64 = 1e-15;

impl Response {
    /// `E φ`, `E φ²` and `E φ'²` alone.
    pub(crate) fn levels(phi: &dyn Nonlinearity, q: f64) -> [f64; 3] {
        let scale = q.sqrt();
        let mut levels = [0.0; 3];
        for (z, weight) in nodes(q, phi.kinks()).into_iter().filter(|node| node.1 > LIGHTEST) {
            let (value, slope) = (phi.value(scale * z), phi.derivative(scale * z));
            for (level, function) in levels.iter_mut().zip([value, value * value, slope * slope]) {
                *level += weight * function;
            }
        }
        levels
    }

    pub(crate) fn at(phi: &dyn Nonlinearity, q: f64) -> Self {
        let scale = q.sqrt();
        let mut series = [[0.0; TERMS]; 4];
        let [mut stretch, mut cube, mut fourth, mut slope_fourth, mut square_slope] = [0.0; 5];
        for (z, weight) in nodes(q, phi.kinks()).into_iter().filter(|node| node.1 > LIGHTEST) {
            let x = scale * z;
            let (value, slope) = (phi.value(x), phi.derivative(x));
            let functions = [value, value * value, slope, slope * slope];
            let (mut before, mut hermite) = (0.0, weight);
            for k in 0..TERMS {
                for (coefficients, function) in series.iter_mut().zip(functions) {
                    coefficients[k] += hermite * function;
                }
                let next = (z * hermite - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt();
                (before, hermite) = (hermite, next);
            }
            stretch += weight * z * z * slope * slope;
            cube += weight * value.powi(3);
            fourth += weight * value.powi(4);
            slope_fourth += weight * slope.powi(4);
            square_slope += weight * (value * slope).powi(2);
        }
        let [value, square, slope, slope_squared] = series.map(Series);
        let (mean_square, slope_square) = (square.0[0], slope_squared.0[0]);
        Self {
            mean: value.0[0],
            mean_square,
            slope_square,
            stretch: if slope_square > 0.0 { stretch / slope_square } else { 1.0 },
            value,
            square,
            slope,
            slope_squared,
            cube,
            fourth,
            slope_fourth,
            square_slope,
        }
    }

    /// `E[φ(u₁) φ(u₂)]` at the correlation `c`.
    pub(crate) fn values(&self, c: f64) -> f64 {
        product(&self.value, &self.value, self.mean_square, c)
    }

    /// `E[φ'(u₁) φ'(u₂)]`.
    pub(crate) fn slopes(&self, c: f64) -> f64 {
        product(&self.slope, &self.slope, self.slope_square, c)
    }

    /// `Cov(φ²(u₁), φ²(u₂))/(E φ²)²`; with the part `conserved` of what goes by the length of the
    /// pre-activations left out.
    pub(crate) fn squares(&self, c: f64, conserved: f64) -> f64 {
        let all = product(&self.square, &self.square, self.fourth, c);
        ratio(all - conserved * (self.square.0[2] * c).powi(2), self.mean_square.powi(2)) - 1.0
    }

    /// `E[φ'²(u₁) φ'²(u₂)]/(E φ'²)²`.
    pub(crate) fn squared_slopes(&self, c: f64) -> f64 {
        ratio(
            product(&self.slope_squared, &self.slope_squared, self.slope_fourth, c),
            self.slope_square.powi(2),
        )
    }

    /// `Cov(φ'²(u₁), φ²(u₂))/(E φ'² E φ²)`.
    pub(crate) fn squares_and_slopes(&self, c: f64, conserved: f64) -> f64 {
        let all = product(&self.slope_squared, &self.square, self.square_slope, c);
        let length = self.slope_squared.0[2] * self.square.0[2] * c * c;
        ratio(all - conserved * length, self.slope_square * self.mean_square) - 1.0
    }

    /// `Cov(φ(u₁), φ²(u₂))`.
    pub(crate) fn values_and_squares(&self, c: f64, conserved: f64) -> f64 {
        let length = self.value.0[2] * self.square.0[2] * c * c;
        product(&self.value, &self.square, self.cube, c) - conserved * length - self.mean * self.mean_square
    }

    /// `Cov(φ(u₁), φ(u₂))`.
    pub(crate) fn means(&self, c: f64, conserved: f64) -> f64 {
        self.values(c) - conserved * (self.value.0[2] * c).powi(2) - self.mean * self.mean
    }
}

/// 1 where there is nothing to divide by: a layer that puts out nothing has no fluctuations.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 1.0 }
}

/// `E[f(u₁) g(u₂)]`, which is `whole` at `c = 1`.
fn product(f: &Series, g: &Series, whole: f64, c: f64) -> f64 {
    let (mut sum, mut terms, mut power) = (0.0, 0.0, 1.0);
    for (a, b) in f.0.iter().zip(g.0) {
        sum += a * b * power;
        terms += a * b;
        power *= c;
    }
    sum + (whole - terms) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, MeanField};

    /// Against the correlation map by quadrature in two dimensions.
    #[test]
    fn products_of_two() {
        for phi in [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
            let map = MeanField { phi, weight_variance: 1.0, bias_variance: 0.0 };
            for q in [0.1, 1.0, 4.0] {
                let response = Response::at(&phi, q);
                for c in [-0.5, 0.0, 0.3, 0.9, 1.0] {
                    let got = response.values(c) / response.mean_square;
                    let expected = map.correlation_map(q, q, c);
                    assert!((got - expected).abs() < 1e-4, "{phi} {q} {c}: {got} {expected}");
                }
            }
        }
    }

    /// A ReLU's: `E φ⁴/(E φ²)² = 6`, `E φ'⁴/(E φ'²)² = 2`, so that a unit's square and a gate's vary by 5 and
    /// 1; a linear layer's square by 2, all of which goes by the length.
    #[test]
    fn closed_forms() {
        let relu = Response::at(&Activation::Relu, 3.0);
        assert!((relu.squares(1.0, 0.0) - 5.0).abs() < 1e-10);
        assert!((relu.squared_slopes(1.0) - 2.0).abs() < 1e-10 && (relu.stretch - 1.0).abs() < 1e-10);
        // Two independent units have nothing in common.
        assert!(relu.squares(0.0, 0.0).abs() < 1e-10 && relu.squares_and_slopes(0.0, 0.0).abs() < 1e-10);
        // E[φ'² φ²] = q/2 = 2 E φ'² E φ².
        assert!((relu.squares_and_slopes(1.0, 0.0) - 1.0).abs() < 1e-10);
        let linear = Response::at(&Activation::Identity, 0.7);
        assert!((linear.squares(1.0, 0.0) - 2.0).abs() < 1e-10);
        assert!(linear.squares(1.0, 1.0).abs() < 1e-10 && linear.squares(0.5, 1.0).abs() < 1e-10);
        let nothing = Response::at(&Activation::Relu, 0.0);
        assert_eq!((nothing.squares(1.0, 0.0), nothing.mean_square), (0.0, 0.0));
    }
}
