//! Nets with their inputs, drawn from seeds, what theory predicts of them and what is measured.

use candle_core::{DType, Tensor};
use wick_init::{InitMap, Initializer, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;
use wick_tests::{CPU, choose, log_uniform, normal, uniform};
use wick_theory::{BatchGeometry, LayerBands, LayerLaw, finite_width};

/// A net and its input, drawn from a seed.
#[derive(Debug)]
pub struct Case {
    pub seed: u64,
    pub config: MlpConfig,
    pub initializer: Initializer,
    pub bias_std: f64,
    pub samples: usize,
    /// The correlation between samples.
    pub shared: f64,
    /// `f64` where values go beyond the range of `f32`.
    pub dtype: DType,
}

impl Case {
    /// A net of any activation with a gain near the activation's own: depths to 50, widths of 32 to 1024, 1 to 512
    /// samples.
    pub fn near_the_own_gain(seed: u64) -> Self {
        let activation = choose(seed, "activation", &Activation::ALL);
        let depth = log_uniform(seed, "depth", 1.0, 51.0) as usize;
        let width = log_uniform(seed, "width", 32.0, 1025.0) as usize;
        let features = log_uniform(seed, "features", 32.0, 1025.0) as usize;
        let samples = log_uniform(seed, "samples", 1.0, 513.0) as usize;
        let gain = log_uniform(seed, "gain", 0.8, 1.15);
        Self { samples, ..Self::of(seed, activation, gain, depth, width, features, DType::F32) }
    }

    /// A net over the whole range that people use. A fifth of the nets has the activation's own gain, a fifth one of
    /// the plain gains 1, √2 and 5/3, the others half to twice their own; depths are 5 to 100, widths 32 to 512,
    /// samples 1 to 256.
    pub fn over_the_range(activation: Activation, seed: u64) -> Self {
        let seed =
            seed + 100_000 * (1 + Activation::ALL.iter().position(|a| *a == activation).unwrap() as u64);
        let depth = log_uniform(seed, "depth", 5.0, 101.0) as usize;
        let width = log_uniform(seed, "width", 32.0, 513.0) as usize;
        let features = log_uniform(seed, "features", 32.0, 513.0) as usize;
        let samples = log_uniform(seed, "samples", 1.0, 257.0) as usize;
        let plain = choose(seed, "plain", &[1.0, 2f64.sqrt(), 5.0 / 3.0]);
        let gain = match uniform(seed, "kind") {
            x if x < 0.2 => 1.0,
            x if x < 0.4 => plain / activation.gain(),
            _ => log_uniform(seed, "gain", 0.5, 2.0),
        };
        Self { samples, ..Self::of(seed, activation, gain, depth, width, features, DType::F64) }
    }

    fn of(
        seed: u64,
        activation: Activation,
        relative_gain: f64,
        depth: usize,
        width: usize,
        features: usize,
        dtype: DType,
    ) -> Self {
        let narrows = uniform(seed, "narrows") < 0.5;
        let widths: Vec<usize> = (0..depth)
            .map(|layer| if narrows { (width - width * layer / (2 * depth)).max(32) } else { width })
            .collect();
        let gain = activation.gain() * relative_gain;
        let initializer = match choose(seed, "init", &[0, 1, 2, 3, 4, 5]) {
            0 => Initializer::lecun_normal().with_gain(gain),
            1 => Initializer::lecun_uniform().with_gain(gain),
            2 => Initializer::xavier_normal().with_gain(gain),
            3 => Initializer::xavier_uniform().with_gain(gain),
            4 => Initializer::normal(gain / (width as f64).sqrt()),
            _ => Initializer::orthogonal(gain),
        };
        let bias_std = choose(seed, "bias", &[0.0, 0.0, 0.05, 0.3]);
        let config = MlpConfig::new(features, widths, activation).with_bias(bias_std > 0.0);
        let shared = choose(seed, "shared", &[0.0, 0.0, 0.5, 0.9]);
        Self { seed, config, initializer, bias_std, samples: 1, shared, dtype }
    }

    fn normal(&self, name: &str, shape: (usize, usize)) -> Tensor {
        normal(self.seed, name, shape, self.dtype)
    }

    pub fn input(&self) -> Tensor {
        let features = self.config.features;
        let own = self.normal("input", (self.samples, features)) * (1.0 - self.shared).sqrt();
        let shared = (self.normal("shared", (1, features)) * self.shared.sqrt()).unwrap();
        own.unwrap().broadcast_add(&shared).unwrap()
    }

    pub fn layers(&self) -> Vec<LayerLaw<Activation>> {
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

    /// The geometry of the input, and that of the gradients of the last outputs.
    pub fn geometry(&self, input: &Tensor) -> [BatchGeometry; 2] {
        let batch = |tensor: &Tensor| {
            let values =
                tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            BatchGeometry::of(&values, tensor.dim(1).unwrap())
        };
        let outputs = *self.config.widths.last().unwrap();
        [batch(input), batch(&self.normal("cotangent", (self.samples, outputs)))]
    }

    /// The bands of each layer by theory.
    pub fn predicted(&self, layers: &[LayerLaw<Activation>], input: &Tensor) -> Vec<LayerBands> {
        let [input, gradient] = self.geometry(input);
        finite_width(layers, &input, &gradient)
    }

    /// The measured std of each layer's output and rms of its gradient.
    pub fn measured(&self, input: &Tensor) -> Vec<(f64, f64)> {
        let map = InitMap::new(self.seed).with_rules([
            Rule::draw("*.weight", self.initializer.clone()).unwrap(),
            Rule::draw("*.bias", Initializer::normal(self.bias_std)).unwrap(),
        ]);
        let mlp = Mlp::new(&self.config, map.var_builder(self.dtype, &CPU)).unwrap();
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
