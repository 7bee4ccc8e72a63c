//! Watches the signal and its gradient in 30 of candle's layers, for PyTorch's default weights and for He's.
//!
//! `cargo run --example watch_a_model`

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module, linear};
use wick::{Activation, InitMap, Initializer, KeyedV1, MeanField, Probe, presets};

const DEPTH: usize = 30;
const WIDTH: usize = 64;

/// A forward and a backward pass, with a tap behind every layer.
fn watch(map: &InitMap, x: &Tensor) -> candle_core::Result<Probe> {
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let layer = |index: usize| linear(WIDTH, WIDTH, vb.pp(format!("layer_{index:02}")));
    let layers: Vec<Linear> = (0..DEPTH).map(layer).collect::<candle_core::Result<_>>()?;
    let probe = Probe::new();
    let mut h = x.clone();
    for (index, layer) in layers.iter().enumerate() {
        // Go on with the tensor that the tap returns: the gradient reaches the probe through it.
        h = probe.tap(&format!("layer_{index:02}"), &layer.forward(&h)?.relu()?)?;
    }
    h.sum_all()?.backward()?;
    Ok(probe)
}

fn main() -> Result<()> {
    let key = KeyedV1::new(42).key("input");
    let x = Initializer::normal(1.0).tensor(key, (200, WIDTH), DType::F32, &Device::Cpu)?;
    let torch = InitMap::new(42).with_rules(presets::torch_defaults()?);
    let he = InitMap::new(42).with_default_init(Initializer::kaiming_normal());

    let (torch, he) = (watch(&torch, &x)?.records(), watch(&he, &x)?.records());
    println!("                 PyTorch's default            He's kaiming_normal");
    println!("layer        output rms  gradient rms     output rms  gradient rms");
    for (torch, he) in torch.iter().zip(&he).step_by(5) {
        let gradient =
            |record: &wick::Record| record.backward.as_ref().map_or(f64::NAN, |gradient| gradient.rms);
        let (a, b) = (gradient(torch), gradient(he));
        println!(
            "{}  {:>12.2e}  {a:>12.2e}   {:>12.2e}  {b:>12.2e}",
            torch.name, torch.forward.rms, he.forward.rms
        );
    }
    // PyTorch draws weights of variance 1/(3 fan_in). A ReLU layer keeps the mean square if that is 2/fan_in.
    let kept = MeanField { phi: Activation::Relu, weight_variance: 1.0 / 3.0, bias_variance: 0.0 }.chi_1(1.0);
    println!(
        "\nTheory: with PyTorch's default each layer multiplies the gradient's mean square by {kept:.3}."
    );
    Ok(())
}
