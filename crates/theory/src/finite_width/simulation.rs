//! The entry point: the forward pass of the simulation, then the backward pass.

use super::backward::gradient_bands;
use super::band::Band;
use super::forward::forward;
use super::geometry::BatchGeometry;
use super::layer::Layer;
use super::noise::Normals;
use super::samples::{OwnNoise, count};
use crate::network::LayerLaw;
use crate::nonlinearity::Nonlinearity;

/// The bands of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerBands {
    /// The standard deviation of the outputs, over units and samples.
    pub std: Band,
    /// `√E (∂J/∂h)²`, over units and samples. That of the last layer is given.
    pub gradient_rms: Band,
}

/// Predicts the bands of each layer, first to last: the median and the interval of 95 % of the draws of the
/// weights, for the standard deviation of the outputs and for the root mean square of the gradients, given
/// the input and the gradients of the loss with respect to the last outputs.
///
/// The function simulates a recursion with a fixed seed, of a few numbers per layer, and not the network:
///
/// - Given its input, a layer's mean square is a mean over `n` independent units, so its relative variance is
///   `v/n`. For a batch, `v` is the mean of `Cov(φ²(u_a), φ²(u_b))` over all pairs of samples, which depends
///   on their correlation; a pair of a sample with itself is one of `B`.
/// - Up to 8 samples stand for the batch in each draw, each of which goes on by the length map with fluctuations of its
///   own: where that map has a fixed point that is not stable, they go more than one way. Correlations go on by the
///   correlation map, which finite layers blur by `1/n`.
/// - Backward is the same, with gates `φ'²` whose fluctuations are correlated with those of the forward pass, in each
///   draw and in each sample. `W` is used in both directions, which carries the gradient's component along the signal
///   from layer to layer.
/// - Orthogonal weights preserve norms, so the part of the variance that comes from the norm vanishes.
///
/// For one sample of a ReLU net this is the law of Hanin and Rolnick (2018, arXiv 1803.01719), for one of a
/// linear net that of Cohen and Newman (1984). `docs/finite-width.md` in the repository has the derivation,
/// with what is assumed.
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
/// let sample = BatchGeometry::normal(1, 512, 1.0);
/// let last = finite_width(&[layer; 100], &sample, &sample)[99];
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

/// [`finite_width`] without a type parameter, so that the simulation is compiled once and in this crate.
fn simulate(layers: &[Layer], input: &BatchGeometry, gradient: &BatchGeometry) -> Vec<LayerBands> {
    let mut normals = Normals::new();
    let own = OwnNoise::new(count(input.samples as f64), &mut normals);
    let forward = forward(layers, input, &own, &mut normals);
    let gradients = gradient_bands(layers, &forward, [input, gradient], &own, &mut normals);
    forward
        .into_iter()
        .zip(gradients)
        .map(|(layer, gradient_rms)| LayerBands { std: layer.std, gradient_rms })
        .collect()
}
