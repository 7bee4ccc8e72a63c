//! What an activation makes of one normal number, and of two that are correlated.

use crate::gaussian::{Node, nodes};
use crate::hermite::{Series, TERMS, add_node};
use crate::nonlinearity::{Nonlinearity, shape};

/// Integrals over the pre-activation `x = √q z` of one layer, `z ~ N(0, 1)`, and over two of them, `u₁` and
/// `u₂`, of correlation `c`.
///
/// Covariances take the fraction `conserved` of the second Hermite term to subtract: the part that goes by
/// the norm of all pre-activations, which orthogonal weights conserve (section 5 of `docs/finite-width.md`).
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// `E φ`.
    pub(crate) mean: f64,
    /// `E φ²`.
    pub(crate) mean_square: f64,
    /// `E φ'²`.
    pub(crate) slope_square: f64,
    /// `τ = E[z² φ'²]/E φ'²`.
    pub(crate) slope_input_ratio: f64,
    /// `r = (E[z φ φ'])²/(E φ² E φ'²)`: how much of a gradient along the outputs goes on along the inputs.
    pub(crate) radial: f64,
    value: Series,
    square: Series,
    slope: Series,
    slope_squared: Series,
    /// `E φ³`.
    cube: f64,
    /// `E φ⁴`.
    fourth: f64,
    /// `E φ'⁴`.
    slope_fourth: f64,
    /// `E[φ² φ'²]`.
    square_slope: f64,
}

/// Nodes of less weight are left out, if they are beyond [`TAIL`]: together they change no integral by more
/// than 1e-10.
const LIGHTEST: f64 = 1e-15;
/// Nodes of fewer standard deviations are kept even if their panel is narrow.
const TAIL: f64 = 6.0;

fn heavy_nodes(phi: &dyn Nonlinearity, q: f64) -> impl Iterator<Item = Node> {
    nodes(q, shape(phi)).filter(|node| node.weight > LIGHTEST || node.z.abs() < TAIL)
}

