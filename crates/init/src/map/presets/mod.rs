//! The rules of whole libraries and models.
//!
//! Each preset returns a plain `Vec<Rule>`. Your own rules take precedence if you insert them in front.
//!
//! ```
//! use wick_init::{InitMap, Initializer, Rule, presets};
//!
//! let mut rules = presets::gpt2(12)?;
//! rules.insert(0, Rule::draw("lm_head.weight", Initializer::zeros())?);
//! let map = InitMap::new(42).with_rules(rules);
//! # Ok::<(), wick_init::PatternError>(())
//! ```
//!
//! Some layers can only be told from others by their names. Every preset that initializes embeddings in their
//! own way takes these tensors for embeddings: two dimensions, and `emb`, `wte`, `wpe`, `shared` or
//! `relative_attention_bias` as the layer's name, or `embed` in its name or in that of a module around it, or
//! a name that begins with `emb_` or ends with `_emb`. An embedding with another name needs a rule in front.
//! The names are those of PyTorch's models, and those of the releases of BERT, GPT-2 and the Vision
//! Transformer for TensorFlow and JAX (`bert/pooler/dense/kernel`, where the inputs come before the outputs,
//! and `LayerNorm/gamma`).
//!
//! Biases of any number of dimensions are biases (`final_logits_bias`, those of Keras' GRU). What a file has
//! beside its weights, masks and tables of positions, is in [`buffers`].
//!
//! A preset that gives some layers a scale of their own knows these layers by the names of the hub, of the
//! original releases and of common trainers. If a model, or a layer of it, has none of them,
//! [`InitMap::unmatched_essentials`](crate::InitMap::unmatched_essentials) says so.

mod adapters;
mod common;
mod flax;
mod language;
mod libraries;
mod state_space;
mod vision;

use super::rules::{LearningRate, Rule};
use crate::initializer::Initializer;
use crate::layout::WeightLayout;
pub use adapters::lora;
pub use common::buffers;
use common::{OneRule, Rules, biases, embeddings, in_out, to_heads, vectors};
pub use flax::flax_defaults;
pub use language::{deepnorm, deepnorm_encoder_decoder, gemma, llama, nanochat, neox, olmo};
pub use libraries::{keras_defaults, torch_defaults};
pub use state_space::{mamba, rwkv7};
pub use vision::{convnext, dinov2, efficientnet, fixup, resnet, rezero, vit_jax, vit_moco, vit_timm};

/// The names of all presets, for [`by_name`].
pub const NAMES: [&str; 26] = [
    "torch",
    "keras",
    "flax",
    "gpt2",
    "llama",
    "olmo",
    "neox",
    "nanochat",
    "gemma",
    "t-fixup",
    "deepnorm",
    "mup",
    "vit-timm",
    "vit-jax",
    "vit-moco",
    "dinov2",
    "convnext",
    "resnet",
    "resnet-basic",
    "efficientnet",
    "fixup",
    "fixup-basic",
    "rezero",
    "mamba",
    "rwkv7",
    "lora",
];

/// The presets that depend on the model's depth.
pub const BY_DEPTH: [&str; 10] =
    ["gpt2", "llama", "olmo", "neox", "t-fixup", "deepnorm", "fixup", "fixup-basic", "mamba", "rwkv7"];

/// Whether the preset of this name depends on the model's depth.
pub fn needs_layers(name: &str) -> bool {
    BY_DEPTH.contains(&name)
}

/// Returns a preset by its name. `layers` is the model's depth (the number of residual blocks for `fixup`) and `base`
/// the width at which the learning rate was tuned, for the presets that need them. `None` for an unknown name.
pub fn by_name(name: &str, layers: usize, base: f64) -> Option<Rules> {
    Some(match name {
        "torch" => torch_defaults(),
        "keras" => keras_defaults(),
        "flax" => flax_defaults(),
        "gpt2" => gpt2(layers),
        "llama" => llama(layers),
        "olmo" => olmo(layers),
        "neox" => neox(layers),
        "nanochat" => nanochat(),
        "gemma" => gemma(),
        "t-fixup" => t_fixup(layers),
        "deepnorm" => deepnorm(layers),
        "mup" => mup(base),
        "vit-timm" => vit_timm(),
        "vit-jax" => vit_jax(0.0),
        "vit-moco" => vit_moco(),
        "dinov2" => dinov2(),
        "convnext" => convnext(),
        "resnet" => resnet(true),
        "resnet-basic" => resnet(false),
        "efficientnet" => efficientnet(),
        "fixup" => fixup(layers, true),
        "fixup-basic" => fixup(layers, false),
        "rezero" => rezero(),
        "mamba" => mamba(layers),
        "rwkv7" => rwkv7(layers),
        "lora" => lora(),
        _ => return None,
    })
}

/// GPT-2 as the hub's `GPT2PreTrainedModel._init_weights` and nanoGPT start it: N(0, 0.02²), the table of positions too
/// (0.01 in the original code); the projections into the residual stream (`c_proj`), two in each layer, divided by
/// `√(2·layers)` (Radford et al. 2019, section 2.3); biases 0, norms 1. A projection of a layer beyond `layers` is an
/// error. The names are those of the hub and of nanoGPT (`h.0.attn.c_proj.weight`), of the
/// original release (`model/h0/attn/c_proj/w`) and of JAX (`kernel`).
pub fn gpt2(layers: usize) -> Rules {
    let residual = 0.02 / (2.0 * layers.max(1) as f64).sqrt();
    let projection = |names: &str, purpose: &str| {
        let purpose = format!("the projections of {purpose} into the residual stream ({names}c_proj)");
        (purpose, Initializer::normal(residual))
    };
    let rule = |patterns: &str, (purpose, initializer): (String, Initializer)| {
        Rule::draw(patterns, initializer).map(|rule| rule.with_layers(layers).with_essential(purpose))
    };
    let attention = ["attn", "attention"]
        .map(|module| ["weight", "w", "kernel"].map(|end| format!("**.*{module}*.c_proj.{end}")).join(" | "));
    let weights = [
        rule(&attention.join(" | "), projection("attn.", "attention")),
        rule("**.c_proj.weight | **.c_proj.w | **.c_proj.kernel", projection("mlp.", "the feed-forward net")),
        Rule::draw("[*, *, ..]", Initializer::normal(0.02)),
    ];
    biases().chain(weights).chain(vectors()).collect()
}

