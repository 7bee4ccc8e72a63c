//! The architectures that take tokens.

use candle_core::{DType, Tensor};
use candle_transformers::models::{bert, gemma, gemma3, llama, mamba, mistral, phi, qwen2, t5};
use serde_json::Value;

use crate::architecture::{Architecture, Takes};

/// The rows. A row has the name, what configs call it, a small config, and how a model is built and run.
pub(crate) fn rows() -> Vec<Architecture> {
    vec![
        Architecture::new(
            "llama",
            &["llama"],
            r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
                "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false}"#,
            tokens,
            |config: &llama::LlamaConfig, vb| {
                let config = config.clone().into_config(false);
                let cache = llama::Cache::new(false, vb.dtype(), &config, vb.device())?;
                Ok((llama::Llama::load(vb, &config)?, cache))
            },
            |(llama, cache), tokens| llama.forward(tokens, 0, cache),
        ),
        Architecture::new(
            "mistral",
            &["mistral"],
            r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "head_dim": 8, "num_key_value_heads": 2, "hidden_act": "silu",
                "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                "sliding_window": null}"#,
            tokens,
            |config: &mistral::Config, vb| {
                mistral::Model::new(&mistral::Config { use_flash_attn: false, ..config.clone() }, vb)
            },
            |mistral, tokens| {
                mistral.clear_kv_cache();
                mistral.forward(tokens, 0)
            },
        ),
        Architecture::new(
            "qwen2",
            &["qwen2"],
            r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
                "sliding_window": 64, "max_window_layers": 2, "tie_word_embeddings": true,
                "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "use_sliding_window": false,
                "hidden_act": "silu"}"#,
            tokens,
            |config: &qwen2::Config, vb| qwen2::ModelForCausalLM::new(config, vb),
            |qwen, tokens| {
                qwen.clear_kv_cache();
                qwen.forward(tokens, 0)
            },
        ),
        Architecture::new(
            "gemma",
            &["gemma"],
            r#"{"attention_bias": false, "head_dim": 8, "hidden_act": "gelu", "hidden_size": 32,
                "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
                "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "vocab_size": 40}"#,
            tokens,
            |config: &gemma::Config, vb| gemma::Model::new(false, config, vb),
            |gemma, tokens| {
                gemma.clear_kv_cache();
                gemma.forward(tokens, 0)
            },
        )
        .with_gains(0.0),
        // Its cache, which cuts keys and values off, is contiguous for one sample.
        Architecture::new(
            "gemma3",
            &["gemma3_text"],
            r#"{"attention_bias": false, "head_dim": 8, "hidden_activation": "gelu", "hidden_size": 32,
                "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2,
                "num_key_value_heads": 1, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                "rope_local_base_freq": 10000.0, "vocab_size": 40, "query_pre_attn_scalar": 8,
                "sliding_window": 16, "sliding_window_pattern": 2, "max_position_embeddings": 64}"#,
            tokens,
            |config: &gemma3::Config, vb| gemma3::Model::new(false, config, vb),
            |gemma, tokens| {
                gemma.clear_kv_cache();
                gemma.forward(tokens, 0)
            },
        )
        .with_batch(1)
        .with_gains(0.0),
        Architecture::new(
            "phi",
            &["phi"],
            r#"{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": null, "hidden_act": "gelu_new",
                "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "tie_word_embeddings": false,
                "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "qk_layernorm": false}"#,
            tokens,
            |config: &phi::Config, vb| phi::Model::new(config, vb),
            |phi, tokens| {
                phi.clear_kv_cache();
                phi.forward(tokens)
            },
        ),
        Architecture::new(
            "mamba",
            &["mamba"],
            r#"{"d_model": 32, "n_layer": 2, "vocab_size": 40, "pad_vocab_size_multiple": 8}"#,
            tokens,
            |config: &mamba::Config, vb| Ok((mamba::Model::new(config, vb.pp("backbone"))?, config.clone())),
            |(mamba, config), tokens| {
                // The model takes a token of each sample at a time; its last outputs depend on all of them.
                let (batch, length) = tokens.dims2()?;
                let mut state = mamba::State::new(batch, config, mamba.dtype(), tokens.device())?;
                let mut outputs = mamba.forward(&tokens.narrow(1, 0, 1)?.squeeze(1)?, &mut state)?;
                for index in 1..length {
                    outputs = mamba.forward(&tokens.narrow(1, index, 1)?.squeeze(1)?, &mut state)?;
                }
                Ok(outputs)
            },
        )
        .with_batch(1)
        .with_length(1),
        Architecture::new(
            "bert",
            &["bert"],
            r#"{"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                "intermediate_size": 64, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
                "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.02,
                "layer_norm_eps": 1e-12, "pad_token_id": 0}"#,
            tokens,
            |config: &bert::Config, vb| {
                // A file of a model with a head has the prefix.
                let has_prefix = vb.contains_tensor("bert.embeddings.word_embeddings.weight");
                bert::BertModel::load(if has_prefix { vb.pp("bert") } else { vb }, config)
            },
            |bert, tokens| bert.forward(tokens, &tokens.zeros_like()?, None),
        ),
        Architecture::new(
            "t5",
            &["t5", "mt5"],
            r#"{"vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
                "relative_attention_num_buckets": 8, "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6,
                "initializer_factor": 1.0, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
                "is_encoder_decoder": true, "use_cache": false, "pad_token_id": 0, "eos_token_id": 1,
                "decoder_start_token_id": 0}"#,
            tokens,
            |config: &t5::Config, vb| Ok((t5::T5ForConditionalGeneration::load(vb, config)?, config.clone())),
            |(t5, config), tokens| {
                // The decoder gets the tokens one place later, behind the start token, as in training.
                let (batch, length) = tokens.dims2()?;
                let start = config.decoder_start_token_id.unwrap_or(config.pad_token_id) as u32;
                let start = Tensor::full(start, (batch, 1), tokens.device())?;
                let decoder = Tensor::cat(&[start, tokens.to_dtype(DType::U32)?], 1)?.narrow(1, 0, length)?;
                t5.clear_kv_cache();
                t5.forward(tokens, &decoder.contiguous()?)
            },
        ),
    ]
}

/// What a config of a model of text says of its input.
fn tokens(config: &Value) -> Takes {
    let number = |key: &str| config[key].as_u64().map(|number| number as usize);
    Takes::Tokens {
        vocabulary: number("vocab_size").unwrap_or_default(),
        longest: number("max_position_embeddings"),
    }
}
