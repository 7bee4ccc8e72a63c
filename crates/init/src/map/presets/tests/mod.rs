use super::*;

/// The first rule that matches a tensor, as text.
fn first(rules: &[Rule], name: &str, shape: &[usize]) -> String {
    let rule = rules.iter().find(|rule| rule.pattern.matches(name, shape)).unwrap();
    rule.action.to_string()
}

#[test]
fn the_first_rule_of_each_tensor() {
    let std =
        |spec: &str| spec.split("std=").nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap();
    let gpt2 = gpt2(12).unwrap();
    assert_eq!(first(&gpt2, "h.0.attn.c_attn.weight", &[8, 8]), "normal:std=0.02");
    assert!((std(&first(&gpt2, "h.0.mlp.c_proj.weight", &[8, 8])) - 0.02 / 24f64.sqrt()).abs() < 1e-15);
    assert_eq!(first(&gpt2, "h.0.ln_1.weight", &[8]), "ones");
    assert_eq!(first(&gpt2, "h.0.ln_1.bias", &[8]), "zeros");

    let llama = llama(4).unwrap();
    let last = first(&llama, "model.layers.3.mlp.down_proj.weight", &[8, 8]);
    assert!((std(&last) - 0.02 / 8f64.sqrt()).abs() < 1e-15, "{last}");
    assert_eq!(std(&first(&llama, "model.layers.3.mlp.up_proj.weight", &[8, 8])), 0.02);

    let torch = torch_defaults().unwrap();
    assert_eq!(first(&torch, "fc.weight", &[8, 8]), torch::linear_default().to_string());
    assert_eq!(first(&torch, "fc.bias", &[8]), "torch.bias");
    assert_eq!(first(&torch, "norm.bias", &[8]), "zeros");
    assert_eq!(first(&torch, "lstm.weight_ih_l0", &[20, 6]), "recurrent:gates=4");
    assert_eq!(first(&torch, "decoder.gru_1.0.bias_hh_l0_reverse", &[15]), "recurrent:gates=3");
    assert_eq!(first(&torch, "rnn.weight_hh_l1", &[5, 5]), "recurrent:gates=1");
    for (name, shape, expected) in [
        ("lstm.weight_hr_l0", &[3, 5][..], torch::linear_default().to_string()),
        ("attn.in_proj_weight", &[24, 8], "xavier_uniform".into()),
        ("attn.q_proj_weight", &[8, 8], "xavier_uniform".into()),
        ("attn.in_proj_bias", &[24], "zeros".into()),
        ("attn.q_proj.weight", &[8, 8], torch::linear_default().to_string()),
        ("prelu.weight", &[1], "constant:value=0.25".into()),
        ("bn1.running_mean", &[8], "zeros".into()),
        ("bn1.running_var", &[8], "ones".into()),
        ("bn1.num_batches_tracked", &[], "zeros".into()),
        ("LayerNorm.gamma", &[8], "ones".into()),
        ("LayerNorm.beta", &[8], "zeros".into()),
    ] {
        assert_eq!(first(&torch, name, shape), expected, "{name}");
    }

    let keras = keras_defaults().unwrap();
    assert_eq!(first(&keras, "conv.weight", &[8, 8, 3, 3]), "xavier_uniform");
    assert_eq!(first(&keras, "encoder.lstm.weight_ih_l0", &[20, 6]), "xavier_uniform");
    assert_eq!(first(&keras, "encoder.lstm.weight_hh_l0", &[20, 5]), "orthogonal:gain=1");
    assert_eq!(first(&keras, "encoder.lstm.bias_ih_l0", &[20]), "forget_gate:value=1");
    assert_eq!(first(&keras, "encoder.lstm.bias_hh_l0", &[20]), "zeros");
    assert_eq!(first(&keras, "gru.bias_ih_l0", &[15]), "zeros");

    let fixup = t_fixup(6).unwrap();
    let scale = |name: &str| {
        let spec = first(&fixup, name, &[8, 8]);
        spec.split("scale=").nth(1).unwrap().split(',').next().unwrap().parse::<f64>().unwrap().sqrt()
    };
    assert!((scale("model.encoder.0.attn.v_proj.weight") - 0.67 * 6f64.powf(-0.25)).abs() < 1e-12);
    assert!((scale("model.decoder.0.fc2.weight") - 54f64.powf(-0.25)).abs() < 1e-12);
    assert_eq!(first(&fixup, "model.encoder.0.attn.q_proj.weight", &[8, 8]), "xavier_uniform");

    let mup = mup(256.0).unwrap();
    for (name, shape, spec, rate) in [
        ("fc.weight", &[100, 1024][..], "lecun_normal", 0.25),
        ("fc.bias", &[100], "zeros", 1.0),
        ("lm_head.weight", &[50, 512], "zeros", 0.5),
        ("model.decoder.classifier.weight", &[50, 512], "zeros", 0.5),
        ("transformer.wte.weight", &[50, 512], "normal:std=1", 1.0),
        ("embeddings.word_embeddings.weight", &[50, 512], "normal:std=1", 1.0),
        ("patch_embed.proj.weight", &[512, 3, 16, 16], "lecun_normal", 1.0),
        ("embeddings.patch_embeddings.projection.weight", &[512, 3, 16, 16], "lecun_normal", 1.0),
    ] {
        assert_eq!(first(&mup, name, shape), spec, "{name}");
        let rule = mup.iter().find(|rule| rule.pattern.matches(name, shape)).unwrap();
        assert_eq!(rule.learning_rate_multiplier(shape).unwrap(), rate, "{name}");
    }
}

