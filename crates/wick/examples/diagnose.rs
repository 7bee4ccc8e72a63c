//! Asks of four nets what is wrong with them, which layer is the first, and what would fix it.
//!
//! `cargo run --example diagnose`

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use wick::{Activation, InitMap, Initializer, KeyedV1, Mlp, MlpConfig, Probe, Rule, Units, Verdict, judge};

/// One forward and one backward pass of ten layers, judged.
fn diagnose(activation: Activation, map: &InitMap) -> Result<Vec<Verdict>> {
    let key = KeyedV1::new(42).key("input");
    let x = Initializer::normal(1.0).tensor(key, (200, 64), DType::F32, &Device::Cpu)?;
    let config = MlpConfig::new(64, [64; 10], activation).with_bias(true);
    let mlp = Mlp::new(&config, map.var_builder(DType::F32, &Device::Cpu))?;

    let probe = Probe::new().with_units(); // with_units: dead units, copies, and how alike the samples are
    let tape = mlp.tape(&x, |layer| Some(probe.observer(layer)))?;
    tape.backward(&tape.output().sum_all()?)?;

    let input = Units::of(&x)?.context("the input is a batch")?;
    Ok(judge(&probe.layer_reports(), &input.batch))
}

fn main() -> Result<()> {
    let start = |spec: &str| anyhow::Ok(InitMap::new(42).with_default_init(spec.parse()?));
    let dead = [
        Rule::draw("layer_4.bias", "constant:value=-3".parse()?)?, // most of its units never reach 0
        Rule::draw("**.weight", Initializer::kaiming_normal())?,
    ];
    let nets = [
        ("tanh, Xavier", Activation::Tanh, start("xavier_normal")?),
        ("tanh, σ = 0.01", Activation::Tanh, start("normal:std=0.01")?),
        ("tanh, σ = 1", Activation::Tanh, start("normal:std=1")?),
        ("ReLU with biases of -3 in layer_4", Activation::Relu, InitMap::new(42).with_rules(dead)),
    ];
    for (name, activation, map) in nets {
        println!("{name}");
        let verdicts = diagnose(activation, &map)?;
        for verdict in &verdicts {
            println!("  {verdict}"); // verdict.fault, .layer and .figure are for programs
        }
        if verdicts.is_empty() {
            println!("  no fault found");
        }
    }
    Ok(())
}
