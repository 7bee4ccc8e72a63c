//! Language models by the trainers that made them.

use super::common::{OneRule, Rules, biases, by_layer, embeddings, vectors};
use crate::fans::FanMode;
use crate::initializer::Initializer;
use crate::initializer::distribution::Distribution;
use crate::map::rules::Rule;
use crate::rng::law::TRUNCATED_STD_3;
use crate::structures::ramp::RampOver;

/// N(0, std²) cut off at ±3 std.
fn cut(std: f64) -> Initializer {
    Initializer::TruncatedNormal { mean: 0.0, std, low: -3.0 * std, high: 3.0 * std }
}

/// N(0, σ²) with `σ = factor/√fan_in`, cut off at ±3σ. The trainers leave the σ uncorrected.
fn cut_by_fan(factor: f64) -> Initializer {
    let scale = (factor * TRUNCATED_STD_3).powi(2);
    Initializer::VarianceScaling { scale, mode: FanMode::FanIn, distribution: Distribution::TruncatedNormal3 }
}

/// The residual projections of a Llama by the names of the hub, of Meta's release, of torchtune and of LitGPT.
const ATTENTION: &str = "layers.#.self_attn.o_proj.weight | layers.#.attention.wo.weight | \
                         layers.#.attn.output_proj.weight | h.#.attn.proj.weight";
const DOWN: &str = "layers.#.mlp.down_proj.weight | layers.#.feed_forward.w2.weight | layers.#.mlp.w2.weight | \
                    h.#.mlp.proj.weight";
const UP: &str = "layers.#.mlp.up_proj.weight | layers.#.feed_forward.w3.weight | layers.#.mlp.w3.weight | \
                  h.#.mlp.fc_2.weight";
const HEAD: &str = "**.lm_head.weight [*, *] | **.lm_head.w_out.weight [*, *] | output.weight [*, *] | \
                    *.output.weight [*, *]";

/// A Llama-style model, depth-scaled, as torchtitan (`models/llama3`) and OLMo-core (`llama_depth`) start it: truncated
/// normals of std 0.02, cut at ±3 std; the projections into the residual stream (`self_attn.o_proj`, `mlp.down_proj`)
/// and `mlp.up_proj` of layer `l` (from 0) with `0.02/√(2(l + 1))` (Zhang et al. 2019, arXiv 1908.11365);
/// [embeddings](super) N(0, 1); the head `lm_head` with std `1/√d`, cut at ±3 std; norms 1. A projection of a
/// layer beyond `layers` is an error. The projections are also known by the names of Meta's release
/// (`attention.wo`, `feed_forward.w2`, `feed_forward.w3`, `output`), of torchtune (`attn.output_proj`, `mlp.w2`) and of
/// LitGPT (`h.0.attn.proj`, `h.0.mlp.proj`, `h.0.mlp.fc_2`). (torchtitan cuts the 0.02 at ±2, which cuts nothing off.)
pub fn llama(layers: usize) -> Rules {
    let depth = |l: usize| cut(0.02 / (2.0 * (l as f64 + 1.0)).sqrt());
    let purpose =
        |part: &str, names: &str| format!("the projections of {part} into the residual stream ({names})");
    by_layer(layers, ATTENTION, purpose("attention", "self_attn.o_proj or attention.wo"), depth)
        .chain(by_layer(
            layers,
            DOWN,
            purpose("the feed-forward net", "mlp.down_proj or feed_forward.w2"),
            depth,
        ))
        .chain(by_layer(layers, UP, String::new(), depth))
        .chain(biases())
        .chain([Rule::draw(HEAD, cut_by_fan(1.0))])
        .chain(embeddings(Initializer::normal(1.0)))
        .chain([Rule::draw("[*, *, ..]", cut(0.02))])
        .chain(vectors())
        .collect()
}

