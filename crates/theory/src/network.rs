//! What theory predicts for a network with its own widths, variances and input.

use crate::gaussian::expectation_of;
use crate::nonlinearity::{Nonlinearity, shape};

/// The law of a layer `h = φ(W x + b)`: its sizes, and the distribution that its weights and biases are drawn
/// from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerLaw<N> {
    /// The number of inputs.
    pub fan_in: usize,
    /// The number of outputs.
    pub fan_out: usize,
    /// `Var W_ij`; the mean is 0.
    pub weight_variance: f64,
    /// `Var b_i`; the mean is 0. It is 0 without biases.
    pub bias_variance: f64,
    /// Whether the rows or columns of `W` are orthonormal up to a factor; its elements are independent
    /// otherwise.
    pub orthogonal: bool,
    /// The activation.
    pub phi: N,
}

/// The prediction for one layer in the limit of wide layers, as a mean over the draws of the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerPrediction {
    /// The variance of the pre-activations, `q = fan_in · Var W · E[x²] + Var b`.
    pub pre_activation_variance: f64,
    /// `E h`, over units and samples.
    pub mean: f64,
    /// The standard deviation of the outputs, over units and samples.
    pub std: f64,
    /// `√E h²`.
    pub rms: f64,
    /// `√E (∂J/∂h)²`: the root mean square of the gradient with respect to the outputs.
    pub gradient_rms: f64,
}

/// Predicts each layer, first to last, from the input's mean square and the root mean square of the
/// gradient with respect to the last output.
///
/// Forward `q_l = n_in σ² E[x²] + σ_b²` (He et al. 2015, equation 6, with any activation), backward
/// `E[(∂J/∂h_{l-1})²] = n_out σ² E[φ'(√q_l z)²] E[(∂J/∂h_l)²]` (Glorot and Bengio 2010, equation 6, with the
/// activation's factor).
///
/// ```
/// use wick_theory::{Activation, LayerLaw, predict};
///
/// // Two of the lecture's tanh layers, with weights of σ = 0.01.
/// let layer = |fan_in, fan_out| {
///     LayerLaw { fan_in, fan_out, weight_variance: 1e-4, bias_variance: 0.0, orthogonal: false, phi: Activation::Tanh }
/// };
/// let layers = predict(&[layer(800, 750), layer(750, 700)], 1.0, 1.0);
/// assert!((layers[0].std - 0.2636).abs() < 5e-5 && (layers[1].std - 0.071_81).abs() < 5e-6);
/// ```
pub fn predict<N: Nonlinearity>(
    layers: &[LayerLaw<N>],
    input_mean_square: f64,
    output_gradient_rms: f64,
) -> Vec<LayerPrediction> {
    let mut mean_square = input_mean_square;
    let mut predictions = Vec::with_capacity(layers.len());
    for layer in layers {
        let q = layer.fan_in as f64 * layer.weight_variance * mean_square + layer.bias_variance;
        let shape = shape(&layer.phi);
        let mean = expectation_of(|x| layer.phi.value(x), q, shape);
        mean_square = expectation_of(|x| layer.phi.value(x).powi(2), q, shape);
        predictions.push(LayerPrediction {
            pre_activation_variance: q,
            mean,
            std: std(mean_square, mean * mean),
            rms: mean_square.sqrt(),
            gradient_rms: output_gradient_rms,
        });
    }
    let mut squared = output_gradient_rms.powi(2);
    for (layer, prediction) in layers.iter().zip(&mut predictions).rev() {
        prediction.gradient_rms = squared.sqrt();
        let slope = |x| layer.phi.derivative(x).powi(2);
        let factor = expectation_of(slope, prediction.pre_activation_variance, shape(&layer.phi));
        squared *= layer.fan_out as f64 * layer.weight_variance * factor;
    }
    predictions
}

/// `√(mean_square - squared_mean)`: 0 where rounding makes the difference negative, and ∞ where both have overflowed.
pub(crate) fn std(mean_square: f64, squared_mean: f64) -> f64 {
    if mean_square.is_infinite() { f64::INFINITY } else { (mean_square - squared_mean).max(0.0).sqrt() }
}

/// The squared singular values of the Jacobian of a net of `depth` equal layers at a fixed length: their mean
/// `m₁ = (σ_w² μ₁)^L`, and at criticality their variance `m₁² L (μ₂/μ₁² - 1 - s₁)` with `μ_k = E φ'^{2k}` and
/// `s₁ = -1` for Gaussian weights, 0 for orthogonal ones (Pennington et al. 2017, arXiv 1711.04735, equation
/// 20).
///
/// ```
/// use wick_theory::{Activation, jacobian_spectrum};
///
/// let (mean, variance) = jacobian_spectrum(&Activation::Relu, 2.0, 1.0, 10, false);
/// assert!((mean - 1.0).abs() < 1e-12 && (variance - 20.0).abs() < 1e-9);
/// ```
pub fn jacobian_spectrum(
    phi: &impl Nonlinearity,
    weight_variance: f64,
    q: f64,
    depth: u32,
    orthogonal: bool,
) -> (f64, f64) {
    let moment = |k: i32| expectation_of(|x| phi.derivative(x).powi(2 * k), q, shape(phi));
    let (first, second) = (moment(1), moment(2));
    let mean = (weight_variance * first).powi(depth as i32);
    let of_weights = if orthogonal { 0.0 } else { 1.0 };
    (mean, mean * mean * f64::from(depth) * (second / (first * first) - 1.0 + of_weights))
}

