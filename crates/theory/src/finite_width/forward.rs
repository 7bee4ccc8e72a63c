//! The forward pass of the simulation, sections 2 to 5 of `docs/finite-width.md`.

use super::band::Band;
use super::geometry::BatchGeometry;
use super::layer::{Layer, Orthogonal};
use super::lengths::Lengths;
use super::noise::{DRAWS, Normals, gamma, median};
use super::pairs::Pairs;
use super::samples::{Offset, OwnNoise, count, mean_and_variance, to_large_batch};
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
    /// `ξ` of each draw: the deviation of the mean square in its standard deviations.
    pub(super) mean_square_noise: Vec<f64>,
    /// The random factor of the mean square of each draw.
    pub(super) mean_square_factor: Vec<f64>,
    /// Which of the samples' own numbers the layer takes.
    pub(super) own: Offset,
    /// The gates of each draw.
    pub(super) gates: Vec<Gates>,
    /// `q` of each draw.
    pub(super) q_of_draws: Vec<f64>,
    /// `E φ'²` at the `q` of each draw.
    pub(super) slope_of_draws: Vec<f64>,
    /// `E φ'²` at the `q` of each draw and sample.
    pub(super) slope_square: Vec<f64>,
}

/// The fluctuation of the factors `φ'²` of one unit, at the `q` of a draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gates {
    /// `⟨χ(c)⟩ - 1`, equation (17).
    pub(super) of_pair: f64,
    /// `χ(1) - 1`.
    pub(super) of_self: f64,
    /// `⟨ν(c)⟩`, the part of it that the norm of the pre-activations has, and `ν(1)`.
    pub(super) by_norm: [f64; 2],
    /// The correlation of the common part of the factors with that of the outputs' mean square, but for the root of
    /// their variance.
    pub(super) covariance: f64,
    /// That of a sample's own part.
    pub(super) own_covariance: f64,
}

/// What goes from layer to layer: the mean squares of each draw and sample, and the geometry of the batch.
struct Signal<'a> {
    mean_squares: Vec<f64>,
    pairs: Pairs,
    own: &'a OwnNoise,
}

/// All layers, first to last.
pub(super) fn forward(
    layers: &[Layer],
    input: &BatchGeometry,
    own: &OwnNoise,
    normals: &mut Normals,
) -> Vec<ForwardLayer> {
    let pairs = Pairs::new(input);
    let lengths = Lengths(input.lengths.clone()).resampled(count(pairs.samples));
    let sample = |length: &f64| input.mean_square * length;
    let mut signal =
        Signal { mean_squares: (0..DRAWS).flat_map(|_| lengths.iter().map(sample)).collect(), pairs, own };
    layers.iter().map(|layer| signal.pass(layer, normals)).collect()
}