/// OLMo's start after Mitchell (allenai/OLMo, `olmo/model.py`, `init_fn: mitchell`): normals of std `1/√fan_in`, cut at
/// ±3 std; the projections into the residual stream of layer `l` (from 0) divided by `√(2(l + 1))`; embeddings
/// `[vocabulary, d]` and the head `1/√d`; biases 0, norms 1. The names are OLMo's own (`blocks.0.attn_out`,
/// `blocks.0.ff_out`) and the hub's. A projection of a layer beyond `layers` is an error.
pub fn olmo(layers: usize) -> Rules {
    let depth = |l: usize| cut_by_fan(1.0 / (2.0 * (l as f64 + 1.0)).sqrt());
    let attention = "blocks.#.attn_out.weight | layers.#.self_attn.o_proj.weight";
    let net = "blocks.#.ff_out.weight | layers.#.mlp.down_proj.weight";
    by_layer(layers, attention, "the projections of attention (attn_out or self_attn.o_proj)".into(), depth)
        .chain(by_layer(
            layers,
            net,
            "the projections of the feed-forward net (ff_out or mlp.down_proj)".into(),
            depth,
        ))
        .chain(biases())
        .chain([Rule::draw("[*, *, ..]", cut_by_fan(1.0))])
        .chain(vectors())
        .collect()
}

/// GPT-NeoX (EleutherAI/gpt-neox, `megatron/model/init_functions.py`): N(0, 2/(5d)) (`small_init`; Nguyen and Salazar
/// 2019, arXiv 1910.05895), and the projections into the residual stream (`attention.dense`, `mlp.dense_4h_to_h`)
/// `N(0, (2/(L√d))²)` for `L` layers (`wang_init`); biases 0, norms 1. `d`, the model's width, is the fan_in of the
/// first and the fan_out of the projections. A projection of a layer beyond `layers` is an error.
pub fn neox(layers: usize) -> Rules {
    let normal =
        |scale, mode| Initializer::VarianceScaling { scale, mode, distribution: Distribution::Normal };
    let residual = normal(4.0 / (layers.max(1) as f64).powi(2), FanMode::FanOut);
    let projection = |pattern: &str, purpose: &str| {
        let rule = Rule::draw(pattern, residual.clone());
        rule.map(|rule| rule.with_layers(layers).with_essential(purpose))
    };
    biases()
        .chain([
            projection("**.attention.dense.weight", "the projections of attention (attention.dense)"),
            projection("**.dense_4h_to_h.weight", "the projections of the feed-forward net (dense_4h_to_h)"),
            Rule::draw("[*, *, ..]", normal(0.4, FanMode::FanIn)),
        ])
        .chain(vectors())
        .collect()
}

/// DeepNorm for an encoder or a decoder of `layers` layers (Wang et al. 2022, arXiv 2203.00555, figure 2): Xavier
/// normal; the value and output projections and the feed-forward weights with gain `β = (8N)^{-1/4}`; embeddings and
/// `output_projection` N(0, 1/d), as in fairseq; biases 0, norms 1. The model multiplies its skip connections by
/// `α = (2N)^{1/4}`. The names are fairseq's and the hub's (`v_proj`, `out_proj`, `fc1`, `fc2`), PyTorch's
/// (`linear1`, `linear2`) and T5's. Such a weight of a layer beyond `layers` is an error.
pub fn deepnorm(layers: usize) -> Rules {
    let beta = (8.0 * layers.max(1) as f64).powf(-0.25);
    deep_norm(&[("", beta, layers)])
}

/// DeepNorm for an encoder of `encoder` (N) and a decoder of `decoder` (M) layers, as [`deepnorm`], with the gains
/// `0.87 (N⁴M)^{-1/16}` and `(12M)^{-1/4}` (Wang et al. 2022, arXiv 2203.00555, figure 2; the authors' torchscale has
/// 1/1.15 for 0.87). The model's α are `0.81 (N⁴M)^{1/16}` and `(3M)^{1/4}`.
///
/// ```
/// use wick_init::{Initializer, presets};
///
/// let rules = presets::deepnorm_encoder_decoder(6, 6)?;
/// let rule = rules.iter().find(|rule| rule.pattern.matches("decoder.layers.0.fc1.weight", &[8, 8])).unwrap();
/// let gain = 72f64.powf(-0.25);
/// assert_eq!(rule.action.to_string(), Initializer::xavier_normal().with_gain(gain).to_string());
/// # Ok::<(), wick_init::PatternError>(())
/// ```
pub fn deepnorm_encoder_decoder(encoder: usize, decoder: usize) -> Rules {
    let (n, m) = (encoder.max(1) as f64, decoder.max(1) as f64);
    let gain = 0.87 * (n.powi(4) * m).powf(-1.0 / 16.0);
    deep_norm(&[("encoder.**.", gain, encoder), ("decoder.**.", (12.0 * m).powf(-0.25), decoder)])
}