/// Hanin's `β = Σ 1/n` over the hidden widths. The fluctuations of a ReLU net grow with `β` (Hanin 2018,
/// arXiv 1801.03744).
pub fn inverse_width_sum(widths: &[usize]) -> f64 {
    widths.iter().map(|&width| 1.0 / width as f64).sum()
}

/// `E M²` for `M`, the squared length of the last hidden layer over the input's, `E M = 1`, in a ReLU net of
/// He's weights without biases: `∏(1 + 5/n)` (Hanin and Rolnick 2018, arXiv 1803.01719). A linear net's is
/// `∏(1 + 2/n)`, with `relu = false`.
///
/// ```
/// let second_moment = wick_theory::length_second_moment(&[100, 100], true);
/// assert!((second_moment - 1.05 * 1.05).abs() < 1e-15);
/// ```
pub fn length_second_moment(widths: &[usize], relu: bool) -> f64 {
    let spread = if relu { 5.0 } else { 2.0 };
    widths.iter().map(|&width| 1.0 + spread / width as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;

    const WIDTHS: [usize; 11] = [800, 750, 700, 650, 600, 550, 500, 450, 400, 350, 300];

    /// The predictions for the lecture's net, with the variance of the weights as a function of the fans.
    fn lecture(variance: impl Fn(f64, f64) -> f64) -> Vec<LayerPrediction> {
        let layers: Vec<_> = WIDTHS
            .windows(2)
            .map(|w| LayerLaw {
                fan_in: w[0],
                fan_out: w[1],
                weight_variance: variance(w[0] as f64, w[1] as f64),
                bias_variance: 0.0,
                orthogonal: false,
                phi: Activation::Tanh,
            })
            .collect();
        predict(&layers, 1.0, 1.0)
    }

    #[test]
    fn the_lectures_three_nets() {
        let small =
            [0.2636, 0.07181, 0.01899, 0.004842, 0.001186, 2.782e-4, 6.220e-5, 1.319e-5, 2.639e-6, 4.937e-7];
        let xavier = [0.6325, 0.4938, 0.4183, 0.3700, 0.3364, 0.3117, 0.2930, 0.2786, 0.2675, 0.2593];
        let lecun = [0.6279, 0.4863, 0.4082, 0.3576, 0.3216, 0.2944, 0.2729, 0.2554, 0.2409, 0.2285];
        let cases = [
            (lecture(|_, _| 1e-4), small),
            (lecture(|i, o| 2.0 / (i + o)), xavier),
            (lecture(|i, _| 1.0 / i), lecun),
        ];
        for (got, expected) in cases {
            for (layer, (got, expected)) in got.iter().zip(expected).enumerate() {
                assert!((got.std / expected - 1.0).abs() < 5e-4, "layer {layer}: {} {expected}", got.std);
                assert!(got.mean.abs() < 1e-12 && (got.rms - got.std).abs() < 1e-12);
            }
        }
    }

    /// The factor of the squared gradient is `n_out σ²` without an activation; a ReLU halves it.
    #[test]
    fn gradients_go_back_by_fan_out() {
        for (phi, factor) in [(Activation::Identity, 1.0), (Activation::Relu, 0.5)] {
            let layer = |fan_in, fan_out| LayerLaw {
                fan_in,
                fan_out,
                weight_variance: 0.02,
                bias_variance: 0.1,
                orthogonal: false,
                phi,
            };
            let got = predict(&[layer(10, 30), layer(30, 50), layer(50, 70)], 2.0, 3.0);
            let squares: Vec<f64> = got.iter().map(|layer| layer.gradient_rms.powi(2)).collect();
            let expected =
                [9.0 * (70.0 * 0.02 * factor) * (50.0 * 0.02 * factor), 9.0 * 70.0 * 0.02 * factor, 9.0];
            for (got, expected) in squares.iter().zip(expected) {
                assert!((got / expected - 1.0).abs() < 1e-12, "{phi}: {squares:?}");
            }
            assert!((got[0].pre_activation_variance - (10.0 * 0.02 * 2.0 + 0.1)).abs() < 1e-15);
        }
    }

    #[test]
    fn jacobians_of_linear_and_relu_nets() {
        for (phi, weight, gaussian, orthogonal) in
            [(Activation::Identity, 1.0, 1.0, 0.0), (Activation::Relu, 2.0, 2.0, 1.0)]
        {
            for depth in [1, 7] {
                let variance = |orthogonal| jacobian_spectrum(&phi, weight, 1.3, depth, orthogonal).1;
                assert!((variance(false) - gaussian * f64::from(depth)).abs() < 1e-9, "{phi} {depth}");
                assert!((variance(true) - orthogonal * f64::from(depth)).abs() < 1e-9, "{phi} {depth}");
            }
        }
        assert!((inverse_width_sum(&[10, 20, 40]) - 0.175).abs() < 1e-15);
        assert!((length_second_moment(&[10, 20], false) - 1.2 * 1.1).abs() < 1e-15);
    }
}
