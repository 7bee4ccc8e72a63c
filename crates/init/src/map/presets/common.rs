//! What the presets have in common: norms, biases, embeddings, buffers.

use crate::initializer::Initializer;
use crate::layout::WeightLayout;
use crate::map::pattern::{Pattern, PatternError};
use crate::map::rules::Rule;

pub(super) type Rules = Result<Vec<Rule>, PatternError>;
pub(super) type OneRule = Result<Rule, PatternError>;

/// The tensors of releases that are no weights and have no initial values to draw: the masks of GPT-2 and
/// GPT-NeoX, the frequencies and tables of rotary positions, and what fairseq keeps beside its weights. A file
/// has them as numbers, and the program that reads it makes them anew.
///
/// ```
/// let buffers = wick_init::presets::buffers()?;
/// assert!(buffers.matches("h.0.attn.bias", &[1, 1, 1024, 1024]));
/// assert!(!buffers.matches("h.0.attn.bias", &[2304]));
/// assert!(buffers.matches("model.layers.0.self_attn.rotary_emb.inv_freq", &[64]));
/// # Ok::<(), wick_init::PatternError>(())
/// ```
///
/// # Errors
/// None: the pattern is a constant that can be read.
pub fn buffers() -> Result<Pattern, PatternError> {
    let patterns = [
        "**.*attn.bias [1, 1, *, *]",
        "**.*attention.bias [1, 1, *, *]",
        "**.masked_bias",
        "**.attn_mask",
        "**.*inv_freq",
        "**.rope.freqs",
        "**.freqs_cis",
        "**.freqs_cos",
        "**.freqs_sin",
        "**.cos_cached",
        "**.sin_cached",
        "**.encoder.version",
        "**.decoder.version",
        "**._float_tensor",
        "**.global_step",
    ];
    patterns.join(" | ").parse()
}

/// The rules for tensors that go by the depth: `names` are patterns after `**.` with ` | ` between them and `#` for the
/// number of the layer, from 0, and `initializer` is that of a layer. A tensor of a layer beyond `layers` is an error.
/// An empty purpose is none.
pub(super) fn by_layer(
    layers: usize,
    names: &'static str,
    purpose: String,
    initializer: impl Fn(usize) -> Initializer,
) -> impl Iterator<Item = OneRule> {
    let rule = move |layer: &str, initializer: Initializer| {
        let patterns: Vec<String> =
            names.split(" | ").map(|name| format!("**.{}", name.trim().replace('#', layer))).collect();
        let rule = Rule::draw(&patterns.join(" | "), initializer)?;
        Ok(if purpose.is_empty() { rule } else { rule.with_essential(purpose.as_str()) })
    };
    let beyond = rule("*", initializer(0)).map(|rule| rule.with_layers(layers));
    let by_number: Vec<OneRule> =
        (0..layers).map(|layer| rule(&layer.to_string(), initializer(layer))).chain([beyond]).collect();
    by_number.into_iter()
}

/// The scales of norms are 1, and their biases 0. A `gamma` of a block or of a `ls1` is no norm's: it scales the block,
/// by 1e-6 in ConvNeXt (Liu et al. 2022), 1e-5 in DINOv2 and DeiT III.
pub(super) fn norms() -> [OneRule; 5] {
    [
        Rule::draw("**.ls1.gamma [*] | **.ls2.gamma [*] | **.ls.gamma [*]", Initializer::Constant(1e-5)),
        Rule::draw(
            "**.stages.*.blocks.*.gamma [*] | **.layer_scale_parameter [*]",
            Initializer::Constant(1e-6),
        ),
        Rule::draw("**.weight [*] | **.scale [*] | **.g [*]", Initializer::ones()),
        Rule::draw("**.gamma [*]", Initializer::ones()),
        Rule::draw("**.beta [*]", Initializer::zeros()),
    ]
}

/// The scales of norms that have dimensions of 1, for the batch and the place. The rule stands before that for all
/// weights.
pub(super) fn wide_norms() -> OneRule {
    Rule::draw("**.scale [1, 1, ..] | **.gamma [1, 1, ..]", Initializer::ones())
}

/// The running statistics of batch norms, before the first batch.
pub(super) fn statistics() -> [OneRule; 3] {
    [
        Rule::draw("**.running_mean [*] | **.moving_mean [*]", Initializer::zeros()),
        Rule::draw("**.running_var [*] | **.moving_variance [*]", Initializer::ones()),
        Rule::draw("**.num_batches_tracked", Initializer::zeros()),
    ]
}

/// Biases of any number of dimensions (those of Keras' GRU and of JAX's attention have two) and the norms with
/// dimensions of 1: what stands before the rule for all weights.
pub(super) fn biases() -> impl Iterator<Item = OneRule> {
    let biases = "**.bias | **.*_bias | **.b [*] | **.beta [1, 1, ..]";
    [Rule::draw(biases, Initializer::zeros()), wide_norms()].into_iter()
}

/// The vectors that are no biases.
pub(super) fn vectors() -> impl Iterator<Item = OneRule> {
    norms().into_iter().chain(statistics())
}

/// The tensors that the presets take for embeddings.
pub(super) fn embeddings(initializer: Initializer) -> impl Iterator<Item = OneRule> {
    let layers = ["emb", "*_emb", "emb_*", "wte", "wpe", "shared", "relative_attention_bias"];
    let named = layers.map(|layer| {
        format!("**.{layer}.weight [*, *] | **.{layer}.embedding [*, *] | **.{layer}.embeddings [*, *]")
    });
    // The names without an end are those of TensorFlow.
    let within =
        "**.*embed*.**.weight [*, *] | **.*embed*.**.embedding [*, *] | **.*embed*.**.embeddings [*, *] | \
                  **.embeddings.*_embeddings [*, *] | **.wte [*, *] | **.wpe [*, *]"
            .to_owned();
    [within].into_iter().chain(named).map(move |pattern| Rule::draw(&pattern, initializer.clone()))
}

/// Weights whose inputs come before their outputs, `[kernel…, in, out]`: those of Keras and JAX (`kernel`), of
/// TensorFlow (`w`, in names with slashes), and of the hub's GPT-2, which are told from nanoGPT's linear layers of
/// the same names by their shapes.
pub(super) fn in_out(initializer: Initializer) -> OneRule {
    let patterns = "**.kernel [*, *, ..] | */w [*, *, ..] | **.c_attn.weight [*, >] | **.c_fc.weight [*, >] | \
                    **.c_proj.weight [*, <]";
    Rule::draw(patterns, initializer).map(|rule| rule.with_layout(WeightLayout::InOut))
}

/// The projections of JAX's attention from a width to heads, `[in, heads, dim]`, or the same of their biases. As
/// heads · dim = in, the fan_in of a plain weight is right.
pub(super) fn to_heads(part: &str) -> String {
    ["query", "key", "value"].map(|matrix| format!("**.{matrix}.{part}")).join(" | ")
}
