//! The entry point: the forward pass of the simulation, then the backward pass.

use super::backward::gradient_bands;
use super::band::Band;
use super::forward::forward;
use super::geometry::BatchGeometry;
use super::layer::Layer;
use super::noise::Normals;
use crate::network::LayerLaw;
use crate::nonlinearity::Nonlinearity;

/// What to expect of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerBands {
    /// The standard deviation of the outputs, over units and samples.
    pub std: Band,
    /// `√E (∂J/∂h)²`, over units and samples. Of the last layer it is given.
    pub gradient_rms: Band,
}

/// For each layer, first to last, where 95 % of the draws of the weights leave the standard deviation of its
/// outputs and the root mean square of its gradients, given the input and the gradients of the loss with
/// respect to the last outputs.
///
/// A seeded simulation, of a few numbers for each layer and not of the net: given the layer below, a layer's
/// mean square is a mean over `n` independent units and so varies by `Var/n`, which for a batch is the mean
/// of `Cov(φ²(u_a), φ²(u_b))` over its pairs, by their correlation, and in which a pair of a sample with
/// itself counts once in so many. Lengths go on by the length map, correlations by the correlation map, which
/// finite layers blur by `1/n`. Backward the same, with gates `φ'²` that vary with the lengths they see; `W`
/// being met both ways adds a factor `1 + (E[z² φ'²]/E φ'² - 1)/n`. For one sample of a ReLU net this is the
/// law of Hanin and Rolnick (2018, arXiv 1803.01719), for one of a linear net that of Cohen and Newman
/// (1984). Of orthogonal weights, what goes by the length alone does not vary where they keep lengths.
///
/// ```
/// use wick_theory::{Activation, BatchGeometry, LayerLaw, finite_width};
///
/// // Tanh, width 512, 100 layers, σ_w = 1, one sample: for wide layers the last std would be .0712.
/// let layer = LayerLaw {
///     fan_in: 512,
///     fan_out: 512,
///     weight_variance: 1.0 / 512.0,
///     bias_variance: 0.0,
///     orthogonal: false,
///     phi: Activation::Tanh,
/// };
/// let last = finite_width(&[layer; 100], &BatchGeometry::normal(1, 512, 1.0), &BatchGeometry::normal(1, 512, 1.0))[99];
/// assert!((last.std.middle - 0.0675).abs() < 0.002);
/// assert!(last.std.low < 0.0463 && last.std.high > 0.0882);
/// ```
pub fn finite_width<N: Nonlinearity>(
    layers: &[LayerLaw<N>],
    input: &BatchGeometry,
    gradient: &BatchGeometry,
) -> Vec<LayerBands> {
    let layers: Vec<Layer> = layers
        .iter()
        .map(|layer| LayerLaw {
            fan_in: layer.fan_in,
            fan_out: layer.fan_out,
            weight_variance: layer.weight_variance,
            bias_variance: layer.bias_variance,
            orthogonal: layer.orthogonal,
            phi: &layer.phi as &dyn Nonlinearity,
        })
        .collect();
    simulate(&layers, input, gradient)
}

/// The same for layers of any activation, so that the simulation is compiled here and once.
fn simulate(layers: &[Layer], input: &BatchGeometry, gradient: &BatchGeometry) -> Vec<LayerBands> {
    let mut normals = Normals::new();
    let forward = forward(layers, input, &mut normals);
    let gradients = gradient_bands(layers, &forward, gradient, &mut normals);
    forward
        .into_iter()
        .zip(gradients)
        .map(|(layer, gradient_rms)| LayerBands { std: layer.std, gradient_rms })
        .collect()
}
