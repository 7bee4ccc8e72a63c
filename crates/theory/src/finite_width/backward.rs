//! The backward pass of the simulation, section 6 of `docs/finite-width.md`.

use super::band::Band;
use super::forward::{ForwardLayer, Gates};
use super::geometry::BatchGeometry;
use super::layer::{Layer, conserved_fraction};
use super::lengths::Lengths;
use super::noise::{DRAWS, Normals, gamma};
use super::pairs::Pairs;
use super::samples::{OwnNoise, count, mean_and_variance, to_large_batch, unrelated};

/// The bands of the gradient's root mean square at the outputs of each layer, first to last.
pub(super) fn gradient_bands(
    layers: &[Layer],
    forward: &[ForwardLayer],
    [input, gradient]: [&BatchGeometry; 2],
    own: &OwnNoise,
    normals: &mut Normals,
) -> Vec<Band> {
    let mut pairs = Pairs::new(gradient);
    let lengths = Lengths(input.lengths.clone()).resampled(count(input.samples as f64));
    let of_gradients = unrelated(&Lengths(gradient.lengths.clone()), &lengths);
    let sample = |length: &f64| gradient.mean_square * length;
    let mut mean_squares: Vec<f64> = (0..DRAWS).flat_map(|_| of_gradients.iter().map(sample)).collect();
    let band = |mean_squares: &[f64]| {
        let draws = mean_squares.chunks_exact(lengths.len());
        Band::from_draws(draws.map(|draw| mean_and_variance(draw).0.sqrt()).collect())
    };
    let mut bands = vec![band(&mean_squares)];
    // The gradients of the last outputs are related to nothing.
    let mut radial = normals.draws();
    for (layer, forward) in layers.iter().zip(forward).rev().take(layers.len().saturating_sub(1)) {
        let step = Step::new(layer, forward, &pairs);
        let factors = step.radial(forward, &mut radial, normals);
        step.pass(forward, own, &mut mean_squares, &factors, &mut radial, normals);
        pairs = step.pairs;
        bands.push(band(&mean_squares));
    }
    bands.reverse();
    bands.truncate(layers.len());
    bands
}

/// One layer backward, from the gradient of its outputs to that of its inputs, equation (16).
struct Step {
    units: f64,
    inputs: f64,
    /// `n σ²`.
    factor: f64,
    /// Whether the norm of what passes the weights is given.
    orthogonal: bool,
    /// The mean square cosine of the gradients of the outputs.
    cosine_square: f64,
    /// The variance of the norm of one sample's gradient, and the part that a pair has in common.
    norm_variance: [f64; 2],
    /// The cosines of the gradients of the inputs.
    pairs: Pairs,
}

impl Step {
    fn new(layer: &Layer, forward: &ForwardLayer, gradients: &Pairs) -> Self {
        let (units, inputs) = (layer.fan_out as f64, layer.fan_in as f64);
        let gated = gated_pairs(units, forward, gradients);
        let free = 1.0 - conserved_fraction(layer, layer.fan_in, layer.fan_out);
        Self {
            units,
            inputs,
            factor: units * layer.weight_variance,
            orthogonal: layer.orthogonal,
            cosine_square: gradients.mean_square(),
            norm_variance: [2.0 * free / inputs, 2.0 * free * gated.mean_square() / inputs],
            pairs: gated.blurred(1.0, inputs),
        }
    }

    /// Takes the component of the gradient along the signal through the layer, equation (19), and gives the factor of
    /// each draw that comes from it.
    fn radial(&self, forward: &ForwardLayer, radial: &mut [f64], normals: &mut Normals) -> Vec<f64> {
        let typical = &forward.typical;
        let omega = forward.weight_fraction;
        let kept = omega * typical.radial;
        let fresh = (omega * typical.slope_input_ratio + 1.0 - omega - kept).max(0.0);
        let gated_along = typical.cov_squared_slopes_and_squares(1.0, 0.0) / self.units;
        let of_weights = if self.orthogonal { 0.0 } else { 1.0 / self.inputs };
        let mean = |radial: &[f64]| radial.iter().map(|y| y * y).sum::<f64>() / DRAWS as f64;
        // The mean of the squares of many samples deviates less than that of one.
        let p = self.pairs.self_pair_fraction(self.pairs.length_variance);
        let common = (p + (1.0 - p) * self.cosine_square).sqrt();
        let above = mean(radial);
        let excess = |y: f64, mean: f64| mean + common * (y * y - mean) - 1.0;
        let mut factors: Vec<f64> = radial.iter().map(|&y| 1.0 + gated_along * excess(y, above)).collect();
        for (y, noise) in radial.iter_mut().zip(normals.draws()) {
            let across = (1.0 - *y * *y / self.units).max(0.0);
            *y = kept.sqrt() * *y + (fresh * across).sqrt() * noise;
        }
        let below = mean(radial);
        for (factor, &y) in factors.iter_mut().zip(radial.iter()) {
            *factor = (*factor + of_weights * excess(y, below)).max(0.1);
        }
        factors
    }

