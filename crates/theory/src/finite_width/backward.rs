//! The backward pass of the simulation, section 6 of `docs/finite-width.md`.

use super::band::Band;
use super::forward::ForwardLayer;
use super::geometry::BatchGeometry;
use super::layer::{Layer, conserved_fraction};
use super::noise::{DRAWS, Normals, gamma};
use super::pairs::Pairs;

/// The bands of the gradient's root mean square at the outputs of each layer, first to last.
pub(super) fn gradient_bands(
    layers: &[Layer],
    forward: &[ForwardLayer],
    gradient: &BatchGeometry,
    normals: &mut Normals,
) -> Vec<Band> {
    let mut mean_squares = vec![gradient.mean_square; DRAWS];
    let mut pairs = Pairs::new(gradient);
    let band =
        |mean_squares: &[f64]| Band::from_draws(mean_squares.iter().map(|square| square.sqrt()).collect());
    let mut bands = vec![band(&mean_squares)];
    for (layer, forward) in layers.iter().zip(forward).rev().take(layers.len().saturating_sub(1)) {
        let step = Step::new(layer, forward, &pairs);
        step.pass(forward, &mut mean_squares, normals);
        pairs = step.pairs;
        bands.push(band(&mean_squares));
    }
    bands.reverse();
    bands.truncate(layers.len());
    bands
}

/// One layer backward, from the gradient of its outputs to that of its inputs, equation (16).
struct Step {
    /// `n σ² t`.
    factor: f64,
    gates: Gates,
    /// `Var Γ_norm`, equation (21).
    norm_variance: f64,
    /// The cosines of the gradients of the inputs.
    pairs: Pairs,
}

/// The fluctuation of the factors `φ'²` over the units.
struct Gates {
    /// `Var Γ_gates`, equation (17).
    variance: f64,
    /// The correlation with the forward mean square.
    correlation: f64,
    /// The self-pair fraction, equation (18).
    self_pair_fraction: f64,
    /// The variance that a sample's gradient has beyond that of a pair, times the units.
    own_variance: f64,
}

impl Gates {
    fn new(units: f64, forward: &ForwardLayer, gradients: &Pairs) -> Self {
        let chi = |c: f64| forward.typical.product_of_squared_slopes(c);
        let self_pair_fraction =
            gradients.self_pair_fraction(forward.pairs.length_variance.max(gradients.length_variance));
        let of_pair = forward.pairs.mean_of(|c| chi(c) - 1.0) * (1.0 + 2.0 * gradients.mean_square());
        let of_self = (chi(1.0) - 1.0) * 3.0;
        let variance = ((1.0 - self_pair_fraction) * of_pair + self_pair_fraction * of_self).max(0.0) / units;
        let covariance = forward
            .pairs
            .mean_over_all(|c| forward.typical.cov_squared_slopes_and_squares(c, forward.conserved))
            / units;
        let correlation = covariance / (variance * forward.mean_square_variance).sqrt();
        Self {
            variance,
            correlation: if correlation.is_finite() { correlation.clamp(-1.0, 1.0) } else { 0.0 },
            self_pair_fraction,
            own_variance: (of_self - of_pair).max(0.0),
        }
    }
}

impl Step {
    fn new(layer: &Layer, forward: &ForwardLayer, gradients: &Pairs) -> Self {
        let (units, inputs) = (layer.fan_out as f64, layer.fan_in as f64);
        let gates = Gates::new(units, forward, gradients);
        let reuse_factor = if layer.orthogonal {
            1.0
        } else {
            1.0 + forward.weight_fraction * (forward.typical.slope_input_ratio - 1.0) / inputs // (19)
        };
        let gated = gated_pairs(units, forward, gradients);
        let (p, mean_square) = (gates.self_pair_fraction, gated.mean_square());
        let free = 1.0 - conserved_fraction(layer, layer.fan_in, layer.fan_out);
        let own = gates.own_variance / units + 2.0 * (1.0 - mean_square) * free / inputs; // (22)
        Self {
            factor: units * layer.weight_variance * reuse_factor,
            norm_variance: free * ((1.0 - p) * 2.0 * mean_square + p * 2.0) / inputs,
            pairs: Pairs { length_variance: gradients.length_variance + own, ..gated }.blurred(1.0, inputs),
            gates,
        }
    }

    /// Multiplies the mean square of each draw by its factor, equation (16).
    fn pass(&self, forward: &ForwardLayer, mean_squares: &mut [f64], normals: &mut Normals) {
        let (gate_noise, norm_noise) = (normals.draws(), normals.draws());
        let correlation = self.gates.correlation;
        let residual = (1.0 - correlation * correlation).sqrt();
        for draw in 0..DRAWS {
            let noise = correlation * forward.mean_square_noise[draw] + residual * gate_noise[draw];
            mean_squares[draw] *= self.factor
                * forward.slope_square[draw]
                * gamma(self.gates.variance, noise)
                * gamma(self.norm_variance, norm_noise[draw]);
        }
    }
}

/// The cosines of the gradients behind the gates, equation (20).
fn gated_pairs(units: f64, forward: &ForwardLayer, gradients: &Pairs) -> Pairs {
    let typical = &forward.typical;
    let chi = |c: f64| typical.product_of_squared_slopes(c);
    let cosine = |c: f64| {
        if typical.slope_square > 0.0 { typical.product_of_slopes(c) / typical.slope_square } else { 1.0 }
    };
    let kept = cosine(forward.pairs.mean);
    let noise = forward.pairs.mean_of(|c| chi(c) - cosine(c).powi(2)).max(0.0);
    Pairs { mean: gradients.mean * kept, variance: gradients.variance * kept * kept, ..*gradients }
        .blurred(noise, units)
}
