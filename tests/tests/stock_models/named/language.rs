//! Language models.

use candle_nn::VarBuilder;
use candle_transformers::models::{gemma, llama, olmo};
use wick_init::presets;

use super::Is::{Between, Ramp, Std, Value};
use super::{CUT, check, layer, listed};
use crate::models::small_llama;

/// torchtitan's `models/llama3/__init__.py` and OLMo-core's `llama_depth`; the twin in the middle of this test is what
/// Wick had before: the up projections and the embedding at 0.02.
#[test]
fn llama_and_olmo() {
    let llama = |vb: &VarBuilder| drop(llama::Llama::load(vb.clone(), &small_llama()).unwrap());
    let depth = |name: &str| 1.0 / (2.0 * (layer(name) + 1.0)).sqrt();
    check("llama", presets::llama(3), llama, |name, shape| match shape {
        [_] => Value(1.0),
        _ if name.contains("embed_tokens") => Std(1.0),
        _ if name.contains("lm_head") => Std(CUT / 8.0),
        _ if ["o_proj", "down_proj", "up_proj"].iter().any(|part| name.contains(part)) => {
            Std(CUT * 0.02 * depth(name))
        }
        _ => Std(CUT * 0.02),
    });
    let config = olmo::Config {
        vocab_size: 100,
        hidden_size: 64,
        intermediate_size: 96,
        attention_bias: false,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        hidden_act: candle_nn::Activation::Silu,
        max_position_embeddings: 32,
        rope_theta: 1e4,
        tie_word_embeddings: false,
        clip_qkv: None,
    };
    let olmo = |vb: &VarBuilder| drop(olmo::Model::new(&config, vb.clone()).unwrap());
    check("olmo", presets::olmo(3), olmo, |name, shape| {
        let std = CUT / (shape[1] as f64).sqrt();
        Std(if name.contains("o_proj") || name.contains("down_proj") { std * depth(name) } else { std })
    });
}

/// Hugging Face's `modeling_gemma.py`: N(0, 0.02²), and norms `1 + 0`.
#[test]
fn gemma() {
    let config = gemma::Config {
        attention_bias: false,
        head_dim: 16,
        hidden_act: Some(candle_nn::Activation::Gelu),
        hidden_activation: None,
        hidden_size: 64,
        intermediate_size: 96,
        num_attention_heads: 4,
        num_hidden_layers: 2,
        num_key_value_heads: 2,
        rms_norm_eps: 1e-6,
        rope_theta: 1e4,
        vocab_size: 100,
        max_position_embeddings: 32,
    };
    let build = |vb: &VarBuilder| drop(gemma::Model::new(false, &config, vb.clone()).unwrap());
    check("gemma", presets::gemma(), build, |_, shape| if shape.len() == 1 { Value(0.0) } else { Std(0.02) });
}

/// gpt-neox's `init_functions.py` on the names of Pythia; nanochat's `gpt.py`; figure 2 of DeepNet on fairseq's names.
#[test]
fn neox_nanochat_and_deepnorm() {
    let (d, layers) = (64.0f64, 3.0f64);
    let names: Vec<String> = (0..3)
        .flat_map(|l| {
            ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]
                .map(|part| format!("gpt_neox.layers.{l}.{part}"))
        })
        .collect();
    let build = |vb: &VarBuilder| {
        for name in &names {
            let (out, inputs) = match name.rsplit('.').next().unwrap() {
                "query_key_value" => (192, 64),
                "dense_h_to_4h" => (256, 64),
                "dense_4h_to_h" => (64, 256),
                _ => (64, 64),
            };
            candle_nn::linear(inputs, out, vb.pp(name)).unwrap();
        }
        candle_nn::embedding(200, 64, vb.pp("gpt_neox.embed_in")).unwrap();
        candle_nn::layer_norm(64, 1e-5, vb.pp("gpt_neox.final_layer_norm")).unwrap();
        candle_nn::linear_no_bias(64, 200, vb.pp("embed_out")).unwrap();
    };
    check("neox", presets::neox(3), build, |name, shape| match shape {
        [_] => Value(f64::from(u8::from(name.ends_with("norm.weight")))),
        _ if name.contains("attention.dense") || name.contains("4h_to_h") => Std(2.0 / layers / d.sqrt()),
        _ => Std((2.0 / (5.0 * d)).sqrt()),
    });

    let nanochat: [(&str, &[usize]); 14] = [
        ("transformer.wte.weight", &[200, 64]),
        ("transformer.h.1.attn.c_q.weight", &[64, 64]),
        ("transformer.h.1.attn.c_k.weight", &[64, 64]),
        ("transformer.h.1.attn.c_v.weight", &[64, 64]),
        ("transformer.h.1.attn.c_proj.weight", &[64, 64]),
        ("transformer.h.1.attn.ve_gate.weight", &[2, 32]),
        ("transformer.h.1.mlp.c_fc.weight", &[256, 64]),
        ("transformer.h.1.mlp.c_proj.weight", &[64, 256]),
        ("lm_head.weight", &[200, 64]),
        ("value_embeds.1.weight", &[200, 64]),
        ("resid_lambdas", &[12]),
        ("x0_lambdas", &[12]),
        ("smear_gate.weight", &[1, 24]),
        ("smear_lambda", &[1]),
    ];
    check("nanochat", presets::nanochat(), listed(&nanochat), |name, _| match name {
        "resid_lambdas" => Ramp(Box::new(|l| 1.15 - 0.10 * l / 11.0)),
        "x0_lambdas" => Ramp(Box::new(|l| 0.20 - 0.15 * l / 11.0)),
        "transformer.wte.weight" => Std(0.8),
        "lm_head.weight" => Std(0.001),
        _ if name.contains("gate") => Between(0.0, 0.02),
        _ if name.contains("c_proj") || name == "smear_lambda" => Value(0.0),
        _ => {
            let bound = if name.contains("c_fc") { 0.4 } else { 1.0 } * (3.0 / d).sqrt();
            Between(-bound, bound)
        }
    });

    let fairseq = |vb: &VarBuilder| {
        for side in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"] {
            candle_nn::linear(64, 64, vb.pp(format!("encoder.layers.2.{side}"))).unwrap();
        }
        candle_nn::linear(64, 128, vb.pp("encoder.layers.2.fc1")).unwrap();
        candle_nn::linear(128, 64, vb.pp("encoder.layers.2.fc2")).unwrap();
        candle_nn::layer_norm(64, 1e-5, vb.pp("encoder.layers.2.final_layer_norm")).unwrap();
        candle_nn::embedding(200, 64, vb.pp("encoder.embed_tokens")).unwrap();
        vb.get((200, 64), "encoder.output_projection.weight").unwrap();
    };
    check("deepnorm", presets::deepnorm(6), fairseq, |name, shape| match *shape {
        [_] => Value(f64::from(u8::from(name.ends_with("norm.weight")))),
        _ if name.contains("embed") || name.contains("output_projection") => Std(0.125),
        [out, inputs] => {
            let std = (2.0 / (out + inputs) as f64).sqrt();
            let scaled = ["v_proj", "out_proj", "fc1", "fc2"].iter().any(|part| name.contains(part));
            Std(if scaled { std * 48f64.powf(-0.25) } else { std })
        }
        _ => unreachable!(),
    });
}
