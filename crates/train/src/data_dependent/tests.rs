use candle_core::{DType, Device, Result, Tensor, Var, bail};
use candle_nn::{Module, Sequential, linear, linear_no_bias, seq};
use wick_init::{InitMap, Initializer, KeyedV1};

use super::{AutoInit, Lsuv, PerChannel, Signal, prior_bias};
use crate::Error;

pub(super) const CPU: Device = Device::Cpu;

pub(super) fn batch(name: &str, shape: (usize, usize), std: f64) -> Tensor {
    let key = KeyedV1::new(7).key(name);
    Initializer::normal(std).tensor(key, shape, DType::F32, &CPU).unwrap()
}

pub(super) fn bits(vars: &[(String, Var)]) -> Vec<Vec<u32>> {
    let of = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    vars.iter().map(|(_, var)| of(var).into_iter().map(f32::to_bits).collect()).collect()
}

/// Six layers 40-40-…-10 with biases.
pub(super) fn model(map: &InitMap, activation: candle_nn::Activation) -> Sequential {
    let vb = map.var_builder(DType::F32, &CPU);
    let mut model = seq();
    for layer in 0..6 {
        let out = if layer == 5 { 10 } else { 40 };
        model = model.add(linear(40, out, vb.pp(format!("fc{layer}"))).unwrap());
        if layer < 5 {
            model = model.add(activation);
        }
    }
    model
}

pub(super) fn std_of(tensor: &Tensor) -> f64 {
    wick_kernels::moments(tensor).unwrap().std()
}

#[test]
fn every_layer_has_unit_variance_with_biases_too() {
    // PyTorch's biases, which no single factor for the weight accounts for.
    let map = InitMap::new(1);
    let model = model(&map, candle_nn::Activation::Relu);
    let xs = batch("xs", (200, 40), 3.0);
    let changes = Lsuv::new().run(&map.named_vars(), || model.forward(&xs)).unwrap();
    assert_eq!(changes.layers.len(), 6);
    assert!(changes.are_reached(), "{changes}");
    assert!(changes.forwards <= 3 * 6, "{changes}");
    // The list says what is true of the model.
    assert!((std_of(&model.forward(&xs).unwrap()) - changes.layers[5].std_after).abs() < 1e-6);
    let again = Lsuv::new().run(&map.named_vars(), || model.forward(&xs)).unwrap();
    assert!(again.layers.iter().all(|layer| layer.factor == 1.0), "{again}");
    assert_eq!(again.forwards, 1);
    // The twin: another start is as far off as the list said of this one.
    let other = InitMap::new(1);
    let plain = self::model(&other, candle_nn::Activation::Relu);
    assert!((std_of(&plain.forward(&xs).unwrap()) - 1.0).abs() > 0.5);
}

#[test]
fn behind_the_activation_and_a_bounded_one_says_that_it_cannot() {
    let xs = batch("xs", (200, 40), 3.0);
    let map = InitMap::new(1).with_default_init("orthogonal".parse().unwrap());
    let relu = model(&map, candle_nn::Activation::Relu);
    let lsuv = Lsuv::new().at(Signal::Activation);
    let changes = lsuv.run(&map.named_vars(), || relu.forward(&xs)).unwrap();
    assert!(changes.are_reached(), "{changes}");
    let first = relu.forward_all(&xs).unwrap().remove(1);
    assert!((std_of(&first) - 1.0).abs() <= 0.05, "{}", std_of(&first));

    let map = InitMap::new(1);
    let tanh = seq().add(model(&map, candle_nn::Activation::Sigmoid));
    let changes = lsuv.run(&map.named_vars(), || tanh.forward(&xs)).unwrap();
    // A sigmoid's outputs lie within (0, 1): their std is below a half.
    assert!(!changes.layers[0].is_reached && changes.layers[0].std_after < 0.5, "{changes}");
    assert!(changes.to_string().contains("which is not what was asked for"));
}

