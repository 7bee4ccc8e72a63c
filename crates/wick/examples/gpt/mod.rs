//! A small GPT of `wick_layers`, with GPT-2's names of variables. The program that includes this file has the
//! crate of the layers in its root as `layers`, and `activate` and `Activation`.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::layers::attention::{AttnMask, attention_joined};
use crate::layers::{Embedding, LayerNorm, Linear, embedding, layer_norm, linear, linear_no_bias};
use crate::{Activation, activate};

/// The sizes of a net.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GptConfig {
    /// The number of tokens that there are.
    pub(crate) vocabulary: usize,
    /// The largest number of positions.
    pub(crate) context: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// The width of the residual stream, a multiple of the heads.
    pub(crate) width: usize,
}

/// Attention and a perceptron, each added to the stream (Radford et al. 2019, *Language models are unsupervised
/// multitask learners*).
struct Block {
    heads: usize,
    ln_1: LayerNorm,
    c_attn: Linear,
    c_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    mlp_c_proj: Linear,
}

impl Block {
    fn new(config: &GptConfig, vb: VarBuilder) -> Result<Self> {
        let width = config.width;
        let (attn, mlp) = (vb.pp("attn"), vb.pp("mlp"));
        Ok(Self {
            heads: config.heads,
            ln_1: layer_norm(width, 1e-5, vb.pp("ln_1"))?,
            c_attn: linear(width, 3 * width, attn.pp("c_attn"))?,
            c_proj: linear(width, width, attn.pp("c_proj"))?,
            ln_2: layer_norm(width, 1e-5, vb.pp("ln_2"))?,
            c_fc: linear(width, 4 * width, mlp.pp("c_fc"))?,
            mlp_c_proj: linear(4 * width, width, mlp.pp("c_proj"))?,
        })
    }
}

impl Module for Block {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let scale = 1.0 / ((xs.dim(D::Minus1)? / self.heads) as f64).sqrt();
        let qkv = self.c_attn.forward(&self.ln_1.forward(xs)?)?;
        let mixed = attention_joined(&qkv, self.heads, self.heads, &AttnMask::causal(), scale)?;
        let xs = (xs + self.c_proj.forward(&mixed)?)?;
        let hidden = activate(Activation::Gelu, &self.c_fc.forward(&self.ln_2.forward(&xs)?)?)?;
        xs + self.mlp_c_proj.forward(&hidden)?
    }
}

/// A net that predicts each token from those before it.
pub(crate) struct Gpt {
    wte: Embedding,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    lm_head: Linear,
}

impl Gpt {
    pub(crate) fn new(config: &GptConfig, vb: VarBuilder) -> Result<Self> {
        let block = |layer: usize| Block::new(config, vb.pp("h").pp(layer));
        Ok(Self {
            wte: embedding(config.vocabulary, config.width, vb.pp("wte"))?,
            wpe: embedding(config.context, config.width, vb.pp("wpe"))?.embeddings().clone(),
            blocks: (0..config.layers).map(block).collect::<Result<_>>()?,
            ln_f: layer_norm(config.width, 1e-5, vb.pp("ln_f"))?,
            lm_head: linear_no_bias(config.width, config.vocabulary, vb.pp("lm_head"))?,
        })
    }
}

impl Module for Gpt {
    /// The logits `[batch·positions, vocabulary]` of tokens `[batch, positions]`.
    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let (_, positions) = tokens.dims2()?;
        let start = self.wte.forward(tokens)?.broadcast_add(&self.wpe.narrow(0, 0, positions)?)?;
        let stream = self.blocks.iter().try_fold(start, |stream, block| block.forward(&stream))?;
        self.lm_head.forward(&self.ln_f.forward(&stream)?.flatten_to(1)?)
    }
}