/// T-Fixup (Huang et al. 2020, *Improving transformer optimization through better initialization*, section
/// 3.3), for training without norms or warm-up: Xavier everywhere; [embeddings](self) `(9N)^{-1/4}` times
/// N(0, 1/d); the value and output projections and the feed-forward weights (`v_proj`, `out_proj`, `fc1`,
/// `fc2`) multiplied by `0.67 N^{-1/4}` in the encoder and by `(9N)^{-1/4}` in the decoder, for `N` layers.
/// Such a weight of a layer beyond `layers` is an error. The names are fairseq's and the hub's, and also
/// those of PyTorch's `Transformer` (`linear1`, `linear2`; its `in_proj_weight` holds the value projections
/// with others, and stays Xavier) and of T5.
pub fn t_fixup(layers: usize) -> Rules {
    let n = layers.max(1) as f64;
    let (encoder, decoder) = (0.67 * n.powf(-0.25), (9.0 * n).powf(-0.25));
    // The names of each weight: fairseq's and the hub's, PyTorch's, and T5's.
    let weights = [
        ("the value projections (v_proj)", ["v_proj.weight", "v_proj_weight", "*Attention.v.weight"]),
        (
            "the output projections (out_proj)",
            ["out_proj.weight", "attn.output_proj.weight", "*Attention.o.weight"],
        ),
        (
            "the first feed-forward weights (fc1)",
            ["fc1.weight", "linear1.weight", "DenseReluDense.wi.weight"],
        ),
        (
            "the second feed-forward weights (fc2)",
            ["fc2.weight", "linear2.weight", "DenseReluDense.wo.weight"],
        ),
    ];
    let scaled = |side: &str, gain: f64| {
        weights.map(|(purpose, names)| {
            let patterns = names.map(|name| format!("**.{side}.**.{name}"));
            let rule = Rule::draw(&patterns.join(" | "), Initializer::xavier_uniform().with_gain(gain));
            rule.map(|rule| rule.with_layers(layers).with_essential(purpose))
        })
    };
    // Of an embedding [vocabulary, d], 1/d is one over the second dimension, which is the plain fan_in.
    let embedding = Initializer::lecun_normal().with_gain(decoder);
    biases()
        .chain(scaled("encoder", encoder))
        .chain(scaled("decoder", decoder))
        .chain(embeddings(embedding).map(|rule| rule.map(|rule| rule.with_essential("the embeddings"))))
        .chain([
            in_out(Initializer::xavier_uniform()),
            Rule::draw("[*, *, ..]", Initializer::xavier_uniform()),
        ])
        .chain(vectors())
        .collect()
}

/// muP for Adam (Yang et al. 2022, arXiv 2203.03466, table 3): hidden matrices with `Var W = 1/fan_in` and a
/// learning rate that falls like `base/fan_in`. The output layer (`lm_head`, `head`, `classifier`, `score`,
/// `output` or `fc_out`, in any module) starts at 0, which is the same for every width, and its learning rate
/// falls too. Input layers, whose fan_in does not grow, have the base rate: [embeddings](self) from N(0, 1),
/// convolutions of patches (with `patch` in their name) with `Var W = 1/fan_in`. Vectors have the base rate,
/// too. An input or output layer with another name needs its own rule in front.
pub fn mup(base: f64) -> Rules {
    let falling = LearningRate::InverseFanIn { base };
    let heads = ["lm_head", "head", "classifier", "score", "output", "fc_out"];
    let head = |name: &str| Rule::draw(&format!("**.{name}.weight [*, *]"), Initializer::zeros());
    let output = "the output layer (lm_head, head, classifier, score, output or fc_out)";
    let input =
        |rule: OneRule| rule.map(|rule| rule.with_essential("the input layer (an embedding or patches)"));
    let patches = "**.*embed*.kernel [*, *, *, ..] | **.*patch*.**.kernel [*, *, *, ..]";
    let hidden = |rule: OneRule| rule.map(|rule| rule.with_learning_rate(falling));
    biases()
        .chain(
            heads.map(|name| head(name).map(|rule| rule.with_learning_rate(falling).with_essential(output))),
        )
        .chain([Rule::draw("**.head.kernel [*, *] | **.lm_head.kernel [*, *]", Initializer::zeros()).map(
            |rule| rule.with_layout(WeightLayout::InOut).with_learning_rate(falling).with_essential(output),
        )])
        .chain(embeddings(Initializer::normal(1.0)).map(input))
        .chain([input(Rule::draw("**.*patch*.**.weight [*, *, *, ..]", Initializer::lecun_normal()))])
        .chain([input(
            Rule::draw(patches, Initializer::lecun_normal())
                .map(|rule| rule.with_layout(WeightLayout::InOut)),
        )])
        .chain([
            hidden(Rule::draw(&to_heads("kernel [*, *, *]"), Initializer::lecun_normal())),
            hidden(in_out(Initializer::lecun_normal())),
            hidden(Rule::draw("[*, *, ..]", Initializer::lecun_normal())),
        ])
        .chain(vectors())
        .collect()
}

#[cfg(test)]
mod tests;
