//! Small configurations of stock models, and the std of a tensor.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, llama};

/// The std of the elements of a tensor.
pub(crate) fn std(tensor: &Tensor) -> f64 {
    wick_probe::summarize(tensor, None, 1).unwrap().std
}

/// BERT with two layers of 32 units.
pub(crate) fn small_bert(vb: VarBuilder) -> Result<bert::BertModel> {
    let config = bert::Config {
        vocab_size: 50,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 16,
        ..Default::default()
    };
    bert::BertModel::load(vb, &config)
}

/// The configuration of a Llama with three layers of 64 units.
pub(crate) fn small_llama() -> llama::Config {
    llama::Config {
        hidden_size: 64,
        intermediate_size: 96,
        vocab_size: 100,
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
    }
}
