//! Models of candle-transformers, unmodified, at small sizes.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Module, VarBuilder};
use candle_transformers::models::{
    bert, convnext, efficientnet, gemma, gemma3, llama, mamba, mistral, phi, qwen2, repvgg, resnet, t5, vit,
};
use wick_init::{InitMap, Initializer, Rule};
use wick_tests::CPU;

/// What a pass gives.
pub(crate) type Forward = Box<dyn FnMut() -> Result<Tensor>>;

/// A model and its variables.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) map: InitMap,
    pub(crate) forward: Forward,
}

fn config<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

fn ids(batch: usize, count: usize) -> Tensor {
    let ids: Vec<u32> = (0..(batch * count) as u32).map(|i| (i * 7 + 3) % 40).collect();
    Tensor::from_vec(ids, (batch, count), &CPU).unwrap()
}

fn images(batch: usize, size: usize) -> Tensor {
    wick_tests::normal(3, "images", (batch, 3 * size * size), DType::F32)
        .reshape((batch, 3, size, size))
        .unwrap()
}

/// The mean square of the outputs, which is a loss like another.
fn loss(output: &Tensor) -> Result<Tensor> {
    output.sqr()?.mean_all()
}

fn model<M: 'static>(
    name: &'static str,
    build: impl FnOnce(VarBuilder<'static>) -> Result<M>,
    mut forward: impl FnMut(&mut M) -> Result<Tensor> + 'static,
) -> Model {
    // Vectors of norms are 1 and biases small, so that no gradient is 0 by symmetry.
    let rules = [
        Rule::draw("**.weight [*]", Initializer::ones()).unwrap(),
        Rule::draw("**.bias", Initializer::normal(0.01)).unwrap(),
    ];
    let map = InitMap::new(7).with_rules(rules).with_default_init(Initializer::lecun_normal());
    let mut built = build(map.var_builder(DType::F32, &CPU)).unwrap();
    Model { name, map, forward: Box::new(move || loss(&forward(&mut built)?)) }
}

fn t5_config(tied: bool, activation: &str) -> t5::Config {
    config(&format!(
        r#"{{"vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
        "relative_attention_num_buckets": 8, "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0, "feed_forward_proj": "{activation}", "tie_word_embeddings": {tied},
        "is_encoder_decoder": true, "use_cache": false, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0}}"#
    ))
}

pub(crate) fn t5(tied: bool) -> Model {
    let (name, activation) = if tied { ("t5 tied", "relu") } else { ("t5", "gated-gelu") };
    let config = t5_config(tied, activation);
    model(
        name,
        |vb| t5::T5ForConditionalGeneration::load(vb, &config),
        |t5| t5.forward(&ids(2, 6), &ids(2, 5)),
    )
}

pub(crate) fn vit() -> Model {
    let config: vit::Config = config(
        r#"{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": 16, "patch_size": 8, "num_channels": 3,
        "qkv_bias": true}"#,
    );
    model("vit", |vb| vit::Model::new(&config, 10, vb), |vit| vit.forward(&images(3, 16)))
}

pub(crate) fn gemma() -> Model {
    let config: gemma::Config = config(
        r#"{"attention_bias": false, "head_dim": 8, "hidden_act": "gelu", "hidden_size": 32,
        "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "vocab_size": 40}"#,
    );
    model(
        "gemma",
        |vb| gemma::Model::new(false, &config, vb),
        |gemma| {
            gemma.clear_kv_cache();
            gemma.forward(&ids(2, 6), 0)
        },
    )
}

pub(crate) fn gemma3() -> Model {
    let config: gemma3::Config = config(
        r#"{"attention_bias": false, "head_dim": 8, "hidden_activation": "gelu", "hidden_size": 32,
        "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_local_base_freq": 10000.0, "vocab_size": 40,
        "query_pre_attn_scalar": 8, "sliding_window": 16, "sliding_window_pattern": 2,
        "max_position_embeddings": 64}"#,
    );
    model(
        "gemma3",
        |vb| gemma3::Model::new(false, &config, vb),
        |gemma| {
            gemma.clear_kv_cache();
            gemma.forward(&ids(1, 6), 0)
        },
    )
}