impl Response {
    /// All integrals at the variance `q` of the pre-activation.
    pub(crate) fn new(phi: &dyn Nonlinearity, q: f64) -> Self {
        let mut series = [[0.0; TERMS]; 4];
        let [mut input_slope, mut cube, mut fourth, mut slope_fourth, mut square_slope, mut radial] =
            [0.0; 6];
        for Node { x, z, weight } in heavy_nodes(phi, q) {
            let (value, slope) = (phi.value(x), phi.derivative(x));
            add_node(&mut series, z, weight, [value, value * value, slope, slope * slope]);
            input_slope += weight * z * z * slope * slope;
            radial += weight * z * value * slope;
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
            slope_input_ratio: if slope_square > 0.0 { input_slope / slope_square } else { 1.0 },
            radial: if slope_square > 0.0 && mean_square > 0.0 {
                radial * radial / (mean_square * slope_square)
            } else {
                0.0
            },
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

    /// `E φ`, `E φ²` and `E φ'²` of a pre-activation that is not quite normal: its fourth normalized Hermite
    /// polynomial has this mean, and not 0.
    pub(crate) fn shifted(&self, [mean, square, slope]: [f64; 3], fourth: f64) -> [f64; 3] {
        // The means may be those of other lengths, for which squares change by the same factor.
        let factor = |series: &Series, whole: f64| {
            if whole > 0.0 { (1.0 + fourth * series.0[4] / whole).max(0.5) } else { 1.0 }
        };
        [
            mean + fourth * self.value.0[4],
            square * factor(&self.square, self.mean_square),
            slope * factor(&self.slope_squared, self.slope_square),
        ]
    }

    /// `E[φ(u₁) φ(u₂)]`.
    pub(crate) fn product_of_values(&self, c: f64) -> f64 {
        self.value.product(&self.value, self.mean_square, c)
    }

    /// `E[φ'(u₁) φ'(u₂)]`.
    pub(crate) fn product_of_slopes(&self, c: f64) -> f64 {
        self.slope.product(&self.slope, self.slope_square, c)
    }

    /// `χ(c) = E[φ'²(u₁) φ'²(u₂)]/(E φ'²)²`.
    pub(crate) fn product_of_squared_slopes(&self, c: f64) -> f64 {
        let product = self.slope_squared.product(&self.slope_squared, self.slope_fourth, c);
        ratio(product, self.slope_square.powi(2))
    }

    /// The part of `χ(c)` that comes from the norm of the pre-activations, and does not fluctuate where that is given.
    pub(crate) fn squared_slopes_by_norm(&self, c: f64, conserved: f64) -> f64 {
        let product = conserved * (self.slope_squared.0[2] * c).powi(2);
        if self.slope_square > 0.0 { product / self.slope_square.powi(2) } else { 0.0 }
    }

    /// `κ(c) = Cov(φ²(u₁), φ²(u₂))/(E φ²)²`.
    pub(crate) fn cov_squares(&self, c: f64, conserved: f64) -> f64 {
        let product = self.square.product(&self.square, self.fourth, c);
        ratio(product - conserved * (self.square.0[2] * c).powi(2), self.mean_square.powi(2)) - 1.0
    }

    /// `Cov(φ'²(u₁), φ²(u₂))/(E φ'² E φ²)`.
    pub(crate) fn cov_squared_slopes_and_squares(&self, c: f64, conserved: f64) -> f64 {
        let product = self.slope_squared.product(&self.square, self.square_slope, c);
        let norm = self.slope_squared.0[2] * self.square.0[2] * c * c;
        ratio(product - conserved * norm, self.slope_square * self.mean_square) - 1.0
    }

    /// `Cov(φ(u₁), φ²(u₂))`.
    pub(crate) fn cov_values_and_squares(&self, c: f64, conserved: f64) -> f64 {
        let norm = self.value.0[2] * self.square.0[2] * c * c;
        self.value.product(&self.square, self.cube, c) - conserved * norm - self.mean * self.mean_square
    }

    /// `Cov(φ(u₁), φ(u₂))`.
    pub(crate) fn cov_values(&self, c: f64, conserved: f64) -> f64 {
        self.product_of_values(c) - conserved * (self.value.0[2] * c).powi(2) - self.mean * self.mean
    }
}

/// `a/b`, and 1 where `b` is 0: the outputs of a layer that are all 0 do not fluctuate.
fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;

    /// A ReLU has `E φ⁴/(E φ²)² = 6` and `E φ'⁴/(E φ'²)² = 2`, so that `κ(1) = 5` and `χ(1) = 2`. A linear
    /// layer has `κ(1) = 2`, all of which comes from the norm.
    #[test]
    fn closed_forms() {
        let relu = Response::new(&Activation::Relu, 3.0);
        assert!((relu.cov_squares(1.0, 0.0) - 5.0).abs() < 1e-10);
        assert!(
            (relu.product_of_squared_slopes(1.0) - 2.0).abs() < 1e-10
                && (relu.slope_input_ratio - 1.0).abs() < 1e-10
        );
        // Two independent units have covariances of 0.
        assert!(
            relu.cov_squares(0.0, 0.0).abs() < 1e-10
                && relu.cov_squared_slopes_and_squares(0.0, 0.0).abs() < 1e-10
        );
        // E[φ'² φ²] = q/2 = 2 E φ'² E φ².
        assert!((relu.cov_squared_slopes_and_squares(1.0, 0.0) - 1.0).abs() < 1e-10);
        // Whether a ReLU is on says nothing of the norm; nearly all of a sigmoid's slope is a function of u².
        assert!(relu.squared_slopes_by_norm(1.0, 1.0).abs() < 1e-10);
        let sigmoid = Response::new(&Activation::Sigmoid, 0.3);
        let part = sigmoid.squared_slopes_by_norm(1.0, 1.0) / (sigmoid.product_of_squared_slopes(1.0) - 1.0);
        assert!(part > 0.9 && part <= 1.0, "{part}");
        assert_eq!(sigmoid.squared_slopes_by_norm(1.0, 0.0), 0.0);
        let linear = Response::new(&Activation::Identity, 0.7);
        assert!((linear.cov_squares(1.0, 0.0) - 2.0).abs() < 1e-10);
        assert!(linear.cov_squares(1.0, 1.0).abs() < 1e-10 && linear.cov_squares(0.5, 1.0).abs() < 1e-10);
        let nothing = Response::new(&Activation::Relu, 0.0);
        assert_eq!((nothing.cov_squares(1.0, 0.0), nothing.mean_square), (0.0, 0.0));
    }
}
