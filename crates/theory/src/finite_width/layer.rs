//! A layer of any activation.

use crate::network::LayerLaw;
use crate::nonlinearity::Nonlinearity;

/// A layer with its activation behind a reference.
pub(super) type Layer<'a> = LayerLaw<&'a dyn Nonlinearity>;

/// The fraction of the variance of a norm that orthogonal weights conserve on the way from `from` units to
/// `to`: `min(to/from, 1)` in equations (14) and (21), and 0 for independent weights.
pub(super) fn conserved_fraction(layer: &Layer, to: usize, from: usize) -> f64 {
    if layer.orthogonal { (to as f64 / from as f64).min(1.0) } else { 0.0 }
}

/// What orthogonal weights change of a layer's forward pass; all 0 for independent weights.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Orthogonal {
    /// `ρ`, equation (14).
    pub(super) conserved: f64,
    /// `η`, equation (15): the mean of the fourth Hermite polynomial of a pre-activation.
    pub(super) fourth: f64,
}

impl Orthogonal {
    /// For a layer with this fraction of the pre-activations' variance from the weights.
    pub(super) fn new(layer: &Layer, weight_fraction: f64) -> Self {
        if !layer.orthogonal {
            return Self::default();
        }
        let square = weight_fraction * weight_fraction;
        let sphere = layer.fan_in.max(layer.fan_out) as f64;
        Self {
            conserved: square * conserved_fraction(layer, layer.fan_out, layer.fan_in),
            fourth: -1.5f64.sqrt() * square / (sphere + 2.0),
        }
    }
}
