//! Tests of the multilayer perceptron and its tape.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Module, VarBuilder, VarMap};
use wick_theory::Activation;

use super::{Mlp, MlpConfig};

#[test]
fn layers_are_products_biases_and_activations() {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu);
    let config = MlpConfig::new(3, [4, 2], Activation::Tanh)
        .with_bias(true)
        .with_output_activation(Activation::Identity);
    let mlp = Mlp::new(&config, vb).unwrap();
    let weight = |name: &str| vars.data().lock().unwrap()[name].as_tensor().clone();
    let x = Tensor::new(&[[0.3f64, -1.0, 2.0]], &Device::Cpu).unwrap();
    let by_hand = |x: &Tensor, layer: &str| {
        let product = x.matmul(&weight(&format!("{layer}.weight")).t().unwrap()).unwrap();
        product.broadcast_add(&weight(&format!("{layer}.bias"))).unwrap()
    };
    let expected = by_hand(&by_hand(&x, "layer_0").tanh().unwrap(), "layer_1");
    let got = mlp.forward(&x).unwrap();
    let difference = (got - expected).unwrap().abs().unwrap().max_all().unwrap();
    assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
    assert_eq!(vars.all_vars().len(), 4);
}

/// The tape's backward pass and candle's through the graph give the same gradients to the bit, with a penalty
/// on a weight and a batch of three, in f64, f32 and bf16 (which candle's ops compute).
#[test]
fn a_tape_finds_the_gradients_that_candle_finds() {
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, dtype, &Device::Cpu);
        let config = MlpConfig::new(3, [5, 4, 2], Activation::Gelu).with_bias(true);
        let mlp = Mlp::new(&config, vb).unwrap();
        let x = Tensor::new(&[[0.3f64, -1.0, 2.0], [1.0, 0.0, 0.5], [-0.2, 0.7, 0.1]], &Device::Cpu).unwrap();
        let x = x.to_dtype(dtype).unwrap();
        let first = mlp.layers().next().unwrap().weight().clone();
        let loss = |output: &Tensor| {
            (output.sqr().unwrap().sum_all().unwrap() + first.sqr().unwrap().sum_all().unwrap()).unwrap()
        };
        let expected = loss(&mlp.forward(&x).unwrap()).backward().unwrap();
        let tape = mlp.tape(&x, |_| None).unwrap();
        let widths: Vec<usize> = tape.outputs().map(|output| output.dim(1).unwrap()).collect();
        assert_eq!(widths, config.widths);
        let got = tape.backward(&loss(tape.output())).unwrap();
        for var in vars.all_vars() {
            let numbers = |store: &GradStore| {
                store.get(&var).unwrap().to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>()
            };
            assert_eq!(numbers(&got).unwrap(), numbers(&expected).unwrap(), "{dtype:?} {:?}", var.dims());
        }
    }
}

#[test]
fn a_tape_refuses_what_would_lose_gradients() {
    let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    let mlp = Mlp::new(&MlpConfig::new(3, [2], Activation::Tanh), vb).unwrap();
    let x = Var::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
    assert!(mlp.tape(&x, |_| None).unwrap_err().to_string().contains("depends on variables"));
    let tape = mlp.tape(&x.detach(), |_| None).unwrap();
    let error = tape.backward(&x.sum_all().unwrap()).unwrap_err().to_string();
    assert!(error.contains("does not depend on the output"), "{error}");
}

#[test]
fn without_biases_zero_in_is_zero_out_and_the_callbacks_tensor_goes_on() {
    let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    let mlp = Mlp::new(&MlpConfig::new(3, [4, 2], Activation::Sin), vb).unwrap();
    let zero = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(mlp.forward(&zero).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
    let one = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
    let cut = mlp.forward_with(&one, |signal| signal.output.zeros_like()).unwrap();
    assert_eq!(cut.to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
    assert_ne!(mlp.forward(&one).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
}
