//! The forward pass of the simulation, sections 2 to 5 of `docs/finite-width.md`.

use super::band::Band;
use super::geometry::BatchGeometry;
use super::layer::{Layer, Orthogonal};
use super::lengths::Lengths;
use super::noise::{DRAWS, Normals, gamma, median};
use super::pairs::Pairs;
use super::table::{LONGEST, Table};
use crate::network::std;
use crate::response::Response;

/// What the forward pass says of a layer: the band of its outputs, and what the backward pass needs.
pub(super) struct ForwardLayer {
    pub(super) std: Band,
    /// Integrals at the typical `q`.
    pub(super) typical: Response,
    /// Cosines and lengths of the pre-activations.
    pub(super) pairs: Pairs,
    /// `ω`, equation (2).
    pub(super) weight_fraction: f64,
    /// `ρ`, equation (14).
    pub(super) conserved: f64,
    /// `v/n`, the relative variance of the mean square, equation (5).
    pub(super) mean_square_variance: f64,
    /// `ξ` of each draw: the deviation of the mean square in its standard deviations.
    pub(super) mean_square_noise: Vec<f64>,
    /// `E φ'²` at the `q` of each draw.
    pub(super) slope_square: Vec<f64>,
}

/// What goes from layer to layer: the mean square `M` of each draw, and the geometry of the batch.
struct Signal {
    mean_squares: Vec<f64>,
    pairs: Pairs,
    lengths: Lengths,
}

/// All layers, first to last.
pub(super) fn forward(layers: &[Layer], input: &BatchGeometry, normals: &mut Normals) -> Vec<ForwardLayer> {
    let mut signal = Signal {
        mean_squares: vec![input.mean_square; DRAWS],
        pairs: Pairs::new(input),
        lengths: Lengths(input.lengths.clone()),
    };
    layers.iter().map(|layer| signal.pass(layer, normals)).collect()
}

impl Signal {
    /// Takes the signal through a layer.
    fn pass(&mut self, layer: &Layer, normals: &mut Normals) -> ForwardLayer {
        let units = layer.fan_out as f64;
        let weight = layer.fan_in as f64 * layer.weight_variance;
        let variances: Vec<f64> =
            self.mean_squares.iter().map(|square| weight * square + layer.bias_variance).collect(); // (1)
        let median_q = median(&variances);
        let weight_fraction = self.pass_affine(layer, median_q);
        let orthogonal = Orthogonal::new(layer, weight_fraction);
        let conserved = orthogonal.conserved;
        let table = Table::new(layer.phi, &variances, &self.pairs, &self.lengths, orthogonal);
        let q = median_q.min(LONGEST);
        let typical = Response::new(layer.phi, q);

        let mean_square_noise = normals.draws();
        let mean_noise = normals.draws();
        let mut stds = Vec::with_capacity(DRAWS);
        let mut slope_square = Vec::with_capacity(DRAWS);
        for draw in 0..DRAWS {
            let (row, noise) = (table.at(variances[draw]), mean_square_noise[draw]);
            let mean_square = row.mean_square * gamma(row.mean_square_variance / units, noise);
            // (11), in units of the root of the mean square.
            let explained = noise * (row.mean_square_variance / units).sqrt() * row.mean_slope;
            let mean = row.mean + explained + mean_noise[draw] * (row.residual_mean_variance / units).sqrt();
            stds.push(std(mean_square, row.mean_square * mean * mean));
            slope_square.push(row.slope_square);
            self.mean_squares[draw] = mean_square;
        }
        let pairs = self.pairs;
        self.pass_activation(layer, &typical, q, conserved);
        ForwardLayer {
            std: Band::from_draws(stds),
            mean_square_variance: pairs.mean_over_all(|c| typical.cov_squares(c, conserved)).max(0.0) / units,
            typical,
            pairs,
            weight_fraction,
            conserved,
            mean_square_noise,
            slope_square,
        }
    }

    /// The geometry of the pre-activations, equations (2) and (3); gives the weight fraction.
    fn pass_affine(&mut self, layer: &Layer, q: f64) -> f64 {
        let weight_fraction = if q > 0.0 { 1.0 - layer.bias_variance / q } else { 1.0 };
        self.lengths = self.lengths.map(|length| weight_fraction * length + (1.0 - weight_fraction));
        self.pairs = Pairs {
            mean: weight_fraction * self.pairs.mean + (1.0 - weight_fraction),
            variance: self.pairs.variance * weight_fraction * weight_fraction,
            length_variance: self.lengths.variance(),
            ..self.pairs
        };
        weight_fraction
    }

    /// The geometry of the outputs, equations (12) and (13).
    fn pass_activation(&mut self, layer: &Layer, typical: &Response, q: f64, conserved: f64) {
        let (units, pairs) = (layer.fan_out as f64, self.pairs);
        let square = typical.mean_square;
        let mean = pairs.mean_of(|c| if square > 0.0 { typical.product_of_values(c) / square } else { c });
        let map_slope = if square > 0.0 { q * typical.product_of_slopes(pairs.mean) / square } else { 1.0 };
        if pairs.samples > 1.0 {
            let own = pairs.own_part(|c| typical.cov_squares(c, conserved)) / units;
            self.lengths = self.lengths.map(|length| Response::means(layer.phi, q * length)[1]).spread(own);
        }
        self.pairs =
            Pairs { mean, variance: pairs.variance * map_slope * map_slope, ..pairs }.blurred(1.0, units);
    }
}