/// In candle's LSTM and GRU, every number is within 1/√hidden, and some are near it. The rule of a linear
/// layer would allow 1/√in for one weight, and leave the biases at zero.
#[test]
fn recurrent_layers_start_as_in_pytorch() {
    use candle_core::{DType, Device};
    let map = crate::map::InitMap::new(5).with_rules(torch_defaults().unwrap());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    candle_nn::lstm(3, 100, candle_nn::LSTMConfig::default(), vb.pp("lstm")).unwrap();
    candle_nn::gru(3, 100, candle_nn::GRUConfig::default(), vb.pp("gru")).unwrap();
    let vars = map.named_vars();
    assert_eq!(vars.len(), 8);
    for (name, var) in vars {
        let largest = var.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(largest <= 0.1 && largest > 0.095, "{name}: {largest}");
    }
}

#[test]
fn every_name_is_a_preset() {
    assert!(NAMES.iter().all(|name| by_name(name, 2, 64.0).is_some_and(|rules| rules.is_ok())));
    assert!(by_name("gpt7", 2, 64.0).is_none());
}

/// All presets take the same tensors for embeddings.
#[test]
fn embeddings_are_the_same_to_every_preset() {
    let embeddings = [
        "embeddings.word_embeddings.weight",
        "model.embed_tokens.weight",
        "transformer.wte.weight",
        "wpe.weight",
        "model.shared.weight",
        "tok_emb.weight",
        "emb.weight",
        "attention.relative_attention_bias.weight",
    ];
    let presets = [
        (torch_defaults(), Initializer::normal(1.0)),
        (keras_defaults(), Initializer::uniform(0.05)),
        (t_fixup(2), Initializer::lecun_normal().with_gain(18f64.powf(-0.25))),
        (mup(64.0), Initializer::normal(1.0)),
    ];
    for (rules, expected) in presets {
        let rules = rules.unwrap();
        for name in embeddings {
            assert_eq!(first(&rules, name, &[8, 8]), expected.to_string(), "{name}");
        }
        for name in ["fc.weight", "ember.weight"] {
            assert_ne!(first(&rules, name, &[8, 8]), expected.to_string(), "{name}");
        }
        assert_ne!(first(&rules, "patch_embed.proj.weight", &[8, 3, 2, 2]), expected.to_string());
    }
}

