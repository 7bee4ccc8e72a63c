mod buffers;
mod essentials;
mod releases;

use super::*;
use crate::conventions::torch;

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
    let up = first(&llama, "model.layers.3.mlp.up_proj.weight", &[8, 8]);
    assert!((std(&up) - 0.02 / 8f64.sqrt()).abs() < 1e-15, "{up}");
    assert_eq!(std(&first(&llama, "model.layers.3.mlp.gate_proj.weight", &[8, 8])), 0.02);
    // The embedding, and the head: Meta's `output` and no output of a block.
    assert_eq!(first(&llama, "tok_embeddings.weight", &[8, 8]), "normal:std=1");
    let head = first(&llama, "output.weight", &[8, 64]);
    assert!(
        head.ends_with("truncated_normal_3") && first(&llama, "lm_head.weight", &[8, 64]) == head,
        "{head}"
    );
    assert_eq!(std(&first(&llama, "layers.0.attention.output.weight", &[8, 8])), 0.02);

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