pub(crate) fn llama() -> Model {
    let config = llama::Config {
        hidden_size: 32,
        intermediate_size: 64,
        vocab_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        use_flash_attn: false,
        rms_norm_eps: 1e-5,
        rope_theta: 1e4,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 32,
        tie_word_embeddings: false,
    };
    let again = config.clone();
    model(
        "llama",
        |vb| llama::Llama::load(vb, &config),
        move |llama| {
            let mut cache = llama::Cache::new(false, DType::F32, &again, &CPU)?;
            llama.forward(&ids(2, 6), 0, &mut cache)
        },
    )
}

pub(crate) fn mistral() -> Model {
    let config: mistral::Config = config(
        r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "head_dim": 8, "num_key_value_heads": 2, "hidden_act": "silu",
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": null,
        "use_flash_attn": false}"#,
    );
    model(
        "mistral",
        |vb| mistral::Model::new(&config, vb),
        |mistral| {
            mistral.clear_kv_cache();
            mistral.forward(&ids(2, 6), 0)
        },
    )
}

pub(crate) fn qwen2() -> Model {
    let config: qwen2::Config = config(
        r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "sliding_window": 64, "max_window_layers": 2, "tie_word_embeddings": true, "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6, "use_sliding_window": false, "hidden_act": "silu"}"#,
    );
    model(
        "qwen2",
        |vb| qwen2::ModelForCausalLM::new(&config, vb),
        |qwen| {
            qwen.clear_kv_cache();
            qwen.forward(&ids(2, 6), 0)
        },
    )
}

pub(crate) fn phi() -> Model {
    let config: phi::Config = config(
        r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": null, "hidden_act": "gelu_new",
        "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "tie_word_embeddings": false,
        "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "qk_layernorm": false}"#,
    );
    model(
        "phi",
        |vb| phi::Model::new(&config, vb),
        |phi| {
            phi.clear_kv_cache();
            phi.forward(&ids(2, 6))
        },
    )
}

pub(crate) fn mamba() -> Model {
    let config: mamba::Config =
        config(r#"{"d_model": 32, "n_layer": 2, "vocab_size": 40, "pad_vocab_size_multiple": 8}"#);
    let again = config.clone();
    model(
        "mamba",
        |vb| mamba::Model::new(&config, vb.pp("backbone")),
        move |mamba| {
            let mut state = mamba::State::new(1, &again, DType::F32, &CPU)?;
            mamba.forward(&ids(1, 6).narrow(1, 2, 1)?.squeeze(1)?, &mut state)
        },
    )
}

pub(crate) fn bert() -> Model {
    let config = bert::Config {
        vocab_size: 40,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 16,
        ..Default::default()
    };
    model(
        "bert",
        |vb| bert::BertModel::load(vb, &config),
        |bert| {
            let ids = ids(2, 6);
            bert.forward(&ids, &ids.zeros_like()?, None)
        },
    )
}

pub(crate) fn convnext() -> Model {
    model(
        "convnext",
        |vb| convnext::convnext(&convnext::Config::atto(), 10, vb),
        |net| net.forward(&images(1, 64)),
    )
}

pub(crate) fn efficientnet() -> Model {
    model(
        "efficientnet",
        |vb| efficientnet::EfficientNet::new(vb, efficientnet::MBConvConfig::b0(), 10),
        |net| net.forward(&images(2, 64)),
    )
}

pub(crate) fn repvgg() -> Model {
    model("repvgg", |vb| repvgg::repvgg(&repvgg::Config::a0(), 10, vb), |net| net.forward(&images(1, 32)))
}

pub(crate) fn resnet18() -> Model {
    model("resnet18", |vb| resnet::resnet18(10, vb), |net| net.forward(&images(2, 64)))
}