fn deep_norm(sides: &[(&str, f64, usize)]) -> Rules {
    let weights = [
        ("the value projections (v_proj)", "v_proj.weight | v_proj_weight | *Attention.v.weight"),
        (
            "the output projections (out_proj)",
            "out_proj.weight | attn.output_proj.weight | *Attention.o.weight",
        ),
        ("the first feed-forward weights (fc1)", "fc1.weight | linear1.weight | DenseReluDense.wi.weight"),
        ("the second feed-forward weights (fc2)", "fc2.weight | linear2.weight | DenseReluDense.wo.weight"),
    ];
    let scaled = sides.iter().flat_map(|&(side, gain, layers)| {
        weights.map(|(purpose, names)| {
            let patterns: Vec<String> = names.split(" | ").map(|name| format!("**.{side}{name}")).collect();
            let rule = Rule::draw(&patterns.join(" | "), Initializer::xavier_normal().with_gain(gain));
            rule.map(|rule| rule.with_layers(layers).with_essential(purpose))
        })
    });
    biases()
        .chain(scaled)
        .chain([Rule::draw("**.output_projection.weight [*, *]", Initializer::lecun_normal())])
        .chain(embeddings(Initializer::lecun_normal()))
        .chain([Rule::draw("[*, *, ..]", Initializer::xavier_normal())])
        .chain(vectors())
        .collect()
}

/// nanochat (karpathy/nanochat, `gpt.py`, commit 92d63d4), whose matrices Muon trains: `c_q`, `c_k`, `c_v` and the value
/// embeddings U(±√(3/fan_in)), `c_fc` 0.4 times that, the projections `c_proj` 0, `wte` N(0, 0.8²), `lm_head`
/// N(0, 0.001²), gates U(0, 0.02); of layer `l` of `L`, `resid_lambdas` `1.15 - 0.1 l/(L - 1)` and `x0_lambdas`
/// `0.2 - 0.15 l/(L - 1)`; `smear_lambda` 0, `backout_lambda` 0.2. (The value embeddings go by their own width, which is
/// the model's if there are as many key heads as query heads.)
pub fn nanochat() -> Rules {
    let ramp = |base, slope| Initializer::ramp(base, slope, 1.0, RampOver::Ends);
    let input = Initializer::lecun_uniform();
    let projection = |pattern: &str, purpose: &str| {
        Rule::draw(pattern, Initializer::zeros()).map(|rule| rule.with_essential(purpose))
    };
    let rules: [OneRule; 10] = [
        projection("**.attn.c_proj.weight", "the projections of attention (attn.c_proj)"),
        projection("**.mlp.c_proj.weight", "the projections of the feed-forward net (mlp.c_proj)"),
        Rule::draw("**.c_fc.weight", input.clone().with_gain(0.4)),
        Rule::draw("**.wte.weight", Initializer::normal(0.8)),
        Rule::draw("**.lm_head.weight", Initializer::normal(0.001)),
        Rule::draw("**.ve_gate.weight | **.smear_gate.weight", Initializer::Uniform { low: 0.0, high: 0.02 }),
        Rule::draw("**.resid_lambdas", ramp(1.15, -0.1)),
        Rule::draw("**.x0_lambdas", ramp(0.2, -0.15)),
        Rule::draw("**.smear_lambda", Initializer::zeros()),
        Rule::draw("**.backout_lambda", Initializer::Constant(0.2)),
    ];
    rules.into_iter().chain([Rule::draw("[*, *]", input)]).collect()
}

/// Gemma (Hugging Face's `modeling_gemma.py`, `initializer_range` 0.02): matrices and embeddings N(0, 0.02²), biases 0,
/// and norms 0, because Gemma 1 to 3 multiply by `1 + weight`, as candle-transformers' `gemma` does.
pub fn gemma() -> Rules {
    biases()
        .chain([
            Rule::draw("**.*norm*.weight [*] | **.*norm*.scale [*]", Initializer::zeros())
                .map(|rule| rule.with_essential("the norms (norm)")),
            Rule::draw("[*, *, ..]", Initializer::normal(0.02)),
        ])
        .collect()
}
