//! Models whose layers have a state: Mamba and RWKV-7.

use super::common::{Rules, biases, by_layer, embeddings, vectors};
use crate::conventions::torch;
use crate::initializer::Initializer;
use crate::map::rules::Rule;
use crate::structures::ramp::RampOver;
use crate::structures::shape_gain::ShapeGain;

/// Mamba (Gu and Dao 2023, arXiv 2312.00752, section 3.6; state-spaces/mamba, `mamba_simple.py` and
/// `mixer_seq_simple.py`) of `layers` layers: linear layers and convolutions, of four steps, as
/// PyTorch's defaults, `out_proj` divided by
/// `√layers`; `A_log` `ln 1 … ln N`; `D` 1; the bias of `dt_proj` the inverse of softplus at steps from .001 to .1;
/// [embeddings](super) N(0, 0.02²); other biases 0, norms 1. A projection of a layer beyond `layers` is an error.
pub fn mamba(layers: usize) -> Rules {
    let out = torch::linear_default().with_gain((layers.max(1) as f64 * 3.0).sqrt().recip());
    let essential = |pattern: &str, initializer: Initializer, purpose: &str| {
        Rule::draw(pattern, initializer).map(|rule| rule.with_essential(purpose))
    };
    [
        essential("**.A_log [*, *]", Initializer::log_arange(), "the decay of the states (A_log)"),
        Rule::draw("**.D [*]", Initializer::ones()),
        essential(
            "**.dt_proj.bias",
            Initializer::inverse_softplus(0.001, 0.1, 1e-4),
            "the step sizes (dt_proj.bias)",
        ),
        // U(±1/√fan_in) of the kernel of 4, which the model may ask for after its bias.
        Rule::draw("**.conv1d.bias", Initializer::uniform(0.5)),
        essential("**.out_proj.weight", out, "the projections into the residual stream (out_proj)")
            .map(|rule| rule.with_layers(layers)),
    ]
    .into_iter()
    .chain(biases())
    .chain(embeddings(Initializer::normal(0.02)))
    .chain([Rule::draw("[*, *, ..]", torch::linear_default())])
    .chain(vectors())
    .collect()
}

/// RWKV-7 of `layers` layers with heads of 64 channels, as its trainer starts it (BlinkDL/RWKV-LM, `RWKV-v7/train_temp`,
/// `src/model.py`, commit 118e451): the vectors of each layer by `RWKV_Tmix_x070` and `RWKV_CMix_x070`, the matrices by
/// `generate_init_weight`, which replaces the uniform ones of the constructors: `receptance`, `value` and the
/// feed-forward `key` orthogonal, the attention's `key` a tenth of it, `output` and the feed-forward `value` 0; `emb`
/// U(±1e-4); `head` orthogonal with gain `0.5·max(1, √(V/C))`; the first halves of the low-rank maps (`w1`, `a1`, `v1`,
/// `g1`) 0, the second (`w2`, …) orthogonal with gain `0.1·max(1, √(rows/columns))`; `ln_x.weight`
/// `((l + 1)/L)^0.7` in layer `l` (from 0), other norms 1. A vector of a layer beyond `layers` is an error.
pub fn rwkv7(layers: usize) -> Rules {
    let depth = layers.max(1) as f64;
    let (to_one, to_zero) = (
        move |l: usize| if depth > 1.0 { l as f64 / (depth - 1.0) } else { 0.0 },
        move |l: usize| 1.0 - l as f64 / depth,
    );
    let ramp = |base, slope| Initializer::ramp(base, slope, 1.0, RampOver::Ends);
    // The fraction of the token before, by channel: 1 - (n/C)^power.
    let mix = |power: f64| Initializer::ramp(1.0, -1.0, power, RampOver::Count);
    let mixed = move |names: &'static str, factor: f64| {
        by_layer(layers, names, String::new(), move |l| mix(factor * to_zero(l)))
    };
    let decay = move |l: usize| {
        Initializer::ramp(-5.5, 6.0, 1.0 + to_one(l).powf(0.3), RampOver::Ends).with_zigzag(2.5, 64)
    };
    let orthogonal = |gain| Initializer::orthogonal(gain);
    let halves = |end: &str| ["w", "a", "v", "g"].map(|map| format!("**.att.{map}{end} [*, *]")).join(" | ");
    mixed("blocks.#.att.x_r | blocks.#.att.x_g", 0.2)
        .chain(mixed("blocks.#.att.x_w | blocks.#.att.x_a", 0.9))
        .chain(mixed("blocks.#.att.x_k | blocks.#.att.x_v", 0.7))
        .chain(by_layer(layers, "blocks.#.ffn.x_k", String::new(), move |l| mix(to_zero(l).powi(4))))
        .chain(by_layer(layers, "blocks.#.att.w0", "the decay of the states (att.w0)".into(), decay))
        .chain(by_layer(layers, "blocks.#.att.ln_x.weight", String::new(), move |l| {
            Initializer::Constant(((l as f64 + 1.0) / depth).powf(0.7))
        }))
        .chain([
            Rule::draw("**.att.a0", ramp(-0.39, 0.4).with_zigzag(0.3, 64)),
            Rule::draw("**.att.v0", ramp(0.93, -0.4)),
            Rule::draw("**.att.k_k", ramp(0.76, -0.1)),
            Rule::draw("**.att.k_a", Initializer::Constant(1.02)),
            Rule::draw("**.att.r_k", Initializer::Constant(-0.04)),
            Rule::draw(&halves("1"), Initializer::zeros()),
            Rule::draw(&halves("2"), orthogonal(0.1).with_shape_gain(ShapeGain::Tall)),
            Rule::draw("**.att.output.weight | **.ffn.value.weight", Initializer::zeros()),
            Rule::draw("**.att.key.weight", orthogonal(0.1)),
            Rule::draw("**.att.receptance.weight | **.att.value.weight | **.ffn.key.weight", orthogonal(1.0)),
            Rule::draw("emb.weight", Initializer::uniform(1e-4)),
            Rule::draw("head.weight", orthogonal(0.5).with_shape_gain(ShapeGain::Tall)),
        ])
        .chain(biases())
        .chain(vectors())
        .collect()
}
