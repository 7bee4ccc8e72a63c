//! Starts that look at the data: layer-sequential unit variance by PyTorch's ops, and on models of candle-transformers
//! as they are. `assets/reference/lsuv.py` made the values and has the recipe.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor};
use candle_nn::{Activation, Conv2dConfig, Module, ModuleT, Sequential, VarBuilder, seq};
use candle_transformers::models::{resnet, vgg};
use wick_init::InitMap;
use wick_tests::{CPU, normal, numbers};
use wick_train::data_dependent::{Changes, Lsuv};

fn golden() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/lsuv.safetensors");
    candle_core::safetensors::load(path, &CPU).unwrap()
}

fn net(name: &str, vb: VarBuilder) -> Result<Sequential> {
    let linear = |inputs, outputs, layer: usize| candle_nn::linear(inputs, outputs, vb.pp(layer.to_string()));
    let conv =
        |inputs, config, layer: usize| candle_nn::conv2d(inputs, 8, 3, config, vb.pp(layer.to_string()));
    let flatten = |xs: &Tensor| xs.flatten_from(1);
    Ok(match name {
        "relu" => seq()
            .add(linear(30, 40, 0)?)
            .add(Activation::Relu)
            .add(linear(40, 40, 2)?)
            .add(Activation::Relu)
            .add(linear(40, 10, 4)?),
        "tanh" => (0..6).try_fold(seq(), |net, layer| {
            Ok::<_, candle_core::Error>(net.add(linear(30, 30, 2 * layer)?).add_fn(Tensor::tanh))
        })?,
        _ => seq()
            .add(conv(2, Conv2dConfig { padding: 1, ..Default::default() }, 0)?)
            .add(Activation::Relu)
            .add(conv(8, Conv2dConfig { stride: 2, ..Default::default() }, 2)?)
            .add(Activation::Relu)
            .add_fn(flatten)
            .add(linear(72, 10, 5)?),
    })
}

/// The largest difference of a weight from that of the recipe.
fn difference(name: &str, lsuv: Lsuv) -> f64 {
    let golden = golden();
    let map = InitMap::new(0);
    let net = net(name, map.var_builder(DType::F32, &CPU)).unwrap();
    let vars = map.named_vars();
    for (variable, var) in &vars {
        var.set(&golden[&format!("{name}/start/{variable}")]).unwrap();
    }
    let batch = &golden[&format!("{name}/batch")];
    lsuv.run(&vars, || net.forward(batch)).unwrap();
    let of_one = |(variable, var): &(String, _)| {
        let meant = numbers(&golden[&format!("{name}/after/{variable}")]);
        let got = numbers(candle_core::Var::as_tensor(var));
        assert_eq!(got.len(), meant.len());
        got.iter().zip(meant).map(|(got, meant)| (got - meant).abs()).fold(0.0, f64::max)
    };
    vars.iter().map(of_one).fold(0.0, f64::max)
}

#[test]
fn the_weights_are_those_of_the_recipe() {
    for name in ["relu", "tanh", "conv"] {
        let right = difference(name, Lsuv::new());
        println!("{name}: within {right:.1e} of the recipe in PyTorch");
        assert!(right < 1e-4, "{name}: {right}");
        let wrong = difference(name, Lsuv::new().with_aim(1.1));
        assert!(wrong > 1e-3, "{name}: {wrong}");
    }
}

fn is_right(name: &str, changes: &Changes, layers: usize) {
    let worst = changes.layers.iter().map(|layer| (layer.std_after - 1.0).abs()).fold(0.0, f64::max);
    println!(
        "{name}: {} layers, {} passes, |std - 1| up to {worst:.1e}",
        changes.layers.len(),
        changes.forwards
    );
    assert_eq!(changes.layers.len(), layers, "{changes}");
    assert!(worst <= 0.05, "{changes}");
    assert!(changes.forwards <= 3 * layers, "{changes}");
    // The twin: without a change, most layers were elsewhere.
    let far = changes.layers.iter().filter(|layer| (layer.std_before - 1.0).abs() > 0.05).count();
    assert!(2 * far > layers, "{changes}");
}

#[test]
fn resnet_as_it_is() {
    let map = InitMap::new(1).with_default_init("orthogonal".parse().unwrap());
    let model = resnet::resnet18(10, map.var_builder(DType::F32, &CPU)).unwrap();
    let images = normal(1, "images", (4, 3, 32, 32), DType::F32);
    let changes = Lsuv::new().run(&map.named_vars(), || model.forward(&images)).unwrap();
    is_right("resnet18", &changes, 21);
}

/// One image, as candle's model takes it: it adds the batch itself, and has no dropout in evaluation. It asks for its last layer in
/// each pass, so that a first pass makes the variables of this layer.
#[test]
#[ignore = "takes half a minute and 2 GB"]
fn vgg16_as_it_is() {
    let map = InitMap::new(1).with_default_init("normal:std=.01".parse().unwrap());
    let model = vgg::Vgg::new(map.var_builder(DType::F32, &CPU), vgg::Models::Vgg16).unwrap();
    let image = normal(1, "image", (3, 224, 224), DType::F32);
    model.forward_t(&image, false).unwrap();
    let changes = Lsuv::new().run(&map.named_vars(), || model.forward_t(&image, false)).unwrap();
    is_right("vgg16", &changes, 16);
}