#[test]
fn means_are_taken_off_where_there_is_a_bias() {
    let map = InitMap::new(3);
    let model = model(&map, candle_nn::Activation::Relu);
    let xs = (batch("xs", (200, 40), 1.0) + 4.0).unwrap();
    Lsuv::new().with_zero_mean().with_tolerance(0.01).run(&map.named_vars(), || model.forward(&xs)).unwrap();
    for (index, output) in model.forward_all(&xs).unwrap().iter().enumerate().step_by(2) {
        let moments = wick_kernels::moments(output).unwrap();
        assert!((moments.std() - 1.0).abs() <= 0.01, "{index}: {}", moments.std());
        assert!(moments.mean().abs() <= 0.01, "{index}: {}", moments.mean());
    }
}

#[test]
fn an_error_puts_every_variable_back() {
    let map = InitMap::new(1);
    let model = model(&map, candle_nn::Activation::Relu);
    let (vars, xs) = (map.named_vars(), batch("xs", (50, 40), 9.0));
    let before = bits(&vars);
    let mut passes = 0;
    let failing = || {
        passes += 1;
        if passes == 4 {
            bail!("no more data")
        }
        model.forward(&xs)
    };
    let error = Lsuv::new().run(&vars, failing).unwrap_err();
    assert!(error.to_string().contains("no more data"), "{error}");
    assert_eq!(bits(&vars), before);
    // Three passes had changed something.
    Lsuv::new().run(&vars, || model.forward(&xs)).unwrap();
    assert_ne!(bits(&vars), before);
}

#[test]
fn what_cannot_be_scaled_is_left_with_a_reason() {
    let map = InitMap::new(1);
    let shared = linear_no_bias(20, 20, map.var_builder(DType::F32, &CPU).pp("shared")).unwrap();
    let zero = Var::zeros((20, 20), DType::F32, &CPU).unwrap();
    let g = Var::from_tensor(&(batch("g", (20, 1), 1.0).sqr().unwrap() + 1.0).unwrap()).unwrap();
    let v = Var::from_tensor(&batch("v", (20, 20), 1.0)).unwrap();
    let mut vars = map.named_vars();
    let others = [("zero.weight", &zero), ("normed.g", &g), ("normed.v", &v)];
    vars.extend(others.map(|(name, var)| (name.to_owned(), var.clone())));
    let xs = batch("xs", (30, 20), 1.0);
    let forward = || -> Result<Tensor> {
        let ys = shared.forward(&shared.forward(&xs)?.relu()?)?;
        let ys = (&ys + ys.matmul(&zero.t()?)?)?;
        let norm = v.sqr()?.sum_keepdim(1)?.sqrt()?;
        ys.matmul(&v.broadcast_mul(&(g.as_tensor() / norm)?)?.t()?)
    };
    let changes = Lsuv::new().run(&vars, forward).unwrap();
    let names: Vec<&str> = changes.layers.iter().map(|change| change.layer.as_str()).collect();
    assert_eq!(names, ["shared"], "{changes}");
    let skipped: Vec<&str> = changes.skipped.iter().map(|skipped| skipped.name.as_str()).collect();
    assert!(skipped.contains(&"zero") && skipped.len() == 2, "{changes}");
    let text = changes.to_string();
    assert!(text.contains("zero has the same output everywhere"), "{text}");
    assert!(text.contains("made of several parameters"), "{text}");
}

#[test]
fn bad_passes_and_settings_are_named() {
    let map = InitMap::new(1);
    let model = model(&map, candle_nn::Activation::Relu);
    let vars = map.named_vars();
    let bad = (batch("xs", (5, 40), 1.0) * f64::NAN).unwrap();
    let error = Lsuv::new().run(&vars, || model.forward(&bad)).unwrap_err().to_string();
    assert!(error.starts_with("the output of `fc0` is not finite"), "{error}");
    let xs = batch("xs", (5, 40), 1.0);
    let error = Lsuv::new().run(&[], || model.forward(&xs)).unwrap_err().to_string();
    assert!(error.contains("found no layer to correct among 0 parameters"), "{error}");
    for lsuv in [Lsuv::new().with_aim(f64::NAN), Lsuv::new().with_tolerance(0.0), Lsuv::new().with_tries(0)] {
        let error = lsuv.run(&vars, || model.forward(&xs)).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{error}");
    }
}

