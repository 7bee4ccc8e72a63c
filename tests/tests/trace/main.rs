//! Models of candle-transformers, unmodified, seen by a trace.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod bands;
mod cuts;
mod kept;
mod least_squares;
mod models;
mod stale;
mod tapped;
mod zero_heads;

use std::collections::BTreeSet;

use candle_core::{Tensor, Var};
use wick_probe::{Kind, Trace, check_each_gradient};
use wick_theory::Activation;

use models::Model;

impl Model {
    fn trace(&mut self) -> (Vec<(String, Var)>, Trace) {
        let vars = self.map.named_vars();
        let trace = Trace::run(&vars, || (self.forward)()).unwrap();
        (vars, trace)
    }
}

/// What is known of a model: parameters that are reached and all of them, layers, cuts.
struct Expected {
    model: fn() -> Model,
    reached: (usize, usize),
    layers: usize,
    cuts: usize,
    by: Option<&'static str>,
}

const SOFTMAX: Option<&str> = Some("candle-nn's softmax_last_dim, rope or sdpa");
const LAYER_NORM: Option<&str> = Some("candle-nn's LayerNorm");
const RMS_NORM: Option<&str> = Some("candle-nn's RmsNorm");
const CACHE: Option<&str> = Some("candle-nn's KvCache");

#[rustfmt::skip]
const MODELS: [Expected; 15] = [
    Expected { model: || models::small("vit"), reached: (24, 40), layers: 13, cuts: 4, by: LAYER_NORM },
    Expected { model: || models::t5(false), reached: (36, 52), layers: 37, cuts: 6, by: SOFTMAX },
    Expected { model: || models::t5(true), reached: (31, 47), layers: 33, cuts: 6, by: SOFTMAX },
    Expected { model: || models::small("gemma"), reached: (16, 20), layers: 17, cuts: 2, by: SOFTMAX },
    Expected { model: || models::small("gemma3"), reached: (16, 28), layers: 17, cuts: 2, by: CACHE },
    Expected { model: || models::small("llama"), reached: (1, 30), layers: 1, cuts: 1, by: RMS_NORM },
    Expected { model: || models::small("mistral"), reached: (13, 21), layers: 13, cuts: 6, by: RMS_NORM },
    Expected { model: || models::small("qwen2"), reached: (1, 26), layers: 1, cuts: 1, by: RMS_NORM },
    Expected { model: || models::small("phi"), reached: (2, 33), layers: 1, cuts: 1, by: LAYER_NORM },
    Expected { model: || models::small("mamba"), reached: (1, 22), layers: 1, cuts: 1, by: RMS_NORM },
    Expected { model: || models::small("bert"), reached: (0, 37), layers: 0, cuts: 0, by: None },
    Expected { model: || models::small("convnext"), reached: (2, 152), layers: 1, cuts: 1, by: LAYER_NORM },
    Expected { model: || models::small("efficientnet-b0"), reached: (213, 213), layers: 131, cuts: 0, by: None },
    Expected { model: || models::small("repvgg"), reached: (290, 290), layers: 23, cuts: 0, by: None },
    Expected { model: || models::small("resnet18"), reached: (62, 62), layers: 41, cuts: 0, by: None },
];

/// What a loss reaches, where and by what its graph is cut, and how many layers are seen. The parameters that are
/// reached are those to which candle's own backward pass gives a gradient, where it is no error.
#[test]
fn what_stock_models_train() {
    for expected in MODELS {
        let mut model = (expected.model)();
        let (vars, trace) = model.trace();
        let reach = trace.reach();
        let found = (reach.parameters - reach.unreached.len(), reach.parameters);
        assert_eq!((found, trace.layers().len()), (expected.reached, expected.layers), "{}", model.name);
        let by = reach.cuts.first().and_then(|cut| cut.by);
        assert_eq!((reach.cuts.len(), by), (expected.cuts, expected.by), "{}: {reach}", model.name);
        assert_eq!(reach.stale.len(), if model.name == "repvgg" { 288 } else { 0 }, "{}", model.name);
        if let Ok(gradients) = trace.loss().backward() {
            for (name, var) in &vars {
                let is_unreached = reach.unreached.contains(name) || name.contains("running_");
                assert!(gradients.get(var).is_some() != is_unreached || model.name == "repvgg", "{name}");
            }
        }
        // Every parameter that is reached belongs to a layer.
        let seen: BTreeSet<&String> = trace.layers().iter().flat_map(|layer| &layer.parameters).collect();
        for (name, _) in &vars {
            let is_seen = seen.contains(name);
            let is_reached = !reach.unreached.contains(name) && !name.contains("running_");
            assert!(is_seen == is_reached || model.name == "repvgg", "{}: {name}", model.name);
        }
    }
}