impl Signal<'_> {
    /// Takes the signal through a layer.
    fn pass(&mut self, layer: &Layer, normals: &mut Normals) -> ForwardLayer {
        let units = layer.fan_out as f64;
        let samples = self.mean_squares.len() / DRAWS;
        let weight = layer.fan_in as f64 * layer.weight_variance;
        let mut variances = std::mem::take(&mut self.mean_squares);
        variances.iter_mut().for_each(|square| *square = weight * *square + layer.bias_variance); // (1)
        let (q_of_draws, length_variances): (Vec<f64>, Vec<f64>) =
            variances.chunks_exact(samples).map(mean_and_variance).unzip();
        let median_q = median(&q_of_draws);
        let weight_fraction = self.pass_affine(layer, median_q, median(&length_variances));
        let orthogonal = Orthogonal::new(layer, weight_fraction);
        let range = variances.iter().fold([f64::INFINITY, 0.0], |[low, high], &q| [low.min(q), q.max(high)]);
        let table = Table::new(layer.phi, range, &self.pairs, orthogonal);
        let q = median_q.min(LONGEST);
        let typical = Response::new(layer.phi, q);

        let (mean_square_noise, mean_noise) = (normals.draws(), normals.draws());
        let own = self.own.offset(normals);
        let mut stds = Vec::with_capacity(DRAWS);
        let mut gates = Vec::with_capacity(DRAWS);
        let mut slope_of_draws = Vec::with_capacity(DRAWS);
        let mut mean_square_factor = Vec::with_capacity(DRAWS);
        let mut drifts = Vec::with_capacity(DRAWS);
        let mut slope_square = Vec::with_capacity(DRAWS * samples);
        let draws = variances.chunks_exact_mut(samples).zip(q_of_draws.iter().zip(length_variances));
        for (draw, (variances, (&q, length_variance))) in draws.enumerate() {
            let (row, noise) = (table.at(q), mean_square_noise[draw]);
            let p = self.pairs.self_pair_fraction(length_variance);
            let common = (1.0 - p) * row.pair_variance + p * row.self_variance; // (8)
            let own_variance = (row.self_variance - common).max(0.0) / units; // (13)
            let common_factor = gamma(common / units, noise);
            let (mut square, mut mean) = (0.0, 0.0);
            for (q, own_noise) in variances.iter_mut().zip(self.own.of(own, draw)) {
                let [mean_square, slope, ratio] = table.means(*q);
                mean += ratio * mean_square.sqrt();
                *q = mean_square * common_factor * gamma(own_variance, own_noise);
                square += *q;
                slope_square.push(slope);
            }
            let (square, mean) = (square / samples as f64, mean / samples as f64);
            let root = (square / common_factor).sqrt();
            // (11), in units of the root of the mean square.
            let explained = noise * (common / units).sqrt() * row.mean_slope;
            let mean =
                mean / root + explained + mean_noise[draw] * (row.residual_mean_variance / units).sqrt();
            let mean = if mean.is_finite() { mean } else { 0.0 };
            stds.push(std(square, square / common_factor * mean * mean));
            mean_square_factor.push(common_factor);
            drifts.push(square / common_factor / row.mean_square);
            slope_of_draws.push(row.slope_square);
            let covariance = (1.0 - p) * row.pair_covariance + p * row.self_covariance;
            let over_root = |covariance: f64, variance: f64| {
                if variance > 0.0 { covariance / variance.sqrt() } else { 0.0 }
            };
            gates.push(Gates {
                of_pair: row.pair_gates,
                of_self: row.self_gates,
                by_norm: [row.pair_norm, row.self_norm],
                covariance: over_root(covariance, common),
                own_covariance: over_root(row.self_covariance - covariance, row.self_variance - common),
            });
        }
        let factors = to_large_batch(self.pairs.samples, &q_of_draws, &drifts);
        stds.iter_mut().zip(&factors).for_each(|(std, factor)| *std *= factor.sqrt());
        for (squares, factor) in variances.chunks_exact_mut(samples).zip(factors) {
            squares.iter_mut().for_each(|square| *square *= factor);
        }
        self.mean_squares = variances;
        let pairs = self.pairs;
        self.pass_activation(layer, &typical, q);
        ForwardLayer {
            std: Band::from_draws(stds),
            typical,
            pairs,
            weight_fraction,
            mean_square_noise,
            mean_square_factor,
            own,
            gates,
            q_of_draws,
            slope_of_draws,
            slope_square,
        }
    }

    /// The geometry of the pre-activations, equations (2) and (3); gives the weight fraction.
    fn pass_affine(&mut self, layer: &Layer, q: f64, length_variance: f64) -> f64 {
        let weight_fraction = if q > 0.0 { 1.0 - layer.bias_variance / q } else { 1.0 };
        self.pairs = Pairs {
            mean: weight_fraction * self.pairs.mean + (1.0 - weight_fraction),
            variance: self.pairs.variance * weight_fraction * weight_fraction,
            length_variance,
            ..self.pairs
        };
        weight_fraction
    }

    /// The cosines of the outputs, equation (12).
    fn pass_activation(&mut self, layer: &Layer, typical: &Response, q: f64) {
        let (units, pairs) = (layer.fan_out as f64, self.pairs);
        let square = typical.mean_square;
        let mean = pairs.mean_of(|c| if square > 0.0 { typical.product_of_values(c) / square } else { c });
        let map_slope = if square > 0.0 { q * typical.product_of_slopes(pairs.mean) / square } else { 1.0 };
        self.pairs =
            Pairs { mean, variance: pairs.variance * map_slope * map_slope, ..pairs }.blurred(1.0, units);
    }
}
