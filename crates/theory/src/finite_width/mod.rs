//! Networks whose layers are not wide: how far a draw of the weights strays.

mod batch;
mod table;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

pub use batch::BatchGeometry;
use batch::{Lengths, Pairs};
use table::Table;

use crate::network::LayerLaw;
use crate::nonlinearity::Nonlinearity;
use crate::response::Response;

/// Where a number is expected, over the draws of the weights: its median, and the band that holds 95 % of
/// them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// 2.5 % of the draws are below.
    pub low: f64,
    /// The median.
    pub middle: f64,
    /// 2.5 % of the draws are above.
    pub high: f64,
}

impl Band {
    /// Whether a number is in the band, its ends included.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }

    fn of(mut draws: Vec<f64>) -> Self {
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| draws[(share * (draws.len() - 1) as f64).round() as usize];
        Self { low: at(0.025), middle: at(0.5), high: at(0.975) }
    }
}

/// What to expect of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerBands {
    /// The standard deviation of the outputs, over units and samples.
    pub std: Band,
    /// `√E (∂J/∂h)²`, over units and samples. Of the last layer it is given.
    pub gradient_rms: Band,
}

/// Beyond this, every activation goes like a power of the length (the sine stays), and integrals get long.
const LONGEST: f64 = 1e4;
/// Draws of the simulation.
const DRAWS: usize = 4000;
const SEED: u64 = 0x57_49_43_4b;

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

/// A layer whose activation may be any: what follows is compiled here and once.
type Layer<'a> = LayerLaw<&'a dyn Nonlinearity>;

fn simulate(layers: &[Layer], input: &BatchGeometry, gradient: &BatchGeometry) -> Vec<LayerBands> {
    let mut normals = Normals(Xoshiro256PlusPlus::seed_from_u64(SEED));
    let forward = forward(layers, input, &mut normals);
    let gradients = backward(layers, &forward, gradient, &mut normals);
    forward
        .into_iter()
        .zip(gradients)
        .map(|(layer, gradient_rms)| LayerBands { std: layer.std, gradient_rms })
        .collect()
}

/// What the backward pass needs to know of a layer's forward pass.
struct Forward {
    std: Band,
    typical: Response,
    pairs: Pairs,
    /// The share of the weights, not the bias, in the variance of the pre-activations.
    of_weights: f64,
    conserved: f64,
    /// The variance of the mean square, relative.
    variance: f64,
    /// For each draw, by how many of its standard deviations the mean square was off, and `E φ'²` at its
    /// length.
    off: Vec<f64>,
    slope_square: Vec<f64>,
}