/// The exact lists of two models, and the names of a third one's layers with their kinds and activations.
#[test]
fn names_of_what_is_seen() {
    let (vars, trace) = models::small("llama").trace();
    let unreached: Vec<&String> =
        vars.iter().map(|(name, _)| name).filter(|name| *name != "lm_head.weight").collect();
    assert_eq!(trace.reach().unreached.iter().collect::<Vec<_>>(), unreached);
    assert!(trace.reach().to_string().contains("the graph is cut before lm_head, as by candle-nn's RmsNorm"));

    let (_, trace) = models::small("gemma").trace();
    let of_query = ["0.self_attn.k_proj", "0.self_attn.q_proj", "1.self_attn.k_proj", "1.self_attn.q_proj"];
    let expected: Vec<String> = of_query.iter().map(|name| format!("model.layers.{name}.weight")).collect();
    assert_eq!(trace.reach().unreached, expected);
    let found: Vec<(&str, usize, Kind, Option<Activation>)> = trace
        .layers()
        .iter()
        .map(|layer| {
            let activation = layer.activation.as_ref().map(|(activation, _)| *activation);
            (layer.name.as_str(), layer.call, layer.kind, activation)
        })
        .collect();
    let mut expected = vec![("model.embed_tokens".to_owned(), 0, Kind::Embedding, None)];
    for block in 0..2 {
        for (name, kind, activation) in [
            ("input_layernorm", Kind::Norm, None),
            ("self_attn.v_proj", Kind::Linear, None),
            ("self_attn.o_proj", Kind::Linear, None),
            ("post_attention_layernorm", Kind::Norm, None),
            ("mlp.gate_proj", Kind::Linear, Some(Activation::Gelu)),
            ("mlp.up_proj", Kind::Linear, None),
            ("mlp.down_proj", Kind::Linear, None),
        ] {
            expected.push((format!("model.layers.{block}.{name}"), 0, kind, activation));
        }
    }
    expected.push(("model.norm".into(), 0, Kind::Norm, None));
    // The embedding is the head too.
    expected.push(("model.embed_tokens".into(), 1, Kind::Linear, None));
    let expected: Vec<_> =
        expected.iter().map(|(name, call, kind, phi)| (&**name, *call, *kind, *phi)).collect();
    assert_eq!(found, expected);
}

/// Activations of convolutional nets: EfficientNet's 49 silu and 16 sigmoid of 131 layers, and the 9 relu behind the
/// norms of ResNet-18 that no residual sum comes before.
#[test]
fn activations_of_convolutional_nets() {
    let count = |trace: &Trace, activation: Option<Activation>| {
        let of =
            |layer: &&wick_probe::TracedLayer| layer.activation.as_ref().map(|(phi, _)| *phi) == activation;
        trace.layers().iter().filter(of).count()
    };
    let (_, trace) = models::small("efficientnet-b0").trace();
    let found = [Some(Activation::Silu), Some(Activation::Sigmoid), None].map(|phi| count(&trace, phi));
    assert_eq!(found, [49, 16, 66]);
    let (_, trace) = models::small("resnet18").trace();
    assert_eq!([Some(Activation::Relu), None].map(|phi| count(&trace, phi)), [9, 32]);
}

/// The names of stale copies are those of the variables that change no bit of the output, each set alone.
#[test]
fn stale_copies_are_those_that_no_step_changes() {
    let mut model = models::small("repvgg");
    let (vars, trace) = model.trace();
    assert_eq!(trace.reach().stale.len(), 288);
    let bits = |loss: &Tensor| loss.to_scalar::<f32>().unwrap().to_bits();
    let before = bits(trace.loss());
    let stale: BTreeSet<&String> = trace.reach().stale.iter().collect();
    for (name, var) in &vars {
        let copy = var.as_tensor().copy().unwrap();
        var.set(&(&copy * 1.5).unwrap()).unwrap();
        let is_same = bits(&(model.forward)().unwrap()) == before;
        var.set(&copy).unwrap();
        assert_eq!(is_same, stale.contains(name), "{name}");
    }
}

/// Where a cut runs beside a residual stream, some parameters get a gradient that is not that of the loss: those
/// before the cuts, and none behind them. Where everything that is reached is behind the cut, all are whole.
#[test]
fn partial_gradients() {
    for (mut model, behind) in [
        (models::small("vit"), &["classifier", "vit.layernorm"][..]),
        (models::t5(false), &["lm_head", "decoder.final_layer_norm"]),
        (models::small("gemma"), &["model.norm"]),
        (models::small("phi"), &["lm_head"]),
    ] {
        let vars = model.map.named_vars();
        let checks = check_each_gradient(&vars, || (model.forward)()).unwrap();
        let wrong: Vec<&String> =
            checks.iter().filter(|(_, check)| !check.is_whole()).map(|(name, _)| name).collect();
        println!("{}: {} of {} are not whole", model.name, wrong.len(), checks.len());
        let is_behind = |name: &str| behind.iter().any(|layer| name.starts_with(layer));
        assert!(wrong.iter().all(|name| !is_behind(name)), "{wrong:?}");
        assert_eq!(wrong.is_empty(), model.name == "phi", "{}: {wrong:?}", model.name);
    }
}
