//! Calibration of the 95 % bands of `finite_width`: the fraction of measured layers that lie in them.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Tensor};
use wick_init::{InitMap, Initializer, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;
use wick_tests::{CPU, choose, log_uniform, normal, uniform};
use wick_theory::{Band, BatchGeometry, LayerBands, LayerLaw, finite_width};

/// A net and its input, drawn from a seed.
#[derive(Debug)]
struct Case {
    seed: u64,
    config: MlpConfig,
    initializer: Initializer,
    bias_std: f64,
    samples: usize,
    /// The correlation between samples.
    shared: f64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let activation = choose(seed, "activation", &Activation::ALL);
        let depth = log_uniform(seed, "depth", 1.0, 51.0) as usize;
        let width = log_uniform(seed, "width", 32.0, 1025.0) as usize;
        let narrows = uniform(seed, "narrows") < 0.5;
        let widths: Vec<usize> = (0..depth)
            .map(|layer| if narrows { (width - width * layer / (2 * depth)).max(32) } else { width })
            .collect();
        // The gain is near the one that preserves the variance.
        let gain = activation.gain() * log_uniform(seed, "gain", 0.8, 1.15);
        let initializer = match choose(seed, "init", &[0, 1, 2, 3, 4, 5]) {
            0 => Initializer::lecun_normal().with_gain(gain),
            1 => Initializer::lecun_uniform().with_gain(gain),
            2 => Initializer::xavier_normal().with_gain(gain),
            3 => Initializer::xavier_uniform().with_gain(gain),
            4 => Initializer::normal(gain / (width as f64).sqrt()),
            _ => Initializer::orthogonal(gain),
        };
        let bias_std = choose(seed, "bias", &[0.0, 0.0, 0.05, 0.3]);
        let features = log_uniform(seed, "features", 32.0, 1025.0) as usize;
        let config = MlpConfig::new(features, widths, activation).with_bias(bias_std > 0.0);
        let samples = log_uniform(seed, "samples", 1.0, 513.0) as usize;
        let shared = choose(seed, "shared", &[0.0, 0.0, 0.5, 0.9]);
        Self { seed, config, initializer, bias_std, samples, shared }
    }

    fn normal(&self, name: &str, shape: (usize, usize)) -> Tensor {
        normal(self.seed, name, shape, DType::F32)
    }

    fn input(&self) -> Tensor {
        let features = self.config.features;
        let own = self.normal("input", (self.samples, features)) * (1.0 - self.shared).sqrt();
        let shared = (self.normal("shared", (1, features)) * self.shared.sqrt()).unwrap();
        own.unwrap().broadcast_add(&shared).unwrap()
    }

    fn layers(&self) -> Vec<LayerLaw<Activation>> {
        let layer = |(fan_in, fan_out): (usize, usize)| {
            let law = self.initializer.weight_law(&[fan_out, fan_in]).unwrap().unwrap();
            LayerLaw {
                fan_in,
                fan_out,
                weight_variance: law.variance,
                bias_variance: self.bias_std * self.bias_std,
                orthogonal: law.orthogonal,
                phi: self.config.activation,
            }
        };
        self.config.layers().map(layer).collect()
    }

    /// The bands of each layer by theory.
    fn predicted(&self, layers: &[LayerLaw<Activation>], input: &Tensor) -> Vec<LayerBands> {
        let batch = |tensor: &Tensor| {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            BatchGeometry::of(&values, tensor.dim(1).unwrap())
        };
        let outputs = *self.config.widths.last().unwrap();
        finite_width(layers, &batch(input), &batch(&self.normal("cotangent", (self.samples, outputs))))
    }

    /// The measured std of each layer's output and rms of its gradient.
    fn measured(&self, input: &Tensor) -> Vec<(f64, f64)> {
        let map = InitMap::new(self.seed).with_rules([
            Rule::draw("*.weight", self.initializer.clone()).unwrap(),
            Rule::draw("*.bias", Initializer::normal(self.bias_std)).unwrap(),
        ]);
        let mlp = Mlp::new(&self.config, map.var_builder(DType::F32, &CPU)).unwrap();
        let probe = Probe::new();
        let tape = mlp.tape(input, |layer| Some(probe.observer(layer))).unwrap();
        let cotangent = self.normal("cotangent", tape.output().dims2().unwrap());
        tape.backward(&(tape.output() * cotangent).unwrap().sum_all().unwrap()).unwrap();
        probe
            .records()
            .iter()
            .map(|record| (record.forward.std, record.backward.as_ref().unwrap().rms))
            .collect()
    }
}

