//! What a verdict advises, followed: the net that comes of it is well.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Device, Tensor};
use wick_init::{InitMap, Initializer, KeyedV1, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{LayerReport, Probe, Units, Verdict, judge};
use wick_theory::LayerLaw;

const CPU: Device = Device::Cpu;
const WIDTH: usize = 256;
const DEPTH: usize = 20;

/// The verdicts on a net of 20 layers of 256 units, of 100 samples.
fn verdicts(phi: Activation, weight_std: f64, bias_std: f64, seed: u64) -> Vec<Verdict> {
    let map = InitMap::new(seed).with_rules([
        Rule::draw("*.weight", Initializer::normal(weight_std)).unwrap(),
        Rule::draw("*.bias", Initializer::normal(bias_std)).unwrap(),
    ]);
    let config = MlpConfig::new(WIDTH, [WIDTH; DEPTH], phi).with_bias(bias_std > 0.0);
    let mlp = Mlp::new(&config, map.var_builder(DType::F32, &CPU)).unwrap();
    let normal = |name: &str| {
        let key = KeyedV1::new(seed).key(name);
        Initializer::normal(1.0).tensor(key, (100, WIDTH), DType::F32, &CPU).unwrap()
    };
    let (input, probe) = (normal("input"), Probe::new());
    let pass = mlp.tape(&input, |layer| Some(probe.observer_of(layer, phi))).unwrap();
    pass.backward(&(pass.output() * normal("cotangent")).unwrap().sum_all().unwrap()).unwrap();
    let draw = LayerLaw {
        fan_in: WIDTH,
        fan_out: WIDTH,
        weight_variance: weight_std * weight_std,
        bias_variance: bias_std * bias_std,
        orthogonal: false,
        phi,
    };
    let units = |output: &Tensor| Units::of(output).unwrap().unwrap();
    let readings: Vec<LayerReport> = probe
        .records()
        .iter()
        .zip(pass.outputs())
        .map(|(record, output)| LayerReport::of(record).with_law(draw).with_units(&units(output)))
        .collect();
    judge(&readings, &units(&input).batch)
}

/// The number behind some words.
fn behind(text: &str, words: &str) -> Option<f64> {
    let rest = text.split_once(words)?.1;
    rest.split([' ', '/', ',', ';']).next()?.parse().ok()
}

/// Of every activation: weights that are far too small are mended by what the verdict says, for seeds 0 to 2, if it says
/// anything; those of which it says that there are none are sigmoid and softplus.
#[test]
fn what_is_advised_is_well() {
    let mut without = Vec::new();
    for phi in Activation::ALL.into_iter().filter(|phi| *phi != Activation::Identity) {
        let found = verdicts(phi, 0.001, 0.0, 0);
        let remedies: Vec<&str> = found.iter().map(|verdict| verdict.remedy.as_str()).collect();
        let Some(remedy) = remedies.iter().find(|remedy| remedy.contains("keeps its signals with")) else {
            assert!(
                remedies.iter().any(|remedy| remedy.contains("has no weights that keep")),
                "{phi}: {found:?}"
            );
            without.push(phi);
            continue;
        };
        let variance = behind(remedy, "Var W = ").unwrap();
        let bias = behind(remedy, "biases of σ = ").unwrap_or(0.0);
        for seed in 0..3 {
            let found = verdicts(phi, (variance / WIDTH as f64).sqrt(), bias, seed);
            assert!(found.is_empty(), "{phi}, {remedy}: {found:?}");
        }
    }
    assert_eq!(without, [Activation::Sigmoid, Activation::Softplus]);
}
