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

mod common;
mod flax;

use super::pattern::PatternError;
use super::rules::{LearningRate, Rule};
use crate::conventions::torch;
use crate::initializer::Initializer;
use crate::layout::WeightLayout;
pub use common::buffers;
use common::{OneRule, biases, embeddings, in_out, norms, statistics, to_heads, vectors, wide_norms};
pub use flax::flax_defaults;

type Rules = Result<Vec<Rule>, PatternError>;

/// The names of all presets, for [`by_name`].
pub const NAMES: [&str; 7] = ["torch", "keras", "flax", "gpt2", "llama", "t-fixup", "mup"];

/// Whether the preset of this name depends on the model's depth.
pub fn needs_layers(name: &str) -> bool {
    matches!(name, "gpt2" | "llama" | "t-fixup")
}

/// Returns a preset by its name. `layers` is the model's depth and `base` the width at which the learning
/// rate was tuned, for the presets that need them. `None` for an unknown name.
pub fn by_name(name: &str, layers: usize, base: f64) -> Option<Rules> {
    Some(match name {
        "torch" => torch_defaults(),
        "keras" => keras_defaults(),
        "flax" => flax_defaults(),
        "gpt2" => gpt2(layers),
        "llama" => llama(layers),
        "t-fixup" => t_fixup(layers),
        "mup" => mup(base),
        _ => return None,
    })
}

/// PyTorch's defaults: `Linear` and `Conv` from `U(±1/√fan_in)` (in PyTorch's words
/// `kaiming_uniform_(a=√5)`), and their biases too; `Embedding` from N(0, 1); norms, which are the layers
/// with a weight of one dimension, 1 and 0. These are found by their names:
///
/// - the weights and biases of recurrent layers, with `lstm`, `gru` or `rnn` in their name, from
///   `U(±1/√hidden)`; their shapes do not tell the number of gates;
/// - [embeddings](self);
/// - the weights of an attention with one matrix (`in_proj_weight`, or `q_proj_weight` and its like), Xavier
///   uniform, and its `in_proj_bias`, 0 (its `out_proj.bias`, which PyTorch sets to 0, is taken for that of a
///   linear layer);
/// - PReLU's slope, with `prelu` in its name, 0.25;
/// - `running_mean` and `num_batches_tracked`, 0, and `running_var`, 1.
///
/// Such a tensor with another name needs its own rule in front.
///
/// Of the releases of BERT for TensorFlow and of the Vision Transformer for JAX, `kernel` is a weight whose
/// inputs come before its outputs, and `scale` and `gamma` are those of norms.
pub fn torch_defaults() -> Rules {
    let recurrent = [("lstm", 4), ("gru", 3), ("rnn", 1)].into_iter().flat_map(|(layer, gates)| {
        ["weight", "bias"]
            .map(|part| Rule::draw(&format!("**.*{layer}*.**.{part}_*_l*"), torch::recurrent_default(gates)))
    });
    let matrices = [
        Rule::draw("**.*_proj_weight [*, *]", Initializer::xavier_uniform()),
        Rule::draw(&to_heads("kernel [*, *, *]"), torch::linear_default()),
        // Masks, and the bias of BART's logits.
        Rule::draw("**.bias [1, 1, *, *] | **.*_bias [*, *, ..] | **.beta [1, 1, ..]", Initializer::zeros()),
        Rule::torch_bias("**.bias [*, *, ..]"),
        in_out(torch::linear_default()),
        Rule::draw("[*, *, ..]", torch::linear_default()),
    ];
    let vectors = [
        // The bias of a head whose weight is the embedding, and those that attention has for some matrices.
        Rule::draw(
            "**.predictions.bias [*] | **.predictions.output_bias [*] | **.q_bias [*] | **.v_bias [*]",
            Initializer::zeros(),
        ),
        Rule::torch_bias("**.output_bias [*]"),
        Rule::draw("**.*prelu*.weight [*]", Initializer::Constant(0.25)),
        Rule::draw("**.in_proj_bias [*]", Initializer::zeros()),
        Rule::draw("**.*norm*.bias [*] | **.*Norm*.bias [*]", Initializer::zeros()),
        Rule::torch_bias("**.bias [*] | **.b [*]"),
    ];
    // Of an LSTM's projection [proj, hidden], 1/√hidden is given by the second dimension.
    [Rule::draw("**.weight_hr_l*", torch::linear_default())]
        .into_iter()
        .chain(recurrent)
        .chain(embeddings(Initializer::normal(1.0)))
        .chain([wide_norms()])
        .chain(matrices)
        .chain(vectors)
        .chain(norms())
        .chain(statistics())
        .collect()
}