#[test]
fn the_expected_mean_square_counts_the_padding_of_a_convolution() {
    let map = InitMap::new(1).with_default_init("normal:std=.01".parse().unwrap());
    let vb = map.var_builder(DType::F32, &CPU);
    let config = candle_nn::Conv2dConfig { padding: 2, ..Default::default() };
    let conv = candle_nn::conv2d_no_bias(3, 64, 5, config, vb.pp("conv")).unwrap();
    let xs = batch("images", (40, 3 * 36), 2.0).reshape((40, 3, 6, 6)).unwrap();
    let changes = AutoInit::new().run(&map.named_vars(), &[&xs], || conv.forward(&xs)).unwrap();
    let after = changes.layers[0].std_after;
    assert!((after - 1.0).abs() < 0.03, "{changes}");
    // Without the padding, fan_in · E x² = 75 · 4 would be too much: 1 − 1/6 · (2 + 1) of the taps lie inside on an axis.
    let inside = ((6.0 + 2.0 * 5.0 + 2.0 * 4.0) / 30.0f64).powi(2);
    assert!((changes.layers[0].factor / (100.0 / (300.0 * inside).sqrt()) - 1.0).abs() < 0.02, "{changes}");
    // An input that is not passed is not known.
    let error = AutoInit::new().run(&map.named_vars(), &[], || conv.forward(&xs)).unwrap_err();
    assert!(error.to_string().contains("found no layer"), "{error}");
}

#[test]
fn each_channel_of_a_convolution_is_standardised() {
    let map = InitMap::new(1);
    let vb = map.var_builder(DType::F32, &CPU);
    let conv = candle_nn::conv2d(2, 6, 3, Default::default(), vb.pp("conv")).unwrap();
    let xs = (batch("images", (40, 2 * 36), 2.0).reshape((40, 2, 6, 6)).unwrap() + 1.0).unwrap();
    PerChannel::new().run(&map.named_vars(), || conv.forward(&xs)).unwrap();
    let output = conv.forward(&xs).unwrap();
    for channel in 0..6 {
        let moments =
            wick_kernels::moments(&output.narrow(1, channel, 1).unwrap().contiguous().unwrap()).unwrap();
        assert!(moments.mean().abs() < 1e-5 && (moments.std() - 1.0).abs() < 1e-5, "{channel}: {moments:?}");
    }
}

#[test]
fn the_first_loss_is_the_entropy_of_the_labels() {
    let bias = Var::zeros(4, DType::F64, &CPU).unwrap();
    let counts = [70u64, 20, 9, 1];
    prior_bias(&bias, &counts).unwrap();
    let logits: Vec<f64> = bias.to_vec1().unwrap();
    assert!(logits.iter().sum::<f64>().abs() < 1e-12);
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    for (logit, count) in logits.iter().zip(counts) {
        assert!((logit.exp() / sum - (count as f64 + 1.0) / 104.0).abs() < 1e-12);
    }
    for (size, counts) in [(3, vec![1, 2]), (1, vec![1, 2, 3]), (2, vec![0, 0]), (1, vec![5])] {
        let bias = Var::ones(size, DType::F32, &CPU).unwrap();
        assert!(matches!(prior_bias(&bias, &counts), Err(Error::Settings(_))));
        assert_eq!(bias.to_vec1::<f32>().unwrap(), vec![1.0; size]);
    }
}

#[test]
fn a_square_weight_that_is_stored_the_other_way_is_left_as_it_was() {
    let w = Var::from_tensor(&batch("w", (20, 20), 0.5)).unwrap();
    let (vars, xs) = (vec![("w".to_owned(), w.clone())], batch("xs", (60, 20), 1.0));
    let before = bits(&vars);
    let error = PerChannel::new().run(&vars, || xs.matmul(&w)).unwrap_err().to_string();
    assert!(error.contains("found no layer to correct"), "{error}");
    assert_eq!(bits(&vars), before);
    let changes = PerChannel::new().run(&vars, || xs.matmul(&w.t()?)).unwrap();
    assert!(changes.layers.len() == 1 && changes.layers[0].is_reached, "{changes}");
}
