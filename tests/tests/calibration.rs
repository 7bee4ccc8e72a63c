//! Whether 95 % bands hold 95 %: predictions beside nets as they come out.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Device, Tensor};
use wick_init::{InitMap, Initializer, KeyedV1, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;
use wick_theory::{Band, BatchGeometry, LayerBands, LayerLaw, finite_width};

const CPU: Device = Device::Cpu;

/// A net, its input, and where theory says its layers will be.
#[derive(Debug)]
struct Case {
    seed: u64,
    config: MlpConfig,
    initializer: Initializer,
    bias_std: f64,
    samples: usize,
    /// How much all samples have in common.
    shared: f64,
}

/// A number in `[0, 1)` for a question about a net.
fn choice(seed: u64, what: &str) -> f64 {
    let key = KeyedV1::new(seed).key(what);
    Initializer::Uniform { low: 0.0, high: 1.0 }
        .tensor(key, 1, DType::F64, &CPU)
        .unwrap()
        .to_vec1::<f64>()
        .unwrap()[0]
}

fn one_of<T: Clone>(seed: u64, what: &str, of: &[T]) -> T {
    of[(choice(seed, what) * of.len() as f64) as usize].clone()
}

/// From `low` to `high`, evenly on a logarithmic scale.
fn between(seed: u64, what: &str, low: f64, high: f64) -> f64 {
    low * (high / low).powf(choice(seed, what))
}

impl Case {
    fn new(seed: u64) -> Self {
        let activation = one_of(seed, "activation", &Activation::ALL);
        let depth = between(seed, "depth", 1.0, 51.0) as usize;
        let width = between(seed, "width", 32.0, 1025.0) as usize;
        let narrows = choice(seed, "narrows") < 0.5;
        let widths: Vec<usize> = (0..depth)
            .map(|layer| if narrows { (width - width * layer / (2 * depth)).max(32) } else { width })
            .collect();
        // Around the gain that keeps the variance.
        let gain = activation.gain() * between(seed, "gain", 0.8, 1.15);
        let initializer = match one_of(seed, "init", &[0, 1, 2, 3, 4, 5]) {
            0 => Initializer::lecun_normal().with_gain(gain),
            1 => Initializer::lecun_uniform().with_gain(gain),
            2 => Initializer::xavier_normal().with_gain(gain),
            3 => Initializer::xavier_uniform().with_gain(gain),
            4 => Initializer::normal(gain / (width as f64).sqrt()),
            _ => Initializer::orthogonal(gain),
        };
        let bias_std = one_of(seed, "bias", &[0.0, 0.0, 0.05, 0.3]);
        let features = between(seed, "features", 32.0, 1025.0) as usize;
        let config = MlpConfig::new(features, widths, activation).with_bias(bias_std > 0.0);
        let samples = between(seed, "samples", 1.0, 513.0) as usize;
        let shared = one_of(seed, "shared", &[0.0, 0.0, 0.5, 0.9]);
        Self { seed, config, initializer, bias_std, samples, shared }
    }

    fn normal(&self, name: &str, shape: (usize, usize)) -> Tensor {
        Initializer::normal(1.0).tensor(KeyedV1::new(self.seed).key(name), shape, DType::F32, &CPU).unwrap()
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

    fn predicted(&self, layers: &[LayerLaw<Activation>], input: &Tensor) -> Vec<LayerBands> {
        let batch = |tensor: &Tensor| {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            BatchGeometry::of(&values, tensor.dim(1).unwrap())
        };
        let outputs = *self.config.widths.last().unwrap();
        finite_width(layers, &batch(input), &batch(&self.normal("cotangent", (self.samples, outputs))))
    }

    /// The std and the gradient's rms of each layer, as measured.
    fn measured(&self, input: &Tensor) -> Vec<(f64, f64)> {
        let map = InitMap::new(self.seed).with_rules([
            Rule::draw("*.weight", self.initializer.clone()).unwrap(),
            Rule::draw("*.bias", Initializer::normal(self.bias_std)).unwrap(),
        ]);
        let mlp = Mlp::new(&self.config, map.var_builder(DType::F32, &CPU)).unwrap();
        let probe = Probe::new();
        let pass = mlp.tape(input, |layer| Some(probe.observer(layer))).unwrap();
        let cotangent = self.normal("cotangent", pass.output().dims2().unwrap());
        pass.backward(&(pass.output() * cotangent).unwrap().sum_all().unwrap()).unwrap();
        probe
            .records()
            .iter()
            .map(|record| (record.forward.std, record.backward.as_ref().unwrap().rms))
            .collect()
    }
}

/// How many numbers were in their band, of how many.
#[derive(Debug, Default, Clone, Copy)]
struct Held(u32, u32);

impl Held {
    fn see(&mut self, band: &Band, x: f64) {
        self.0 += u32::from(band.contains(x));
        self.1 += 1;
    }

    fn share(self) -> f64 {
        f64::from(self.0) / f64::from(self.1)
    }
}

/// Forward and backward; of the last layer's gradient, which is given, nothing is predicted.
fn count(held: &mut [Held; 2], predicted: &[LayerBands], measured: &[(f64, f64)]) {
    for (bands, (std, _)) in predicted.iter().zip(measured) {
        held[0].see(&bands.std, *std);
    }
    for (bands, (_, rms)) in predicted.iter().zip(measured).take(measured.len() - 1) {
        held[1].see(&bands.gradient_rms, *rms);
    }
}

/// 200 nets of seeds 0 to 199: any activation, widths of 32 to 1024, depths to 50, six inits, with and without biases, 1 to 512
/// samples that have more or less in common. The layers of a net stray together, so that n = 200 nets is what counts, and a share
/// of .95 has a standard deviation of .015: 92 to 98 % is asked for. (Of the 400 nets of seeds 1000 to 1399, looked at once, 94.7 and
/// 92.8 % of the layers are in theirs.) The twin takes layers to be four times as wide as they are, with the same infinite-width
/// limit.
#[test]
fn bands_hold_what_they_say() {
    let (mut held, mut too_wide) = <([Held; 2], [Held; 2])>::default();
    for seed in 0..200 {
        let case = Case::new(seed);
        let (input, layers) = (case.input(), case.layers());
        let measured = case.measured(&input);
        count(&mut held, &case.predicted(&layers, &input), &measured);
        let wide = |layer: LayerLaw<_>| LayerLaw {
            fan_in: 4 * layer.fan_in,
            fan_out: 4 * layer.fan_out,
            weight_variance: layer.weight_variance / 4.0,
            ..layer
        };
        let wide: Vec<_> = layers.into_iter().map(wide).collect();
        count(&mut too_wide, &case.predicted(&wide, &input), &measured);
    }
    println!("in their 95 % bands, forward and backward: {:?}", held.map(Held::share));
    println!("by theory of layers four times as wide: {:?}", too_wide.map(Held::share));
    for share in held.map(Held::share) {
        assert!((0.92..=0.98).contains(&share), "{held:?}");
    }
    assert!(too_wide.iter().all(|held| held.share() < 0.9), "the twin that must fail: {too_wide:?}");
}

/// One ReLU layer, as Kedia et al. 2024 (*Transformers get stable*, arXiv 2403.09635) measured theirs, where 50, 90 and 99 % were
/// off by less than .5, 1.9 and 3.4 %: 300 layers of seeds 0 to 299, of 256 to 1024 units.
#[test]
fn how_far_one_relu_layer_is_off() {
    let mut errors: Vec<f64> = (0..300)
        .map(|seed| {
            let width = between(seed, "width", 256.0, 1025.0) as usize;
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
    let at = |share: f64| 100.0 * errors[(share * 300.0) as usize];
    let found = [at(0.5), at(0.9), at(0.99)];
    println!("the std of a ReLU layer is off by (median, 90 %, 99 %): {found:.2?} %");
    for (found, published) in found.into_iter().zip([0.5, 1.9, 3.4]) {
        assert!(found <= published, "{found} % against {published} %");
    }
}
