//! Flax's defaults.

use super::common::{Rules, biases, embeddings, to_heads, vectors};
use crate::conventions::jax;
use crate::fans::FanMode;
use crate::initializer::distribution::Distribution;
use crate::layout::WeightLayout;
use crate::map::rules::Rule;

/// Flax's defaults (`flax.linen` and `flax.nnx`): kernels of `Dense` and `Conv` `lecun_normal`, cut at two standard
/// deviations and corrected; embeddings `[vocabulary, features]` from N(0, 1/features)
/// (`variance_scaling(1, "fan_in", "normal", out_axis=0)`); biases 0, norms 1. With
/// [`InitMap::with_jax_rng`](crate::InitMap::with_jax_rng) the numbers are Flax's own, where the modules have Flax's
/// names (`Dense_0`, `Conv_0`, or those that the model gives them); of a kernel of attention with a dimension for
/// heads (`query/kernel [in, heads, dim]`) the law is Flax's, and the numbers are for a weight `[out, in]` only.
/// [Embeddings](super) are also those called `Embed_0` and tensors called `embedding`.
pub fn flax_defaults() -> Rules {
    let embedding = jax::variance_scaling(1.0, FanMode::FanOut, Distribution::Normal);
    let own = Rule::draw("**.Embed_*.weight [*, *] | **.embedding [*, *]", embedding.clone());
    let in_out = |rule: Rule| rule.with_layout(WeightLayout::InOut);
    biases()
        .chain(embeddings(embedding).chain([own]).map(|rule| rule.map(in_out)))
        .chain([
            Rule::draw(&to_heads("kernel [*, *, *]"), jax::lecun_normal()),
            Rule::draw("**.kernel [*, *, ..]", jax::lecun_normal()).map(in_out),
            Rule::draw("[*, *, ..]", jax::lecun_normal()),
        ])
        .chain(vectors())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initializer::Initializer;

    #[test]
    fn each_layer_has_flaxs_law() {
        let rules = flax_defaults().unwrap();
        let std = |name: &str, shape: &[usize]| {
            let rule = rules.iter().find(|rule| rule.pattern.matches(name, shape)).unwrap();
            let initializer: Initializer = rule.action.to_string().parse().unwrap();
            initializer.std_with_layout(shape, rule.layout).unwrap().unwrap()
        };
        for (name, shape, expected) in [
            ("Dense_0.kernel", &[25, 10][..], 0.2),
            ("Dense_0.weight", &[10, 25], 0.2),
            ("block.Conv_1.kernel", &[5, 5, 4, 8], 0.1),
            ("Embed_0.embedding", &[1000, 16], 0.25),
            ("Embed_0.weight", &[1000, 16], 0.25),
            ("wte.weight", &[1000, 16], 0.25),
            ("MultiHeadDotProductAttention_0.query.kernel", &[16, 4, 4], 0.25),
            ("MultiHeadDotProductAttention_0.query.bias", &[4, 4], 0.0),
            ("LayerNorm_0.scale", &[16], 0.0),
        ] {
            assert!((std(name, shape) - expected).abs() < 1e-12, "{name}");
        }
        // The twin: read as [out, in], an embedding would go by its vocabulary.
        let law = jax::variance_scaling(1.0, FanMode::FanOut, Distribution::Normal);
        assert!((law.std(&[1000, 16]).unwrap().unwrap() - 0.25).abs() > 0.1);
    }
}
