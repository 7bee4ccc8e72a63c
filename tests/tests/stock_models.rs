//! Models that know nothing of Wick get their weights from its `VarBuilder`.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Conv2dConfig, Module, VarBuilder};
use candle_transformers::models::{bert, resnet};
use wick_init::{InitMap, Initializer};

const CPU: Device = Device::Cpu;

fn std(tensor: &Tensor) -> f64 {
    wick_probe::summarize(tensor, None, 1).unwrap().std
}

fn bits(map: &InitMap) -> BTreeMap<String, Vec<u32>> {
    let bits =
        |t: &Tensor| t.flatten_all()?.to_vec1::<f32>().map(|v| v.iter().map(|x| x.to_bits()).collect());
    map.named_vars().into_iter().map(|(name, var)| (name, bits(&var).unwrap())).collect()
}

/// The map's variables are the model's own weights: a step taken in the map is seen by the model.
fn assert_shared(map: &InitMap, forward: impl Fn() -> Result<Tensor>) {
    let before = std(&forward().unwrap());
    for var in map.vars() {
        var.set(&(var.as_tensor() * 0.5).unwrap()).unwrap();
    }
    assert_ne!(std(&forward().unwrap()), before);
}

#[test]
fn layers_of_candle_nn() -> Result<()> {
    let map = InitMap::new(42).with_weights(Initializer::xavier_normal());
    let vb = map.var_builder(DType::F32, &CPU);
    let embedding = candle_nn::embedding(100, 64, vb.pp("embedding"))?;
    let conv = candle_nn::conv2d(1, 16, 3, Conv2dConfig { padding: 1, ..Default::default() }, vb.pp("conv"))?;
    let norm = candle_nn::layer_norm(64, 1e-5, vb.pp("norm"))?;
    let linear = candle_nn::linear(64, 32, vb.pp("linear"))?;

    let ids = Tensor::new(&[[1u32, 5, 99], [0, 2, 7]], &CPU)?;
    let images = embedding.forward(&ids)?.unsqueeze(1)?; // [2, 1, 3, 64]
    // candle's fused layer norm has no backward pass: it stands before the loss, beside what is trained.
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
            // n ≥ 144 elements: the relative error of a std is 1/√(2n) = 6 % at one sigma.
            assert!(
                (std(var) / expected_std - 1.0).abs() < 4.0 / (2.0 * var.elem_count() as f64).sqrt(),
                "{name}"
            );
        }
    }
    assert_eq!(norm.weight().to_vec1::<f32>()?, [1.0; 64]);
    assert!(map.named_vars().iter().any(|(name, var)| name == "linear.bias" && std(var) > 0.0));
    Ok(())
}

fn small_bert(vb: VarBuilder) -> Result<bert::BertModel> {
    let config = bert::Config {
        vocab_size: 50,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 16,
        ..Default::default()
    };
    bert::BertModel::load(vb, &config)
}

#[test]
fn bert() -> Result<()> {
    let map = InitMap::new(42).with_weights(Initializer::normal(0.02));
    let model = small_bert(map.var_builder(DType::F32, &CPU))?;
    let ids = Tensor::new(&[[1u32, 5, 49, 3]], &CPU)?;
    let output = model.forward(&ids, &ids.zeros_like()?, None)?;
    assert_eq!(output.dims(), [1, 4, 32]);
    for (name, var) in map.named_vars() {
        if var.rank() >= 2 && var.elem_count() >= 500 {
            assert!((std(&var) / 0.02 - 1.0).abs() < 4.0 / (2.0 * var.elem_count() as f64).sqrt(), "{name}");
        }
    }
    assert_shared(&map, || model.forward(&ids, &ids.zeros_like()?, None));
    Ok(())
}

#[test]
fn a_convolutional_net_draws_what_its_layers_hint_at() -> Result<()> {
    let map = InitMap::new(42);
    let model = resnet::resnet18(10, map.var_builder(DType::F32, &CPU));
    // Without an initializer named, the hints of its layers are all there is; batch norms hint at constants.
    assert!(model.is_ok(), "{:?}", model.err());
    let output = model?.forward(&Tensor::ones((1, 3, 32, 32), DType::F32, &CPU)?)?;
    assert_eq!(output.dims(), [1, 10]);
    Ok(())
}

/// Half a model, or the model after another one, has the same weights.
#[test]
fn what_else_is_built_changes_no_bit() -> Result<()> {
    let alone = InitMap::new(7).with_weights(Initializer::normal(0.02));
    small_bert(alone.var_builder(DType::F32, &CPU).pp("a"))?;

    let among = InitMap::new(7).with_weights(Initializer::normal(0.02));
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
