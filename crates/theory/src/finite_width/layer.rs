//! A layer of any activation.

use crate::network::LayerLaw;
use crate::nonlinearity::Nonlinearity;

/// A layer with its activation behind a reference.
pub(super) type Layer<'a> = LayerLaw<&'a dyn Nonlinearity>;

/// The fraction of the variance of a norm that orthogonal weights conserve on the way from `from` units to
/// `to`: `min(to/from, 1)` in equations (14) and (20), and 0 for independent weights.
pub(super) fn conserved_fraction(layer: &Layer, to: usize, from: usize) -> f64 {
    if layer.orthogonal { (to as f64 / from as f64).min(1.0) } else { 0.0 }
}