/// Keras' defaults: kernels `glorot_uniform`, [embeddings](self) `U(±0.05)`, biases 0, norms 1; the recurrent
/// kernels (`weight_hh`) of LSTM, GRU and simple recurrent layers orthogonal; the forget gate of an LSTM
/// (with `lstm` in its name) 1, in the first of its two biases; `running_mean` of batch norms 0 and
/// `running_var` 1; the slopes of PReLU 0. The names are PyTorch's or Keras' own (`kernel`, `depthwise_kernel`,
/// `pointwise_kernel`, `recurrent_kernel`, `lstm_cell/bias`, `moving_mean`), where the inputs of a kernel come
/// before its outputs. The fans are Keras' own: of `[…, in, out]`, also for a kernel with a dimension for heads.
pub fn keras_defaults() -> Rules {
    let recurrent = [
        Rule::draw("**.weight_hh_* | **.recurrent_kernel [*, *]", Initializer::orthogonal(1.0)),
        Rule::draw(
            "**.*lstm*.**.bias_ih_* | **.lstm_cell.bias [*] | **.lstm_cell_*.bias [*]",
            Initializer::forget_gate(1.0),
        ),
        Rule::draw("**.bias_ih_*", Initializer::zeros()),
        Rule::draw("**.bias_hh_*", Initializer::zeros()),
        Rule::draw("**.*re_lu*.alpha | **.*relu*.alpha", Initializer::zeros()),
    ];
    let separable = "**.depthwise_kernel [*, *, ..] | **.pointwise_kernel [*, *, ..]";
    recurrent
        .into_iter()
        .chain(biases())
        .chain(embeddings(Initializer::uniform(0.05)))
        .chain([
            in_out(Initializer::xavier_uniform()),
            Rule::draw(separable, Initializer::xavier_uniform())
                .map(|rule| rule.with_layout(WeightLayout::InOut)),
            Rule::draw("[*, *, ..]", Initializer::xavier_uniform()),
        ])
        .chain(vectors())
        .collect()
}

/// GPT-2 (Radford et al. 2019, section 2.3): N(0, 0.02²); the projections into the residual stream
/// (`c_proj`), two in each layer, divided by `√(2·layers)`; biases 0, norms 1. A projection of a layer beyond
/// `layers` is an error. The names are those of the hub and of nanoGPT (`h.0.attn.c_proj.weight`), of the
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

/// A Llama-style model, depth-scaled: truncated normals of std 0.02, cut at ±3 std; the projections into the
/// residual stream (`self_attn.o_proj`, `mlp.down_proj`) of layer `l` (from 0) with `0.02/√(2(l + 1))` (Zhang
/// et al. 2019, arXiv 1908.11365, in the form that Llama-style trainers use); norms 1. A projection of a
/// layer beyond `layers` is an error. The projections are also known by the names of Meta's release
/// (`attention.wo`, `feed_forward.w2`), of torchtune (`attn.output_proj`, `mlp.w2`) and of LitGPT
/// (`h.0.attn.proj`, `h.0.mlp.proj`).
pub fn llama(layers: usize) -> Rules {
    let cut = |std: f64| Initializer::TruncatedNormal { mean: 0.0, std, low: -3.0 * std, high: 3.0 * std };
    // The names of each projection: the hub's, Meta's, torchtune's and LitGPT's.
    let projections = [
        (
            "attention",
            [
                "layers.#.self_attn.o_proj",
                "layers.#.attention.wo",
                "layers.#.attn.output_proj",
                "h.#.attn.proj",
            ],
        ),
        (
            "the feed-forward net",
            ["layers.#.mlp.down_proj", "layers.#.feed_forward.w2", "layers.#.mlp.w2", "h.#.mlp.proj"],
        ),
    ];
    let rule = move |layer: &str, (part, names): (&str, [&str; 4]), std: f64| {
        let patterns = names.map(|name| format!("**.{}.weight", name.replace('#', layer)));
        let [hub, meta, ..] = names.map(|name| name.trim_start_matches("layers.#."));
        let purpose = format!("the projections of {part} into the residual stream ({hub} or {meta})");
        Rule::draw(&patterns.join(" | "), cut(std)).map(|rule| rule.with_essential(purpose))
    };
    let residual = (0..layers).flat_map(move |layer| {
        let std = 0.02 / (2.0 * (layer as f64 + 1.0)).sqrt();
        projections.map(|projection| rule(&layer.to_string(), projection, std))
    });
    let beyond =
        projections.map(|projection| rule("*", projection, 0.02).map(|rule| rule.with_layers(layers)));
    let weights = residual.chain(beyond).chain([Rule::draw("[*, *, ..]", cut(0.02))]);
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