    /// Multiplies the mean square of each draw and sample by its factor, equation (16).
    fn pass(
        &self,
        forward: &ForwardLayer,
        own: &OwnNoise,
        mean_squares: &mut [f64],
        factors: &[f64],
        radial: &mut [f64],
        normals: &mut Normals,
    ) {
        let samples = mean_squares.len() / DRAWS;
        let (gate_noise, norm_noise) = (normals.draws(), normals.draws());
        let own_offsets = [own.offset(normals), own.offset(normals)];
        let slopes = forward.slope_square.chunks_exact(samples);
        let mut drifts = Vec::with_capacity(DRAWS);
        for (draw, (squares, slopes)) in mean_squares.chunks_exact_mut(samples).zip(slopes).enumerate() {
            let gates = &forward.gates[draw];
            let before = mean_and_variance(squares).0;
            squares.iter_mut().zip(slopes).for_each(|(square, slope)| *square *= slope);
            let p = self.pairs.self_pair_fraction(mean_and_variance(squares).1); // (18)
            let [gate, own_gate] = self.gate_variances(gates, p);
            let norm = (1.0 - p) * self.norm_variance[1] + p * self.norm_variance[0]; // (21)
            let own_norm = (self.norm_variance[0] - norm).max(0.0);
            let forward_noise = forward.mean_square_noise[draw];
            let noise = related(gates.covariance, gate, forward_noise, gate_noise[draw], self.units);
            let random = factors[draw] * gamma(gate, noise) * gamma(norm, norm_noise[draw]);
            // The component along the signal is over the lengths of both, and no more than the whole.
            let over_lengths = (forward.mean_square_factor[draw] / random.max(f64::MIN_POSITIVE)).sqrt();
            let whole = self.inputs.sqrt();
            radial[draw] = (radial[draw] * over_lengths).clamp(-whole, whole);
            let common = self.factor * random;
            let noises = own.of(forward.own, draw).zip(own.of(own_offsets[0], draw));
            for ((square, (forward_noise, gate_noise)), norm_noise) in
                squares.iter_mut().zip(noises).zip(own.of(own_offsets[1], draw))
            {
                let noise = related(gates.own_covariance, own_gate, forward_noise, gate_noise, self.units);
                *square *= common * gamma(own_gate, noise) * gamma(own_norm, norm_noise);
            }
            drifts.push(mean_and_variance(squares).0 / (before * common * forward.slope_of_draws[draw]));
        }
        let factors = to_large_batch(self.pairs.samples, &forward.q_of_draws, &drifts);
        for (squares, factor) in mean_squares.chunks_exact_mut(samples).zip(factors) {
            squares.iter_mut().for_each(|square| *square *= factor);
        }
    }

    /// `Var Γ_gates`, equation (17): that of the batch, and that of each sample about it.
    fn gate_variances(&self, gates: &Gates, p: f64) -> [f64; 2] {
        let [pair_norm, self_norm] = gates.by_norm;
        let of_pair = (gates.of_pair * (1.0 + 2.0 * self.cosine_square) - pair_norm).max(0.0);
        let of_self = (3.0 * gates.of_self - self_norm).max(0.0);
        let common = (1.0 - p) * of_pair + p * of_self;
        [common / self.units, (of_self - common).max(0.0) / self.units]
    }
}

/// The noise of a factor of this variance that has a covariance with the forward pass.
fn related(covariance: f64, variance: f64, forward: f64, noise: f64, units: f64) -> f64 {
    if variance <= 0.0 {
        return 0.0;
    }
    let correlation = (covariance / (variance * units).sqrt()).clamp(-1.0, 1.0);
    correlation * forward + (1.0 - correlation * correlation).sqrt() * noise
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