/// Counts the measured values that lie in their bands.
#[derive(Debug, Default, Clone, Copy)]
struct Coverage {
    inside: u32,
    total: u32,
}

impl Coverage {
    fn add(&mut self, band: &Band, x: f64) {
        self.inside += u32::from(band.contains(x));
        self.total += 1;
    }

    fn fraction(self) -> f64 {
        f64::from(self.inside) / f64::from(self.total)
    }
}

/// Counts the layers of a net, forward and backward. The gradient of the last layer is given and not
/// predicted.
fn count(coverage: &mut [Coverage; 2], predicted: &[LayerBands], measured: &[(f64, f64)]) {
    for (bands, (std, _)) in predicted.iter().zip(measured) {
        coverage[0].add(&bands.std, *std);
    }
    for (bands, (_, rms)) in predicted.iter().zip(measured).take(measured.len() - 1) {
        coverage[1].add(&bands.gradient_rms, *rms);
    }
}

/// The test draws 200 nets (seeds 0 to 199): any activation, widths of 32 to 1024, depths to 50, six
/// initializers, with and without biases, 1 to 512 samples of various correlations. The layers of one net
/// deviate together, so n = 200 nets counts: a fraction of .95 has a standard deviation of .015, and the test
/// requires 92 to 98 %. (Of the layers of the 400 nets of seeds 1000 to 1399, looked at once, 94.7 and 92.8 %
/// were in their bands.) The twin predicts for layers four times as wide, with the same infinite-width limit.
#[test]
fn bands_cover_what_they_promise() {
    let (mut coverage, mut too_wide) = <([Coverage; 2], [Coverage; 2])>::default();
    for seed in 0..200 {
        let case = Case::new(seed);
        let (input, layers) = (case.input(), case.layers());
        let measured = case.measured(&input);
        count(&mut coverage, &case.predicted(&layers, &input), &measured);
        let wide = |layer: LayerLaw<_>| LayerLaw {
            fan_in: 4 * layer.fan_in,
            fan_out: 4 * layer.fan_out,
            weight_variance: layer.weight_variance / 4.0,
            ..layer
        };
        let wide: Vec<_> = layers.into_iter().map(wide).collect();
        count(&mut too_wide, &case.predicted(&wide, &input), &measured);
    }
    println!("in their 95 % bands, forward and backward: {:?}", coverage.map(Coverage::fraction));
    println!("by the theory of layers four times as wide: {:?}", too_wide.map(Coverage::fraction));
    for fraction in coverage.map(Coverage::fraction) {
        assert!((0.92..=0.98).contains(&fraction), "{coverage:?}");
    }
    assert!(
        too_wide.iter().all(|coverage| coverage.fraction() < 0.9),
        "the twin that must fail: {too_wide:?}"
    );
}

/// The error of the predicted std of one ReLU layer, as in Kedia et al. 2024 (*Transformers get stable*,
/// arXiv 2403.09635), where 50, 90 and 99 % of the errors were below .5, 1.9 and 3.4 %. The test takes 300
/// layers (seeds 0 to 299) of 256 to 1024 units.
#[test]
fn how_far_one_relu_layer_is_off() {
    let mut errors: Vec<f64> = (0..300)
        .map(|seed| {
            let width = log_uniform(seed, "width", 256.0, 1025.0) as usize;
            let case = Case {
                seed,
                config: MlpConfig::new(width, [width], Activation::Relu),
                initializer: Initializer::kaiming_normal(),
                bias_std: 0.0,
                samples: 256,
                shared: 0.0,
            };
            let input = case.input();
            let predicted = case.predicted(&case.layers(), &input)[0].std.middle;
            (case.measured(&input)[0].0 / predicted - 1.0).abs()
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    let quantile = |p: f64| 100.0 * errors[(p * 300.0) as usize];
    let found = [quantile(0.5), quantile(0.9), quantile(0.99)];
    println!("errors of the std of a ReLU layer (median, 90 %, 99 %): {found:.2?} %");
    for (found, published) in found.into_iter().zip([0.5, 1.9, 3.4]) {
        assert!(found <= published, "{found} % against {published} %");
    }
}