fn forward(layers: &[Layer], input: &BatchGeometry, normals: &mut Normals) -> Vec<Forward> {
    let mut mean_squares = vec![input.mean_square; DRAWS];
    let mut inputs = Pairs::of(input);
    let mut sizes = Lengths(input.lengths.clone());
    let mut passed = Vec::with_capacity(layers.len());
    for layer in layers {
        let units = layer.fan_out as f64;
        let weight = layer.fan_in as f64 * layer.weight_variance;
        let lengths: Vec<f64> =
            mean_squares.iter().map(|square| weight * square + layer.bias_variance).collect();
        let length = median(&lengths);
        // What all samples share, a bias makes more alike.
        let of_weights = if length > 0.0 { 1.0 - layer.bias_variance / length } else { 1.0 };
        sizes = sizes.through(|size| of_weights * size + (1.0 - of_weights));
        let pairs = Pairs {
            mean: of_weights * inputs.mean + (1.0 - of_weights),
            variance: inputs.variance * of_weights * of_weights,
            spread: sizes.spread(),
            ..inputs
        };
        let conserved = of_weights * of_weights * conserved(layer, layer.fan_out, layer.fan_in);
        let table = Table::new(layer.phi, &lengths, &pairs, &sizes, conserved);
        let seen = length.min(LONGEST);
        let typical = Response::at(layer.phi, seen);

        let mut off = vec![0.0; DRAWS];
        normals.fill(&mut off);
        let mut sideways = vec![0.0; DRAWS];
        normals.fill(&mut sideways);
        let mut stds = vec![0.0; DRAWS];
        let mut slope_square = vec![0.0; DRAWS];
        for draw in 0..DRAWS {
            let at = table.at(lengths[draw]);
            let square = at.mean_square * gamma(at.variance / units, off[draw]);
            // The mean of the outputs goes with their mean square, and strays by itself.
            let along = off[draw] * (at.variance / units).sqrt() * at.along;
            let mean = at.mean + along + sideways[draw] * (at.sideways / units).sqrt();
            stds[draw] = (square - at.mean_square * mean * mean).max(0.0).sqrt();
            slope_square[draw] = at.slope_square;
            mean_squares[draw] = square;
        }

        let cosine =
            |c: f64| if typical.mean_square > 0.0 { typical.values(c) / typical.mean_square } else { c };
        let mean = pairs.of_two(cosine);
        let slope = if typical.mean_square > 0.0 {
            seen * typical.slopes(pairs.mean) / typical.mean_square
        } else {
            1.0
        };
        if pairs.samples > 1.0 {
            let own = pairs.own(|c| typical.squares(c, conserved)) / units;
            sizes = sizes.through(|size| Response::levels(layer.phi, seen * size)[1]).varied(own);
        }
        inputs = Pairs { mean, variance: pairs.variance * slope * slope, ..pairs }.blurred(1.0, units);
        let variance = pairs.over(|c| typical.squares(c, conserved)).max(0.0) / units;
        passed.push(Forward {
            std: Band::of(stds),
            typical,
            pairs,
            of_weights,
            conserved,
            variance,
            off,
            slope_square,
        });
    }
    passed
}

fn backward(
    layers: &[Layer],
    passed: &[Forward],
    gradient: &BatchGeometry,
    normals: &mut Normals,
) -> Vec<Band> {
    let mut squares = vec![gradient.mean_square; DRAWS];
    let mut gradients = Pairs::of(gradient);
    let mut bands = vec![Band::of(squares.iter().map(|square| square.sqrt()).collect())];
    // Through the gates of each layer and its weights, to the outputs of the layer below.
    for (layer, at) in layers.iter().zip(passed).rev().take(layers.len().saturating_sub(1)) {
        let (units, below) = (layer.fan_out as f64, layer.fan_in as f64);
        let gate = |c: f64| at.typical.squared_slopes(c);
        let twice = 1.0 + 2.0 * gradients.mean_square();
        let itself = ((1.0 + at.pairs.spread.max(gradients.spread)) / gradients.samples).min(1.0);
        let others = at.pairs.of_two(|c| gate(c) - 1.0) * twice;
        let own = (gate(1.0) - 1.0) * 3.0;
        let variance = ((1.0 - itself) * others + itself * own).max(0.0) / units;
        let together = at.pairs.over(|c| at.typical.squares_and_slopes(c, at.conserved)) / units;
        let correlation = together / (variance * at.variance).sqrt();
        let correlation = if correlation.is_finite() { correlation.clamp(-1.0, 1.0) } else { 0.0 };
        let beside = (1.0 - correlation * correlation).sqrt();
        let met_twice =
            if layer.orthogonal { 1.0 } else { 1.0 + at.of_weights * (at.typical.stretch - 1.0) / below };

        // The cosines behind the gates.
        let slope = |c: f64| {
            if at.typical.slope_square > 0.0 { at.typical.slopes(c) / at.typical.slope_square } else { 1.0 }
        };
        let (kept, spread) = (slope(at.pairs.mean), at.pairs.of_two(|c| gate(c) - slope(c).powi(2)).max(0.0));
        let behind =
            Pairs { mean: gradients.mean * kept, variance: gradients.variance * kept * kept, ..gradients }
                .blurred(spread, units);
        let conserved = conserved(layer, layer.fan_in, layer.fan_out);
        let cosine = |c: f64| 2.0 * c * c;
        let length =
            (1.0 - conserved) * ((1.0 - itself) * 2.0 * behind.mean_square() + itself * cosine(1.0)) / below;

        let (mut gates, mut lengths) = (vec![0.0; DRAWS], vec![0.0; DRAWS]);
        normals.fill(&mut gates);
        normals.fill(&mut lengths);
        let factor = units * layer.weight_variance * met_twice;
        for draw in 0..DRAWS {
            let off = correlation * at.off[draw] + beside * gates[draw];
            squares[draw] *=
                factor * at.slope_square[draw] * gamma(variance, off) * gamma(length, lengths[draw]);
        }
        let own =
            (own - others).max(0.0) / units + 2.0 * (1.0 - behind.mean_square()) * (1.0 - conserved) / below;
        gradients = Pairs { spread: gradients.spread + own, ..behind }.blurred(1.0, below);
        bands.push(Band::of(squares.iter().map(|square| square.sqrt()).collect()));
    }
    bands.reverse();
    bands.truncate(layers.len());
    bands
}

