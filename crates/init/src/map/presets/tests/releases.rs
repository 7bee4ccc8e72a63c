//! The names of the original releases.

use candle_core::{DType, Device};

use super::super::*;
use crate::map::InitMap;

type Tensors<'a> = &'a [(&'a str, &'a [usize], Option<f64>)];

/// Draws tensors by a preset, and checks their expected standard deviations; the preset has to know all names and
/// to meet all that it needs.
fn check(what: &str, rules: Rules, tensors: Tensors) {
    let map = drawn(what, rules, tensors);
    assert_eq!(map.unmatched_essentials(), [""; 0], "{what}");
}

fn drawn(what: &str, rules: Rules, tensors: Tensors) -> InitMap {
    let shapes = tensors.iter().map(|(name, shape, _)| ((*name).to_owned(), shape.to_vec()));
    let map = InitMap::new(5).with_rules(rules.unwrap()).strict().with_shapes(shapes);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    for (name, shape, _) in tensors {
        vb.get(*shape, name).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for entry in map.manifest().unwrap().tensors {
        let expected = tensors.iter().find(|(name, ..)| *name == entry.name).unwrap().2;
        let std = entry.expected_std.unwrap();
        if let Some(expected) = expected {
            let close = (std - expected).abs() < 1e-9 + 1e-6 * expected;
            assert!(close, "{what}: {}: {std}, not {expected}", entry.name);
        }
    }
    map
}

/// Whole models by the names of their releases: the rules that a preset is for are met, and the layers that it
/// scales have their scale.
#[test]
fn original_releases_are_known() {
    // The standard deviation of N(0, 1) cut at ±3, and of U(±1).
    let (cut, uniform) = (0.986_578_324, 1.0 / 3f64.sqrt());
    let deep = Some(0.02 * cut / 8f64.sqrt());
    check(
        "llama of Meta",
        llama(4),
        &[
            ("tok_embeddings.weight", &[9, 8], Some(1.0)),
            ("layers.3.attention.wo.weight", &[8, 8], deep),
            ("layers.3.attention.wq.weight", &[8, 8], Some(0.02 * cut)),
            ("layers.3.feed_forward.w2.weight", &[8, 8], deep),
            ("layers.3.feed_forward.w3.weight", &[8, 8], deep),
            ("layers.3.feed_forward.w1.weight", &[8, 8], Some(0.02 * cut)),
            ("layers.3.attention_norm.weight", &[8], Some(0.0)),
            ("output.weight", &[9, 8], Some(cut / 8f64.sqrt())),
        ],
    );
    check(
        "llama of LitGPT",
        llama(4),
        &[
            ("transformer.h.3.attn.proj.weight", &[8, 8], deep),
            ("transformer.h.3.mlp.proj.weight", &[8, 8], deep),
            ("transformer.h.3.mlp.fc_2.weight", &[8, 8], deep),
        ],
    );
    for (what, names) in [
        (
            "gpt2 of OpenAI",
            [
                "model/h11/attn/c_proj/w",
                "model/h11/mlp/c_proj/w",
                "model/h11/attn/c_attn/w",
                "model/h11/ln_1/g",
                "model/h11/ln_1/b",
                "model/wte",
            ],
        ),
        (
            "gpt2 of JAX",
            [
                "transformer.h.11.attn.c_proj.kernel",
                "transformer.h.11.mlp.c_proj.kernel",
                "transformer.h.11.attn.c_attn.kernel",
                "transformer.h.11.ln_1.scale",
                "transformer.h.11.ln_1.bias",
                "transformer.wte.embedding",
            ],
        ),
        (
            "gpt2 of the hub",
            [
                "h.11.attn.c_proj.weight",
                "h.11.mlp.c_proj.weight",
                "h.11.attn.c_attn.weight",
                "h.11.ln_1.weight",
                "h.11.ln_1.bias",
                "wte.weight",
            ],
        ),
    ] {
        let matrix: &[usize] = if what.contains("OpenAI") { &[1, 8, 8] } else { &[8, 8] };
        check(
            what,
            gpt2(12),
            &[
                (names[0], matrix, Some(0.02 / 24f64.sqrt())),
                (names[1], matrix, Some(0.02 / 24f64.sqrt())),
                (names[2], matrix, Some(0.02)),
                (names[3], &[8], Some(0.0)),
                (names[4], &[8], Some(0.0)),
                (names[5], &[9, 8], Some(0.02)),
            ],
        );
    }
    let error = {
        let map = InitMap::new(5).with_rules(gpt2(12).unwrap());
        map.var_builder(DType::F32, &Device::Cpu)
            .get((8, 8), "model/h12/mlp/c_proj/w")
            .unwrap_err()
            .to_string()
    };
    assert!(error.contains("layer 12 is beyond the 12 layers"), "{error}");
    let (encoder, decoder) = (0.67 * 6f64.powf(-0.25), 54f64.powf(-0.25));
    let xavier = (1.0 / 8.0f64).sqrt();
    for (what, names) in [
        ("t-fixup of fairseq", ["self_attn.v_proj", "self_attn.out_proj", "fc1", "fc2", "self_attn.q_proj"]),
        (
            "t-fixup of T5",
            [
                "SelfAttention.v",
                "SelfAttention.o",
                "DenseReluDense.wi",
                "DenseReluDense.wo",
                "SelfAttention.q",
            ],
        ),
    ] {
        let of = |side: &str| names.map(|name| format!("{side}.layers.5.{name}.weight"));
        let (e, d) = (of("encoder"), of("decoder"));
        let mut tensors: Vec<(&str, &[usize], Option<f64>)> =
            vec![("encoder.embed_tokens.weight", &[9, 4], Some(decoder * 0.5))];
        tensors.extend(e[..4].iter().map(|name| (name.as_str(), &[8usize, 8][..], Some(encoder * xavier))));
        tensors.extend(d[..4].iter().map(|name| (name.as_str(), &[8usize, 8][..], Some(decoder * xavier))));
        tensors.push((&e[4], &[8, 8], Some(xavier)));
        check(what, t_fixup(6), &tensors);
    }
    let linear = |fan_in: f64| Some(uniform / fan_in.sqrt());
    check(
        "bert of Google",
        torch_defaults(),
        &[
            ("bert/embeddings/word_embeddings", &[9, 8], Some(1.0)),
            ("bert/embeddings/position_embeddings", &[5, 8], Some(1.0)),
            ("bert/embeddings/LayerNorm/gamma", &[8], Some(0.0)),
            ("bert/embeddings/LayerNorm/beta", &[8], Some(0.0)),
            ("bert/encoder/layer_0/intermediate/dense/kernel", &[8, 32], linear(8.0)),
            ("bert/encoder/layer_0/intermediate/dense/bias", &[32], linear(8.0)),
            ("cls/seq_relationship/output_weights", &[2, 8], linear(8.0)),
            ("cls/seq_relationship/output_bias", &[2], linear(8.0)),
            ("cls/predictions/output_bias", &[9], Some(0.0)),
        ],
    );
    check(
        "vit of Google",
        torch_defaults(),
        &[
            ("cls", &[1, 1, 8], None),
            ("embedding/kernel", &[4, 4, 3, 8], linear(48.0)),
            ("embedding/bias", &[8], linear(48.0)),
            ("Transformer/posembed_input/pos_embedding", &[1, 5, 8], None),
            ("Transformer/encoderblock_0/LayerNorm_0/scale", &[8], Some(0.0)),
            ("Transformer/encoderblock_0/LayerNorm_0/bias", &[8], Some(0.0)),
            (
                "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel",
                &[8, 2, 4],
                linear(8.0),
            ),
            ("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/bias", &[2, 4], linear(8.0)),
            ("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/out/kernel", &[2, 4, 8], linear(8.0)),
            ("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/out/bias", &[8], linear(8.0)),
            ("Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel", &[8, 32], linear(8.0)),
            ("Transformer/encoderblock_0/MlpBlock_3/Dense_0/bias", &[32], linear(8.0)),
            ("Transformer/encoder_norm/scale", &[8], Some(0.0)),
            ("head/kernel", &[8, 10], linear(8.0)),
        ],
    );
    check(
        "vit of timm, bert of the hub",
        torch_defaults(),
        &[
            ("cls_token", &[1, 1, 8], None),
            ("patch_embed.proj.weight", &[8, 3, 4, 4], linear(48.0)),
            ("patch_embed.proj.bias", &[8], linear(48.0)),
            ("blocks.0.attn.qkv.weight", &[24, 8], linear(8.0)),
            ("blocks.0.attn.qkv.bias", &[24], linear(8.0)),
            ("blocks.0.attn.q_bias", &[8], Some(0.0)),
            ("cls.predictions.bias", &[9], Some(0.0)),
        ],
    );
    check(
        "a net of Keras",
        keras_defaults(),
        &[
            ("embedding/embeddings", &[9, 8], Some(0.05 * uniform)),
            ("conv/kernel", &[3, 3, 4, 8], Some((2.0 / (9.0 * 12.0f64)).sqrt())),
            ("conv/bias", &[8], Some(0.0)),
            ("lstm/lstm_cell/kernel", &[8, 32], Some((2.0 / 40.0f64).sqrt())),
            ("norm/moving_mean", &[8], Some(0.0)),
            ("norm/moving_variance", &[8], Some(0.0)),
        ],
    );
}

/// Biases of two and more dimensions are biases, and masks are no weights.
#[test]
fn biases_of_every_rank_are_biases() {
    for (what, rules) in [
        ("gpt2", gpt2(2)),
        ("llama", llama(2)),
        ("keras", keras_defaults()),
        ("mup", mup(64.0)),
        ("t-fixup", t_fixup(2)),
    ] {
        drawn(
            what,
            rules,
            &[
                ("h.0.attn.bias", &[1, 1, 16, 16], Some(0.0)),
                ("gru/gru_cell/bias", &[2, 96], Some(0.0)),
                ("mha/query/bias", &[4, 8], Some(0.0)),
                ("final_logits_bias", &[1, 50], Some(0.0)),
                ("norm/scale", &[1, 1, 1, 64], Some(0.0)),
                ("norm/bias", &[1, 1, 1, 64], Some(0.0)),
                ("gn1/scale", &[64], Some(0.0)),
            ],
        );
    }
    drawn(
        "torch",
        torch_defaults(),
        &[
            ("h.0.attn.bias", &[1, 1, 16, 16], Some(0.0)),
            ("final_logits_bias", &[1, 50], Some(0.0)),
            ("gn1/scale", &[64], Some(0.0)),
            ("gn1/bias", &[64], Some(0.0)),
            ("norm/scale", &[1, 1, 1, 64], Some(0.0)),
            ("norm/bias", &[1, 1, 1, 64], Some(0.0)),
        ],
    );
}

/// Keras takes the fans of every kernel as of `[…, in, out]`.
#[test]
fn kernels_of_keras_have_its_fans() {
    check(
        "keras",
        keras_defaults(),
        &[
            ("sep/pointwise_kernel", &[1, 1, 8, 16], Some((2.0 / 24f64).sqrt())),
            ("sep/depthwise_kernel", &[3, 3, 8, 1], Some((2.0 / 81f64).sqrt())),
            ("mha/query/kernel", &[8, 2, 4], Some((2.0 / 48f64).sqrt())),
            ("p_re_lu/alpha", &[4, 4, 8], Some(0.0)),
        ],
    );
}

/// The hub's GPT-2 has `[in, out]`, nanoGPT `[out, in]`, both by the same names; TensorFlow's has
/// `[1, in, out]`.
#[test]
fn inputs_are_found_where_they_are() {
    let fan_in = |fan_in: f64| Some(fan_in.sqrt().recip());
    for (names, c_attn, c_fc, c_proj) in [
        ("h.0.X.weight", &[64, 192][..], &[64, 256][..], &[256, 64][..]),
        ("transformer.h.0.X.weight", &[192, 64], &[256, 64], &[64, 256]),
        ("model/h0/X/w", &[1, 64, 192], &[1, 64, 256], &[1, 256, 64]),
    ] {
        let slash = if names.contains('/') { "/" } else { "." };
        let name = |part: &str| names.replace('X', &part.replace('.', slash));
        let (attn, fc, proj) = (name("attn.c_attn"), name("mlp.c_fc"), name("mlp.c_proj"));
        let tensors: Tensors =
            &[(&attn, c_attn, fan_in(64.0)), (&fc, c_fc, fan_in(64.0)), (&proj, c_proj, fan_in(256.0))];
        drawn(names, mup(64.0), tensors);
        let uniform =
            tensors.iter().map(|(name, shape, std)| (*name, *shape, std.map(|std| std / 3f64.sqrt())));
        drawn(names, torch_defaults(), &uniform.collect::<Vec<_>>());
    }
    let rates = drawn(
        "mup on a Vision Transformer of JAX",
        mup(4.0),
        &[
            ("embedding/kernel", &[4, 4, 3, 8], fan_in(48.0)),
            ("Transformer/encoderblock_0/Attention_1/query/kernel", &[8, 2, 4], fan_in(8.0)),
            ("Transformer/encoderblock_0/Attention_1/query/bias", &[2, 4], Some(0.0)),
            ("Transformer/encoderblock_0/Attention_1/out/kernel", &[2, 4, 8], fan_in(8.0)),
        ],
    );
    let rates: Vec<f64> = rates.learning_rates().unwrap().into_iter().map(|(_, rate)| rate).collect();
    // In the order of the names: out, query's bias and kernel, embedding.
    assert_eq!(rates, [0.5, 1.0, 0.5, 1.0]);
}
