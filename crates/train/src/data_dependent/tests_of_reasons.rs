//! What is left as it was, with its reason, and what the list says at the end.

use candle_core::{DType, Result, Tensor, Var, bail};
use candle_nn::{Module, linear, linear_no_bias};
use wick_init::{InitMap, Initializer, KeyedV1};

use super::tests::{CPU, batch, bits, model, std_of};
use super::{AutoInit, Lsuv, PerChannel};

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
