//! What the jobs on the CPU and on a GPU share: the net of layer-stats and its batch.

use std::time::Instant;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::ParamsAdamW;
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_model::{Activation, Mlp, MlpConfig};

/// The number of samples in the batch.
pub(crate) const SAMPLES: usize = 2000;
const FEATURES: usize = 800;
const WIDTHS: [usize; 10] = [750, 700, 650, 600, 550, 500, 450, 400, 350, 300];

/// Ten tanh layers of 750, 700, … 300 without biases, in `f32`, and what goes through them.
pub(crate) struct Net {
    pub(crate) mlp: Mlp,
    pub(crate) map: InitMap,
    pub(crate) input: Tensor,
    /// The gradient of the output.
    pub(crate) cotangent: Tensor,
}

impl Net {
    pub(crate) fn new(samples: usize, device: &Device) -> Result<Self> {
        let (mlp, map) = mlp(&MlpConfig::new(FEATURES, WIDTHS, Activation::Tanh), device)?;
        Ok(Self {
            mlp,
            map,
            input: normal("input", (samples, FEATURES), device)?,
            cotangent: normal("cotangent", (samples, WIDTHS[WIDTHS.len() - 1]), device)?,
        })
    }
}

/// A net with weights by `xavier_normal`, and their map.
pub(crate) fn mlp(config: &MlpConfig, device: &Device) -> Result<(Mlp, InitMap)> {
    let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    Ok((Mlp::new(config, map.var_builder(DType::F32, device))?, map))
}

/// A tensor of numbers from N(0, 1).
pub(crate) fn normal(name: &str, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    Ok(Initializer::normal(1.0).tensor(KeyedV1::new(42).key(name), shape, DType::F32, device)?)
}

/// AdamW with a learning rate so small that the net does not change.
pub(crate) fn adamw_params() -> ParamsAdamW {
    ParamsAdamW { lr: 1e-9, ..ParamsAdamW::default() }
}

/// The milliseconds that a job takes.
pub(crate) fn milliseconds(job: impl FnOnce() -> Result<()>) -> Result<String> {
    let start = Instant::now();
    job()?;
    Ok((start.elapsed().as_secs_f64() * 1e3).to_string())
}
