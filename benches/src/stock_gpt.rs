//! The GPT of `gpt` from candle's own ops, with the slow paths of layer norm and softmax: the fused ones end the graph.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::ops::{layer_norm_slow, softmax};
use candle_nn::{Embedding, Linear, VarBuilder, embedding, linear, linear_no_bias};

use crate::gpt::GptConfig;

/// The weight and the bias of a layer norm.
struct Norm(Tensor, Tensor);

impl Norm {
    fn new(width: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self(vb.get(width, "weight")?, vb.get(width, "bias")?))
    }
}

impl Module for Norm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        layer_norm_slow(xs, &self.0, &self.1, 1e-5)
    }
}

struct Block {
    heads: usize,
    norms: [Norm; 2],
    c_attn: Linear,
    c_proj: Linear,
    c_fc: Linear,
    mlp_c_proj: Linear,
}

impl Block {
    fn new(config: &GptConfig, vb: VarBuilder) -> Result<Self> {
        let width = config.width;
        let (attn, mlp) = (vb.pp("attn"), vb.pp("mlp"));
        Ok(Self {
            heads: config.heads,
            norms: [Norm::new(width, vb.pp("ln_1"))?, Norm::new(width, vb.pp("ln_2"))?],
            c_attn: linear(width, 3 * width, attn.pp("c_attn"))?,
            c_proj: linear(width, width, attn.pp("c_proj"))?,
            c_fc: linear(width, 4 * width, mlp.pp("c_fc"))?,
            mlp_c_proj: linear(4 * width, width, mlp.pp("c_proj"))?,
        })
    }

    /// `mask` is −∞ for later positions, and 0 elsewhere.
    fn forward(&self, xs: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, positions, width) = xs.dims3()?;
        let qkv = self.c_attn.forward(&self.norms[0].forward(xs)?)?;
        let qkv = qkv.reshape((batch, positions, 3, self.heads, width / self.heads))?;
        let part = |which: usize| qkv.narrow(2, which, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scale = 1.0 / ((width / self.heads) as f64).sqrt();
        let scores = (q.matmul(&k.t()?)? * scale)?.broadcast_add(mask)?;
        let mixed = softmax(&scores, 3)?.matmul(&v)?.transpose(1, 2)?.reshape((batch, positions, width))?;
        let xs = (xs + self.c_proj.forward(&mixed)?)?;
        let hidden = self.c_fc.forward(&self.norms[1].forward(&xs)?)?.gelu_erf()?;
        xs + self.mlp_c_proj.forward(&hidden)?
    }
}

pub(crate) struct StockGpt {
    wte: Embedding,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: Norm,
    lm_head: Linear,
    mask: Tensor,
}

impl StockGpt {
    pub(crate) fn new(config: &GptConfig, vb: VarBuilder) -> Result<Self> {
        let block = |layer: usize| Block::new(config, vb.pp("h").pp(layer));
        let size = config.context;
        let later = |place: usize| if place % size > place / size { f32::NEG_INFINITY } else { 0.0 };
        Ok(Self {
            wte: embedding(config.vocabulary, config.width, vb.pp("wte"))?,
            wpe: embedding(size, config.width, vb.pp("wpe"))?.embeddings().clone(),
            blocks: (0..config.layers).map(block).collect::<Result<_>>()?,
            ln_f: Norm::new(config.width, vb.pp("ln_f"))?,
            lm_head: linear_no_bias(config.width, config.vocabulary, vb.pp("lm_head"))?,
            mask: Tensor::from_iter((0..size * size).map(later), &Device::Cpu)?
                .reshape((size, size))?
                .to_dtype(DType::F32)?,
        })
    }
}

impl Module for StockGpt {
    /// The logits `[batch·positions, vocabulary]` of tokens `[batch, context]`.
    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let start = self.wte.forward(tokens)?.broadcast_add(&self.wpe)?;
        let stream =
            self.blocks.iter().try_fold(start, |stream, block| block.forward(&stream, &self.mask))?;
        self.lm_head.forward(&self.ln_f.forward(&stream)?.flatten_to(1)?)
    }
}
