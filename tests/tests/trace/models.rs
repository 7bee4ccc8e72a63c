//! Models of candle-transformers, unmodified, at the small sizes of `model-stats`.

use candle_core::{DType, Result, Tensor};
use serde_json::Value;
use wick_init::{InitMap, Initializer, Rule};
use wick_model_stats::{Takes, architecture};
use wick_tests::CPU;

/// What a pass gives.
pub(crate) type Forward = Box<dyn FnMut() -> Result<Tensor>>;

/// A model and its variables.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) map: InitMap,
    pub(crate) forward: Forward,
}

/// The small model of an architecture on a batch, with some fields of its config changed.
pub(crate) fn changed(name: &'static str, fields: &[(&str, Value)]) -> Model {
    let row = architecture(name).unwrap();
    let mut config = row.small().unwrap();
    for (field, value) in fields {
        config[*field] = value.clone();
    }
    let net = row.read(&config).unwrap();
    let input = match net.takes {
        Takes::Tokens { vocabulary, .. } => ids(row.batch, row.length, vocabulary),
        Takes::Images { channels, size, .. } => images(row.batch, channels, size),
    };
    // Vectors of norms are 1 and biases small, so that no gradient is 0 by symmetry.
    let rules = [
        Rule::draw("**.weight [*]", Initializer::ones()).unwrap(),
        Rule::draw("**.bias", Initializer::normal(0.01)).unwrap(),
    ];
    let map = InitMap::new(7).with_rules(rules).with_default_init(Initializer::lecun_normal());
    let mut forward = net.build(map.var_builder(DType::F32, &CPU)).unwrap();
    // The mean square of the outputs is a loss like another.
    Model { name, map, forward: Box::new(move || forward(&input)?.sqr()?.mean_all()) }
}

/// The small model of an architecture.
pub(crate) fn small(name: &'static str) -> Model {
    changed(name, &[])
}

/// T5, with gates and a head of its own, or with neither.
pub(crate) fn t5(tied: bool) -> Model {
    match tied {
        true => changed("t5", &[("feed_forward_proj", "relu".into()), ("tie_word_embeddings", true.into())]),
        false => small("t5"),
    }
}

pub(crate) fn ids(batch: usize, count: usize, vocabulary: usize) -> Tensor {
    let ids = (0..batch * count).map(|i| ((i * 7 + 3) % vocabulary) as u32).collect::<Vec<_>>();
    Tensor::from_vec(ids, (batch, count), &CPU).unwrap()
}

pub(crate) fn images(batch: usize, channels: usize, size: usize) -> Tensor {
    wick_tests::normal(3, "images", (batch, channels * size * size), DType::F32)
        .reshape((batch, channels, size, size))
        .unwrap()
}
