//! A net that follows the remedy of a verdict is healthy.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Device};
use wick_init::{InitMap, Initializer, KeyedV1, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{Probe, Units, Verdict, judge};
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
    let law = LayerLaw {
        fan_in: WIDTH,
        fan_out: WIDTH,
        weight_variance: weight_std * weight_std,
        bias_variance: bias_std * bias_std,
        orthogonal: false,
        phi,
    };
    let probe = Probe::new().with_output_units();
    let probe = (0..DEPTH).fold(probe, |probe, layer| probe.with_law(format!("layer_{layer}"), law));
    let input = normal("input");
    let tape = mlp.tape(&input, |layer| Some(probe.observer(layer))).unwrap();
    tape.backward(&(tape.output() * normal("cotangent")).unwrap().sum_all().unwrap()).unwrap();
    judge(&probe.layer_reports(), &Units::of(&input).unwrap().unwrap().batch)
}

/// The number after some words.
fn number_after(text: &str, words: &str) -> Option<f64> {
    let rest = text.split_once(words)?.1;
    rest.split([' ', '/', ',', ';']).next()?.parse().ok()
}

/// For every activation, weights that are far too small are fixed by the verdict's remedy, for seeds 0 to 2.
/// For sigmoid and softplus the verdict says that no weights are right.
#[test]
fn remedies_make_healthy_nets() {
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
        let variance = number_after(remedy, "Var W = ").unwrap();
        let bias = number_after(remedy, "biases of σ = ").unwrap_or(0.0);
        for seed in 0..3 {
            let found = verdicts(phi, (variance / WIDTH as f64).sqrt(), bias, seed);
            assert!(found.is_empty(), "{phi}, {remedy}: {found:?}");
        }
    }
    assert_eq!(without, [Activation::Sigmoid, Activation::Softplus]);
}
