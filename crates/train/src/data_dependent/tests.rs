use candle_core::{DType, Device, Result, Tensor, Var, bail};
use candle_nn::{Module, Sequential, linear, linear_no_bias, seq};
use wick_init::{InitMap, Initializer, KeyedV1};

use super::{AutoInit, Lsuv, PerChannel, Signal, prior_bias};
use crate::Error;

const CPU: Device = Device::Cpu;

fn batch(name: &str, shape: (usize, usize), std: f64) -> Tensor {
    let key = KeyedV1::new(7).key(name);
    Initializer::normal(std).tensor(key, shape, DType::F32, &CPU).unwrap()
}

fn bits(vars: &[(String, Var)]) -> Vec<Vec<u32>> {
    let of = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    vars.iter().map(|(_, var)| of(var).into_iter().map(f32::to_bits).collect()).collect()
}

/// Six layers 40-40-…-10 with biases.
fn model(map: &InitMap, activation: candle_nn::Activation) -> Sequential {
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

fn std_of(tensor: &Tensor) -> f64 {
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

/// A table `wte` that makes the logits too, about two residual blocks: `wte.weight` is at both ends.
fn tied(map: &InitMap) -> impl Fn() -> Result<Tensor> + use<> {
    let vb = map.var_builder(DType::F32, &CPU);
    let wte = candle_nn::embedding(50, 32, vb.pp("wte")).unwrap();
    let blocks: Vec<_> = (0..2)
        .map(|block| {
            let vb = vb.pp(format!("h{block}"));
            let up = linear(32, 128, vb.pp("up")).unwrap();
            (up, linear(128, 32, vb.pp("down")).unwrap())
        })
        .collect();
    let tokens =
        Tensor::new((0..200u32).map(|place| (7 * place + 3) % 50).collect::<Vec<_>>(), &CPU).unwrap();
    move || {
        let mut h = wte.forward(&tokens)?;
        for (up, down) in &blocks {
            h = (&h + down.forward(&up.forward(&h)?.gelu()?)?)?;
        }
        h.matmul(&wte.embeddings().t()?)
    }
}

#[test]
fn a_tied_embedding_is_left_and_the_list_is_true_at_the_end() {
    let map = InitMap::new(3).with_default_init("normal:std=0.02".parse().unwrap());
    let forward = tied(&map);
    let vars = map.named_vars();
    let (_, wte) = vars.iter().find(|(name, _)| name == "wte.weight").unwrap();
    let before = wte.to_vec2::<f32>().unwrap();
    let changes = Lsuv::new().run(&vars, &forward).unwrap();
    assert_eq!(wte.to_vec2::<f32>().unwrap(), before);
    assert_eq!(changes.layers.len(), 4, "{changes}");
    assert!(changes.are_reached(), "{changes}");
    let reason = &changes.skipped.iter().find(|skipped| skipped.name == "wte").unwrap().reason;
    assert!(reason.contains("table of an embedding"), "{changes}");
    // The list is what a pass with the weights at the end gives: nothing is left to correct.
    let again = Lsuv::new().run(&vars, &forward).unwrap();
    assert_eq!(again.forwards, 1);
    for (first, second) in changes.layers.iter().zip(&again.layers) {
        assert_eq!((first.std_after, &first.layer), (second.std_before, &second.layer));
    }
}

#[test]
fn a_weight_that_hardly_moves_its_output_is_left() {
    let map = InitMap::new(1);
    let model = model(&map, candle_nn::Activation::Relu);
    let vars = map.named_vars();
    let before = bits(&vars);
    let zeros = Tensor::zeros((20, 40), DType::F32, &CPU).unwrap();
    let first = |xs: &Tensor| {
        let changes = Lsuv::new().run(&vars, || model.forward(xs));
        (bits(&vars)[index(&vars, "fc0.weight")].clone(), changes)
    };
    let (weight, changes) = first(&zeros);
    assert_eq!(weight, before[index(&vars, "fc0.weight")]);
    let text = changes.map_or_else(|error| error.to_string(), |changes| changes.to_string());
    assert!(text.contains("fc0") && text.contains("that its weight hardly moves"), "{text}");

    // Almost zeros beside a bias of a usual size.
    let tiny = (batch("xs", (50, 40), 1.0) * 1e-6).unwrap();
    let small =
        Initializer::normal(1e-3).tensor(KeyedV1::new(1).key("w"), (40, 40), DType::F32, &CPU).unwrap();
    vars[index(&vars, "fc0.weight")].1.set(&small).unwrap();
    let before = bits(&vars);
    let (weight, changes) = first(&tiny);
    assert_eq!(weight, before[index(&vars, "fc0.weight")]);
    let changes = changes.unwrap();
    assert!(changes.skipped.iter().any(|skipped| skipped.name == "fc0"), "{changes}");
    // The twin: a weight of a hundredth of the variance is corrected beside the same bias.
    let (_, changes) = first(&batch("xs", (50, 40), 1.0));
    assert!(changes.unwrap().layers[0].is_reached);
}

fn index(vars: &[(String, Var)], name: &str) -> usize {
    vars.iter().position(|(other, _)| other == name).unwrap()
}

#[test]
fn running_statistics_are_put_back_after_success_and_after_an_error() {
    let map = InitMap::new(1);
    let vb = map.var_builder(DType::F32, &CPU);
    let fc = linear(40, 40, vb.pp("fc")).unwrap();
    let bn = candle_nn::batch_norm(40, 1e-5, vb.pp("bn")).unwrap();
    let head = linear(40, 10, vb.pp("head")).unwrap();
    let vars = map.named_vars();
    let xs = batch("xs", (50, 40), 9.0);
    let pass = || head.forward(&candle_nn::ModuleT::forward_t(&bn, &fc.forward(&xs)?.relu()?, true)?);
    let before = bits(&vars);
    let mut passes = 0;
    let failing = || {
        passes += 1;
        let output = pass()?;
        if passes == 3 { bail!("no more data") } else { Ok(output) }
    };
    Lsuv::new().run(&vars, failing).unwrap_err();
    assert_eq!(bits(&vars), before);
    let first = || {
        pass()?;
        bail!("no data")
    };
    Lsuv::new().run(&vars, first).unwrap_err();
    assert_eq!(bits(&vars), before);

    let changes = Lsuv::new().run(&vars, pass).unwrap();
    let corrected: Vec<&str> = changes.layers.iter().map(|change| change.weight.as_str()).collect();
    for (((name, _), now), before) in vars.iter().zip(bits(&vars)).zip(&before) {
        assert_eq!(&now == before, !corrected.contains(&name.as_str()), "{name}");
    }
    // The twin: a pass by itself moves the statistics.
    pass().unwrap();
    assert_ne!(bits(&vars)[index(&vars, "bn.running_mean")], before[index(&vars, "bn.running_mean")]);
}

#[test]
fn a_model_without_a_layer_to_correct_says_why() {
    let map = InitMap::new(1);
    let fc = linear_no_bias(4, 6, map.var_builder(DType::F32, &CPU).pp("fc")).unwrap();
    let xs = batch("xs", (5, 4), 1.0);
    let vars = map.named_vars();
    let error = AutoInit::new().run(&vars, &[], || fc.forward(&xs)).unwrap_err().to_string();
    assert!(
        error.contains("found no layer") && error.contains("`fc` has an input that was not found"),
        "{error}"
    );
    let one = xs.narrow(0, 0, 1).unwrap();
    let error = PerChannel::new().run(&vars, || fc.forward(&one)).unwrap_err().to_string();
    assert!(
        error.contains("`fc` has one number for each channel") && error.contains("larger batch"),
        "{error}"
    );
}

#[test]
fn factors_have_four_significant_digits() {
    let cases = [
        (1.0, "1.000"),
        (51.886, "51.89"),
        (1e-4, "0.0001000"),
        (3.217e-9, "3.217e-9"),
        (8.6e17, "8.600e17"),
        (99_999.6, "100000"),
        (999_999.6, "1.000e6"),
        (0.0, "0"),
    ];
    for (number, text) in cases {
        assert_eq!(super::changes::digits(number), text);
    }
}

#[test]
fn the_groups_of_a_convolution_take_their_parts_of_an_input() {
    for (groups, outputs) in [(2, 64), (8, 64)] {
        let map = InitMap::new(1).with_default_init("normal:std=.01".parse().unwrap());
        let config = candle_nn::Conv2dConfig { groups, ..Default::default() };
        let vb = map.var_builder(DType::F32, &CPU).pp("conv");
        let conv = candle_nn::conv2d_no_bias(8, outputs, 3, config, vb).unwrap();
        let xs = batch("images", (40, 8 * 36), 2.0).reshape((40, 8, 6, 6)).unwrap();
        let changes = AutoInit::new().run(&map.named_vars(), &[&xs], || conv.forward(&xs)).unwrap();
        assert!((std_of(&conv.forward(&xs).unwrap()) - 1.0).abs() < 0.03, "{changes}");
        assert!((changes.layers[0].std_after - 1.0).abs() < 0.03, "{changes}");
    }
}

/// The second weight's size, which is not in the graph, scales the input of the first layer.
#[test]
fn layers_are_measured_again_after_the_last_correction() {
    let [wa, wb] = [("a", 0.5), ("b", 0.05)].map(|(name, std)| {
        let key = KeyedV1::new(2).key(name);
        Var::from_tensor(&Initializer::normal(std).tensor(key, (20, 20), DType::F32, &CPU).unwrap()).unwrap()
    });
    let xs = batch("xs", (60, 20), 1.0);
    let first = || -> Result<(Tensor, Tensor)> {
        let size = wb.as_detached_tensor().sqr()?.mean_all()?.sqrt()?;
        Ok((xs.broadcast_mul(&size)?.matmul(&wa.t()?)?, size))
    };
    let forward = || {
        let (output, size) = first()?;
        output.relu()?.broadcast_div(&size)?.matmul(&wb.t()?)
    };
    let vars = [("a.weight".to_owned(), wa.clone()), ("b.weight".to_owned(), wb.clone())];
    let changes = Lsuv::new().run(&vars, forward).unwrap();
    let names: Vec<&str> = changes.layers.iter().map(|change| change.layer.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let now = std_of(&first().unwrap().0);
    assert!((now - 1.0).abs() > 0.05 && (changes.layers[0].std_after - now).abs() < 1e-6, "{now}: {changes}");
    assert!(
        !changes.layers[0].is_reached && changes.layers[1].is_reached && !changes.are_reached(),
        "{changes}"
    );
}
