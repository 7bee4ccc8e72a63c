//! Wick's own layers, each of which is one op with weight and bias, as the trace and what is built on it see them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::cell::RefCell;

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::Module;
use wick_init::InitMap;
use wick_kernels::Named;
use wick_layers as layers;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{Kind, Trace};
use wick_tests::{CPU, normal, numbers};
use wick_train::data_dependent::{AutoInit, Lsuv, PerChannel};
use wick_train::{CoordinateCheck, Subject};

fn std(xs: &Tensor) -> f64 {
    let xs = numbers(xs);
    let mean = xs.iter().sum::<f64>() / xs.len() as f64;
    (xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / xs.len() as f64).sqrt()
}

/// A forward pass that keeps the outputs of its layers.
type Forward = Box<dyn Fn(&mut Vec<Tensor>) -> Result<Tensor>>;

/// A model with its variables.
struct Model {
    map: InitMap,
    forward: Forward,
}

impl Model {
    fn new(make: impl FnOnce(&InitMap) -> Forward) -> Self {
        let map = InitMap::new(7).with_default_init("normal:std=0.02".parse().unwrap());
        let forward = make(&map);
        Self { map, forward }
    }

    fn vars(&self) -> Vec<(String, Var)> {
        self.map.named_vars()
    }

    fn run(&self) -> Result<Tensor> {
        (self.forward)(&mut Vec::new())
    }

    fn outputs(&self) -> Vec<Tensor> {
        let mut outputs = Vec::new();
        (self.forward)(&mut outputs).unwrap();
        outputs
    }
}

/// Layers with ReLU between them.
fn with_relu<M: Module + 'static, const N: usize>(net: [M; N], xs: Tensor) -> Forward {
    Box::new(move |outputs| {
        let mut hidden = xs.clone();
        for layer in &net {
            let output = layer.forward(&hidden)?;
            hidden = output.relu()?;
            outputs.push(output);
        }
        Ok(outputs[outputs.len() - 1].clone())
    })
}

fn dense(bias: bool) -> Model {
    Model::new(|map| {
        let vb = map.var_builder(DType::F32, &CPU);
        let layer = |inputs, outputs, name| layers::linear_b(inputs, outputs, bias, vb.pp(name)).unwrap();
        let net = [layer(16, 24, "a"), layer(24, 24, "b"), layer(24, 5, "c")];
        let xs = normal(3, "xs", (128, 16), DType::F32);
        with_relu(net, xs)
    })
}

fn convolutions(groups: usize) -> Model {
    Model::new(|map| {
        let vb = map.var_builder(DType::F32, &CPU);
        let config = |groups| layers::Conv2dConfig { padding: 1, groups, ..Default::default() };
        let net = [
            layers::conv2d(4, 8, 3, config(1), vb.pp("a")).unwrap(),
            layers::conv2d(8, 8, 3, config(groups), vb.pp("b")).unwrap(),
        ];
        let xs = normal(3, "xs", (16, 4, 6, 6), DType::F32);
        with_relu(net, xs)
    })
}

fn mlp(bias: bool) -> Model {
    Model::new(|map| {
        let config = MlpConfig::new(16, [32, 32, 5], Activation::Relu).with_bias(bias);
        let mlp = Mlp::new(&config, map.var_builder(DType::F32, &CPU)).unwrap();
        let xs = normal(3, "xs", (128, 16), DType::F32);
        Box::new(move |outputs| {
            let kept = RefCell::new(outputs);
            let output = mlp.forward(&xs)?;
            kept.borrow_mut().extend(mlp.tape(&xs, |_| None)?.outputs().cloned());
            Ok(output)
        })
    })
}

