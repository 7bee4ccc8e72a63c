//! Models of candle-nn and candle-transformers, unmodified, with weights from Wick's `VarBuilder`.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod by_preset;
mod models;
mod named;
mod transformers;

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};
use candle_nn::{Conv2dConfig, Module};
use candle_transformers::models::resnet;
use wick_init::{InitMap, Initializer};
use wick_tests::{CPU, std_error};

use models::{small_bert, std};

/// The bits of every variable, by name.
fn bits(map: &InitMap) -> BTreeMap<String, Vec<u32>> {
    map.named_vars().into_iter().map(|(name, var)| (name, wick_tests::bits(&var))).collect()
}

#[test]
fn layers_of_candle_nn() -> Result<()> {
    let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let embedding = candle_nn::embedding(100, 64, vb.pp("embedding"))?;
    let conv = candle_nn::conv2d(1, 16, 3, Conv2dConfig { padding: 1, ..Default::default() }, vb.pp("conv"))?;
    let norm = candle_nn::layer_norm(64, 1e-5, vb.pp("norm"))?;
    let linear = candle_nn::linear(64, 32, vb.pp("linear"))?;

    let ids = Tensor::new(&[[1u32, 5, 99], [0, 2, 7]], &CPU)?;
    let images = embedding.forward(&ids)?.unsqueeze(1)?; // [2, 1, 3, 64]
    // candle's fused layer norm has no backward pass, so the loss does not go through it.
    let mixed = conv.forward(&images)?.mean(1)?; // [2, 3, 64]
    assert_eq!(norm.forward(&mixed)?.dims(), [2, 3, 64]);
    let output = linear.forward(&mixed)?;
    let gradients = output.sqr()?.sum_all()?.backward()?;
    for (name, var) in map.named_vars() {
        let size = gradients.get(&var).map(|gradient| wick_probe::summarize(gradient, None, 1).unwrap().rms);
        assert_eq!(size.is_some_and(|rms| rms > 0.0), !name.starts_with("norm"), "{name}: {size:?}");
    }

    let expected = [
        ("conv.bias", 0.0),
        ("conv.weight", (2.0f64 / (9.0 + 144.0)).sqrt()),
        ("embedding.weight", (2.0f64 / 164.0).sqrt()),
        ("linear.bias", 0.0),
        ("linear.weight", (2.0f64 / 96.0).sqrt()),
        ("norm.bias", 0.0),
        ("norm.weight", 0.0),
    ];
    let vars = map.named_vars();
    assert_eq!(vars.len(), expected.len());
    for ((name, var), (expected_name, expected_std)) in vars.iter().zip(expected) {
        assert_eq!(name, expected_name);
        if name.ends_with("weight") && expected_std > 0.0 {
            // There are n ≥ 144 elements: one standard error of a std is 1/√(2n) ≤ 6 % of it.
            assert!((std(var) / expected_std - 1.0).abs() < 4.0 * std_error(var.elem_count()), "{name}");
        }
    }
    assert_eq!(norm.weight().to_vec1::<f32>()?, [1.0; 64]);
    assert!(map.named_vars().iter().any(|(name, var)| name == "linear.bias" && std(var) > 0.0));
    Ok(())
}

#[test]
fn a_convolutional_net_follows_its_layers_hints() -> Result<()> {
    let map = InitMap::new(42);
    let model = resnet::resnet18(10, map.var_builder(DType::F32, &CPU));
    // Without an initializer, every tensor follows the hint of its layer; batch norms hint at constants.
    assert!(model.is_ok(), "{:?}", model.err());
    let output = model?.forward(&Tensor::ones((1, 3, 32, 32), DType::F32, &CPU)?)?;
    assert_eq!(output.dims(), [1, 10]);
    Ok(())
}

/// A model has the same weights alone and after another one.
#[test]
fn other_models_change_no_bit() -> Result<()> {
    let alone = InitMap::new(7).with_default_init(Initializer::normal(0.02));
    small_bert(alone.var_builder(DType::F32, &CPU).pp("a"))?;

    let among = InitMap::new(7).with_default_init(Initializer::normal(0.02));
    let vb = among.var_builder(DType::F32, &CPU);
    candle_nn::linear(9, 9, vb.pp("z"))?;
    small_bert(vb.pp("b"))?;
    small_bert(vb.pp("a"))?;

    let (alone, among) = (bits(&alone), bits(&among));
    assert!(alone.iter().all(|(name, bits)| &among[name] == bits));
    let a = |name: &str| among[&format!("a.{name}")].clone();
    assert_ne!(a("encoder.layer.0.output.dense.weight"), a("encoder.layer.1.output.dense.weight"));
    Ok(())
}