/// The share of the variance of a length that orthogonal weights do not let happen, on their way to `to`
/// units.
fn conserved(layer: &Layer, to: usize, from: usize) -> f64 {
    if layer.orthogonal { (to as f64 / from as f64).min(1.0) } else { 0.0 }
}

/// A gamma variable of mean 1 and this variance, from a standard normal one (Wilson and Hilferty 1931).
fn gamma(variance: f64, normal: f64) -> f64 {
    (1.0 - variance / 9.0 + normal * variance.sqrt() / 3.0).max(1e-3).powi(3)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Standard normal numbers, each with its negative as many places on, so that a median is not off by chance.
struct Normals(Xoshiro256PlusPlus);

impl Normals {
    fn fill(&mut self, numbers: &mut [f64]) {
        let (first, second) = numbers.split_at_mut(numbers.len() / 2);
        for pair in first.chunks_mut(2) {
            let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            let radius = (-2.0 * unit(self.0.next_u64()).ln()).sqrt();
            let angle = std::f64::consts::TAU * unit(self.0.next_u64());
            for (number, value) in pair.iter_mut().zip([radius * angle.cos(), radius * angle.sin()]) {
                *number = value;
            }
        }
        for (mirrored, number) in second.iter_mut().zip(first) {
            *mirrored = -*number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    fn layers(
        n: usize,
        depth: usize,
        sigma_w: f64,
        phi: Activation,
        orthogonal: bool,
    ) -> Vec<LayerLaw<Activation>> {
        let weight_variance = sigma_w * sigma_w / n as f64;
        vec![LayerLaw { fan_in: n, fan_out: n, weight_variance, bias_variance: 0.0, orthogonal, phi }; depth]
    }

    fn one_sample(n: usize) -> BatchGeometry {
        BatchGeometry::normal(1, n, 1.0)
    }

    /// The band of `ln rms²` of one sample through a linear net, against the exact law of a product of
    /// Gaussian matrices; and through a ReLU net, against Hanin's `N(-5β/2, 5β)`. Twin: the other net's law.
    #[test]
    fn one_sample_has_the_law_of_the_length() {
        let (n, depth) = (100, 20);
        let beta = depth as f64 / n as f64;
        let (mean, variance) =
            crate::log_norm_of_product(n as u32, depth as u32, (1.0 / n as f64).sqrt()).unwrap();
        let laws = [
            (Activation::Identity, 1.0, 2.0 * mean, 4.0 * variance),
            (Activation::Relu, 2f64.sqrt(), -2.5 * beta, 5.0 * beta),
        ];
        let off = |phi, sigma_w, mean: f64, variance: f64| {
            let bands = finite_width(&layers(n, depth, sigma_w, phi, false), &one_sample(n), &one_sample(n));
            // The first layer's gradient comes through all layers but the first. A ReLU's std is a fixed
            // share of its rms.
            let (last, first) = (bands[depth - 1].std, bands[0].gradient_rms);
            let spread = |band: Band| 2.0 * (band.high / band.low).ln() / 3.919_928;
            let shift = if phi == Activation::Relu {
                2.0 * last.middle.ln() - (1.0 - 1.0 / std::f64::consts::PI).ln()
            } else {
                2.0 * last.middle.ln()
            };
            let backward = variance * (depth - 1) as f64 / depth as f64;
            ((shift - mean).abs() / variance.sqrt())
                .max((spread(last).powi(2) / variance - 1.0).abs())
                .max((spread(first).powi(2) / backward - 1.0).abs())
        };
        for (phi, sigma_w, mean, variance) in laws {
            let found = off(phi, sigma_w, mean, variance);
            assert!(found < 0.12, "{phi}: {found}");
        }
        let [(linear, sigma_w, ..), (_, _, mean, variance)] = laws;
        assert!(off(linear, sigma_w, mean, variance) > 0.3, "the twin that must fail");
    }

    /// Orthogonal weights keep every length, so nothing strays in a linear net.
    #[test]
    fn orthogonal_linear_nets_do_not_stray() {
        let bands =
            finite_width(&layers(50, 10, 1.0, Activation::Identity, true), &one_sample(50), &one_sample(50));
        assert!((bands[0].gradient_rms.high - bands[0].gradient_rms.low).abs() < 1e-6);
        // What is left is the mean over fifty units, which the std leaves out.
        assert!(bands[9].std.high - bands[9].std.low < 0.06, "{:?}", bands[9]);
        let loose =
            finite_width(&layers(50, 10, 1.0, Activation::Identity, false), &one_sample(50), &one_sample(50));
        assert!(loose[9].std.high - loose[9].std.low > 0.5, "the twin that must fail: {:?}", loose[9]);
    }

    /// Samples with nothing in common stray less together than one by itself; copies of one sample stray as
    /// it does.
    #[test]
    fn a_batch_strays_by_what_its_samples_share() {
        let net = layers(100, 5, 1.0, Activation::Tanh, false);
        let width = |input: BatchGeometry| {
            let band = finite_width(&net, &input, &BatchGeometry::normal(input.samples, 100, 1.0))[4].std;
            (band.high / band.low).ln()
        };
        let one = width(one_sample(100));
        let copies =
            width(BatchGeometry { cosine: 1.0, cosine_square: 1.0, samples: 100, ..one_sample(100) });
        assert!((copies / one - 1.0).abs() < 0.1, "{copies} {one}");
        assert!(width(BatchGeometry::normal(100, 100, 1.0)) < 0.4 * one);
    }

    #[test]
    fn extremes() {
        // Nothing in, nothing out; and lengths beyond all bounds.
        let nothing = BatchGeometry { mean_square: 0.0, ..one_sample(10) };
        let bands = finite_width(&layers(10, 3, 1.0, Activation::Tanh, false), &nothing, &nothing);
        assert_eq!((bands[2].std.high, bands[0].gradient_rms.high), (0.0, 0.0));
        let bands =
            finite_width(&layers(64, 12, 30.0, Activation::Relu, false), &one_sample(64), &one_sample(64));
        // Beyond the longest length that is integrated over, tanh's outputs stay ±1, and their gradients fall
        // like q^(-1/4).
        let layer = |sigma_w| {
            finite_width(&layers(64, 2, sigma_w, Activation::Tanh, false), &one_sample(64), &one_sample(64))
        };
        let [long, longer] = [1e8, 1e12].map(layer);
        assert!(
            (long[1].std.middle - 1.0).abs() < 0.02 && (longer[1].std.middle - 1.0).abs() < 0.02,
            "{long:?}"
        );
        // χ₁ = σ_w² E φ'² goes like σ_w: 1e4 times as large a σ_w, 100 times the gradient.
        let ratio = longer[0].gradient_rms.middle / long[0].gradient_rms.middle;
        assert!((ratio / 100.0 - 1.0).abs() < 0.05, "{ratio}");
        // He's gain is √2: 30 is (30/√2)¹² too much.
        let expected = 12.0 * (30.0 / 2f64.sqrt()).ln();
        assert!((bands[11].std.middle.ln() - expected).abs() < 2.0, "{:?} {expected}", bands[11]);
        assert!(finite_width::<Activation>(&[], &nothing, &nothing).is_empty());
    }
}
