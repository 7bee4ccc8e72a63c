//! Attention, and training steps of a small GPT.

use std::time::Instant;

use candle_core::{DType, Device, Module, Result, Tensor, Var, bail};
use candle_nn::Optimizer;
use candle_nn::attention::AttnMask;
use wick_init::{InitMap, presets};
use wick_kernels::{AdamW, attention, dot};
use wick_model::loss::Loss;

use crate::gpt::{Gpt, GptConfig};
use crate::net::{adamw_params, normal};
use crate::stock_gpt::StockGpt;

/// The names of the jobs.
pub(crate) const NAMES: [&str; 9] = [
    "attention_forward",
    "attention_causal_forward",
    "attention_training",
    "attention_causal_training",
    "candle_attention_forward",
    "candle_attention_training",
    "gpt_step",
    "gpt_forward",
    "candle_gpt_step",
];

/// Batch, heads, positions and width.
const SHAPE: (usize, usize, usize, usize) = (4, 8, 512, 64);
const GPT: GptConfig = GptConfig { vocabulary: 96, context: 128, layers: 4, heads: 4, width: 128 };
const BATCH: usize = 16;

/// The operands, and the net.
pub(crate) struct Attention {
    inputs: [Var; 3],
    cotangent: Tensor,
    net: Gpt,
    adamw: AdamW,
    stock: StockGpt,
    stock_adamw: candle_nn::AdamW,
    tokens: Tensor,
    next: Tensor,
}

impl Attention {
    pub(crate) fn new() -> Result<Self> {
        let var = |name: &str| Var::from_tensor(&normal(name, SHAPE, &Device::Cpu)?);
        let map = InitMap::new(42).with_rules(presets::gpt2(GPT.layers).map_err(candle_core::Error::wrap)?);
        let net = Gpt::new(&GPT, map.var_builder(DType::F32, &Device::Cpu))?;
        let tokens = |shift: u32| {
            let all =
                (0..(BATCH * GPT.context) as u32).map(|place| (place + shift) * 7919 % GPT.vocabulary as u32);
            Tensor::from_iter(all, &Device::Cpu)?.reshape((BATCH, GPT.context))
        };
        Ok(Self {
            inputs: [var("q")?, var("k")?, var("v")?],
            cotangent: normal("attended", SHAPE, &Device::Cpu)?.transpose(1, 2)?.contiguous()?,
            net,
            adamw: AdamW::new(map.vars(), adamw_params())?,
            stock: StockGpt::new(&GPT, map.var_builder(DType::F32, &Device::Cpu))?,
            stock_adamw: candle_nn::AdamW::new(map.vars(), adamw_params())?,
            tokens: tokens(0)?,
            next: tokens(1)?.flatten_all()?,
        })
    }

    /// Runs a job, and returns its milliseconds.
    pub(crate) fn run(&mut self, job: &str) -> Result<f64> {
        let start = Instant::now();
        match job {
            "attention_forward" => drop(self.forward(&AttnMask::None, false)?),
            "attention_causal_forward" => drop(self.forward(&AttnMask::causal(), false)?),
            "attention_training" => self.training(&self.forward(&AttnMask::None, true)?)?,
            "attention_causal_training" => self.training(&self.forward(&AttnMask::causal(), true)?)?,
            "candle_attention_forward" => drop(self.stock(false)?),
            "candle_attention_training" => self.training(&self.stock(true)?)?,
            "gpt_forward" => drop(self.net.forward(&self.tokens)?),
            "gpt_step" => {
                let loss = Loss::CrossEntropy.forward(&self.net.forward(&self.tokens)?, &self.next)?;
                self.adamw.backward_step(&loss)?;
            }
            "candle_gpt_step" => {
                let logits = self.stock.forward(&self.tokens)?;
                self.stock_adamw.backward_step(&candle_nn::loss::cross_entropy(&logits, &self.next)?)?;
            }
            other => bail!("unknown job '{other}'"),
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn inputs(&self, tracked: bool) -> [Tensor; 3] {
        self.inputs
            .each_ref()
            .map(|var| if tracked { var.as_tensor().clone() } else { var.as_detached_tensor() })
    }

    fn forward(&self, mask: &AttnMask, tracked: bool) -> Result<Tensor> {
        let [q, k, v] = self.inputs(tracked);
        attention(&q, &k, &v, mask, 0.125)
    }

    /// Attention of candle's ops that have a gradient.
    fn stock(&self, tracked: bool) -> Result<Tensor> {
        let [q, k, v] = self.inputs(tracked);
        candle_nn::ops::softmax((q.matmul(&k.t()?)? * 0.125)?.as_ref(), 3)?.matmul(&v)
    }

    fn training(&self, output: &Tensor) -> Result<()> {
        dot(&output.transpose(1, 2)?, &self.cotangent)?.backward().map(drop)
    }
}