#[test]
fn a_dense_layer_and_a_convolution_are_seen_as_such() {
    for (model, kind, names) in [
        (dense(true), Kind::Linear, vec!["a", "b", "c"]),
        (dense(false), Kind::Linear, vec!["a", "b", "c"]),
        (convolutions(1), Kind::Conv, vec!["a", "b"]),
        (convolutions(4), Kind::Conv, vec!["a", "b"]),
        (mlp(true), Kind::Linear, vec!["layer_0", "layer_1", "layer_2"]),
        (mlp(false), Kind::Linear, vec!["layer_0", "layer_1", "layer_2"]),
    ] {
        let trace = Trace::run(&model.vars(), || model.run()?.sqr()?.mean_all()).unwrap();
        let seen: Vec<(String, Kind)> =
            trace.layers().iter().map(|layer| (layer.name.clone(), layer.kind)).collect();
        let expected: Vec<(String, Kind)> = names.into_iter().map(|name| (name.to_owned(), kind)).collect();
        assert_eq!(seen, expected);
    }
}

/// Layer-sequential unit variance reaches every layer, from weights of std 0.02.
#[test]
fn lsuv_corrects_every_layer() {
    for model in [dense(true), dense(false), convolutions(1), convolutions(4), mlp(true), mlp(false)] {
        let count = model.outputs().len();
        assert!(model.outputs().iter().all(|output| std(output) < 0.5), "the start is to be corrected");
        let changes = Lsuv::new().run(&model.vars(), || model.run()).unwrap();
        assert!(changes.are_reached() && changes.layers.len() == count, "{changes}");
        for output in model.outputs() {
            assert!((std(&output) - 1.0).abs() < 0.051, "{changes}");
        }
    }
}

/// From the moments of the input that is given, and of the activations between.
#[test]
fn auto_init_corrects_every_layer() {
    for (model, shape) in [(dense(true), vec![128, 16]), (convolutions(1), vec![16, 4, 6, 6])] {
        let xs = normal(3, "xs", shape, DType::F32);
        let changes = AutoInit::new().run(&model.vars(), &[&xs], || model.run()).unwrap();
        assert_eq!(changes.layers.len(), model.outputs().len(), "{changes}");
        for output in model.outputs() {
            assert!((0.7..1.4).contains(&std(&output)), "{}: {changes}", std(&output));
        }
    }
}

#[test]
fn every_channel_gets_mean_0_and_std_1() {
    for model in [dense(true), convolutions(1)] {
        let changes = PerChannel::new().run(&model.vars(), || model.run()).unwrap();
        assert_eq!(changes.layers.len(), model.outputs().len(), "{changes}");
        for output in model.outputs() {
            let channel = output.narrow(1, 1, 1).unwrap();
            let mean = numbers(&channel).iter().sum::<f64>() / channel.elem_count() as f64;
            assert!((std(&channel) - 1.0).abs() < 1e-4 && mean.abs() < 1e-4, "{changes}");
        }
    }
}

/// At widths of which one is that of the input, too.
#[test]
fn a_coordinate_check_has_every_layer_of_an_mlp() {
    let (xs, ys) = (normal(3, "xs", (32, 16), DType::F32), normal(3, "ys", (32, 5), DType::F32));
    let check = CoordinateCheck::new("adamw:lr=0.001".parse().unwrap()).with_steps(1);
    for bias in [false, true] {
        let found = check.run(&[16, 32, 64], &[1, 2], |width, seed| {
            let map = InitMap::new(seed).with_default_init("lecun_normal".parse().unwrap());
            let config = MlpConfig::new(16, [width, width, 5], Activation::Relu).with_bias(bias);
            let mlp = Mlp::new(&config, map.var_builder(DType::F32, &CPU))?;
            let (xs, ys) = (xs.clone(), ys.clone());
            let vars = map.named_vars().into_iter().map(|(name, var)| Named::new(&name, var)).collect();
            Ok(Subject { vars, loss: move |_| candle_nn::loss::mse(&mlp.forward(&xs)?, &ys) })
        });
        let found = found.unwrap();
        let names: Vec<&str> = found.layers.iter().map(|layer| layer.layer.as_str()).collect();
        assert_eq!(names, ["layer_0", "layer_1", "layer_2"], "{found}");
    }
}