/// Whole models by the names of their releases: the rules that a preset is for are met, and the layers that it
/// scales have their scale.
#[test]
fn original_releases_are_known() {
    use candle_core::{DType, Device};
    type Tensors<'a> = &'a [(&'a str, &'a [usize], Option<f64>)];
    let check = |what: &str, rules: Rules, tensors: Tensors| {
        let shapes = tensors.iter().map(|(name, shape, _)| ((*name).to_owned(), shape.to_vec()));
        let map = crate::InitMap::new(5).with_rules(rules.unwrap()).strict().with_shapes(shapes);
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        for (name, shape, _) in tensors {
            vb.get(*shape, name).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert_eq!(map.unmatched_essentials(), [""; 0], "{what}");
        for entry in map.manifest().unwrap().tensors {
            let expected = tensors.iter().find(|(name, ..)| *name == entry.name).unwrap().2;
            let std = entry.expected_std.unwrap();
            if let Some(expected) = expected {
                assert!(
                    (std - expected).abs() < 1e-9 + 1e-6 * expected,
                    "{what}: {}: {std}, not {expected}",
                    entry.name
                );
            }
        }
    };
    // The standard deviation of N(0, 1) cut at ±3, and of U(±1).
    let (cut, uniform) = (0.986_578_324, 1.0 / 3f64.sqrt());
    let deep = Some(0.02 * cut / 8f64.sqrt());
    check(
        "llama of Meta",
        llama(4),
        &[
            ("tok_embeddings.weight", &[9, 8], Some(0.02 * cut)),
            ("layers.3.attention.wo.weight", &[8, 8], deep),
            ("layers.3.attention.wq.weight", &[8, 8], Some(0.02 * cut)),
            ("layers.3.feed_forward.w2.weight", &[8, 8], deep),
            ("layers.3.feed_forward.w1.weight", &[8, 8], Some(0.02 * cut)),
            ("layers.3.attention_norm.weight", &[8], Some(0.0)),
            ("output.weight", &[9, 8], Some(0.02 * cut)),
        ],
    );
    check(
        "llama of LitGPT",
        llama(4),
        &[
            ("transformer.h.3.attn.proj.weight", &[8, 8], deep),
            ("transformer.h.3.mlp.proj.weight", &[8, 8], deep),
        ],
    );
    for (what, names) in [
        (
            "gpt2 of OpenAI",
            [
                "model/h11/attn/c_proj/w",
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
                (names[1], matrix, Some(0.02)),
                (names[2], &[8], Some(0.0)),
                (names[3], &[8], Some(0.0)),
                (names[4], &[9, 8], Some(0.02)),
            ],
        );
    }
    let error = {
        let map = crate::InitMap::new(5).with_rules(gpt2(12).unwrap());
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

/// A model with other names than a preset knows is told, group by group.
#[test]
fn a_preset_that_meets_nothing_says_so() {
    use candle_core::{DType, Device};
    let unmet = |rules: Rules, names: &[&str]| {
        let map = crate::InitMap::new(5).with_rules(rules.unwrap());
        for name in names {
            map.var_builder(DType::F32, &Device::Cpu).get((4, 4), name).unwrap();
        }
        map.unmatched_essentials()
    };
    let attention =
        "the projections of attention into the residual stream (self_attn.o_proj or attention.wo)";
    let net =
        "the projections of the feed-forward net into the residual stream (mlp.down_proj or feed_forward.w2)";
    assert_eq!(unmet(llama(4), &["blk.0.attn_output.weight"]), [attention, net]);
    assert_eq!(unmet(llama(4), &["layers.0.attention.wo.weight"]), [net]);
    assert_eq!(
        unmet(llama(4), &["layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.down_proj.weight"]),
        [""; 0]
    );
    assert_eq!(unmet(gpt2(4), &["h.0.attn.dense.weight"]).len(), 1);
    // PyTorch's Transformer has the value projections in one matrix with others.
    let names = [
        "encoder.layers.0.self_attn.in_proj_weight",
        "encoder.layers.0.self_attn.out_proj.weight",
        "encoder.layers.0.linear1.weight",
        "encoder.layers.0.linear2.weight",
        "embed.weight",
    ];
    assert_eq!(unmet(t_fixup(4), &names), ["the value projections (v_proj)"]);
    assert_eq!(unmet(mup(64.0), &["fc.weight"]).len(), 2);
    assert_eq!(unmet(mup(64.0), &["wte.weight", "lm_head.weight"]), [""; 0]);
    for rules in [torch_defaults(), keras_defaults()] {
        assert_eq!(unmet(rules, &["fc.weight"]), [""; 0]);
    }
}
