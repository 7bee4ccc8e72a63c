//! Whole training steps of a classifier, as a first net is: a batch taken from the data, ReLU layers with
//! biases, cross entropy with classes, AdamW.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, Module, Optimizer};
use wick_init::{InitMap, Initializer};
use wick_kernels::AdamW;
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};

use crate::net::{adamw_params, normal};

/// The number of samples that batches are taken from.
const SAMPLES: usize = 4096;

/// The jobs: a name, the features, the widths, the samples of a batch, and the steps that are timed together,
/// so that a step finds the caches and the threads as the step before left them.
const STEPS: [(&str, usize, [usize; 3], usize, usize); 4] = [
    ("step_32", 784, [512, 256, 10], 32, 20),
    ("step_128", 784, [512, 256, 10], 128, 10),
    ("step_512", 784, [512, 256, 10], 512, 5),
    ("step_small", 64, [32, 32, 10], 32, 200),
];

/// The names of the jobs; candle's begin with `candle_`.
pub(crate) fn names() -> impl Iterator<Item = String> {
    STEPS.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("candle_{name}")])
}

/// The net of a job, its twin of candle's own layers, and the data.
pub(crate) struct Steps {
    name: &'static str,
    mlp: Mlp,
    adamw: AdamW,
    stock: Vec<Linear>,
    candle_adamw: candle_nn::AdamW,
    xs: Tensor,
    classes: Tensor,
    batch: usize,
    count: usize,
    done: usize,
}

impl Steps {
    /// The job of this name, with or without `candle_`; `None` if there is none.
    pub(crate) fn named(job: &str) -> Result<Option<Self>> {
        let job = job.strip_prefix("candle_").unwrap_or(job);
        let Some(&(name, features, widths, batch, count)) = STEPS.iter().find(|(name, ..)| *name == job)
        else {
            return Ok(None);
        };
        let config = MlpConfig::new(features, widths, Activation::Relu).with_bias(true);
        let net = || {
            let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
            Ok::<_, candle_core::Error>((Mlp::new(&config, map.var_builder(DType::F32, &Device::Cpu))?, map))
        };
        let ((mlp, map), (twin, twin_map)) = (net()?, net()?);
        let classes = (0..SAMPLES as u32).map(|sample| sample * 7919 % 10).collect();
        Ok(Some(Self {
            name,
            adamw: AdamW::new(map.vars(), adamw_params())?,
            mlp,
            stock: twin.layers().cloned().collect(),
            candle_adamw: candle_nn::AdamW::new(twin_map.vars(), adamw_params())?,
            xs: normal("samples", (SAMPLES, features), &Device::Cpu)?,
            classes: Tensor::from_vec(classes, SAMPLES, &Device::Cpu)?,
            batch,
            count,
            done: 0,
        }))
    }

    pub(crate) fn is(&self, job: &str) -> bool {
        job.strip_prefix("candle_").unwrap_or(job) == self.name
    }

    /// The number of steps that [`run`](Self::run) takes.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Takes the steps, by candle's own ops if the job's name begins with `candle_`.
    pub(crate) fn run(&mut self, job: &str) -> Result<()> {
        for _ in 0..self.count {
            let first = self.done * self.batch % (SAMPLES - self.batch + 1);
            self.done += 1;
            let (xs, classes) =
                (self.xs.narrow(0, first, self.batch)?, self.classes.narrow(0, first, self.batch)?);
            if job.starts_with("candle_") {
                self.candle_step(&xs, &classes)?;
            } else {
                self.step(&xs, &classes)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, xs: &Tensor, classes: &Tensor) -> Result<()> {
        let tape = self.mlp.tape(xs, |_| None)?;
        let loss = Loss::CrossEntropy.forward(tape.output(), classes)?;
        self.adamw.step(&tape.backward(&loss)?)
    }

    fn candle_step(&mut self, xs: &Tensor, classes: &Tensor) -> Result<()> {
        let last = self.stock.len() - 1;
        let hidden = self.stock[..last].iter().try_fold(xs.clone(), |h, layer| layer.forward(&h)?.relu())?;
        let loss = candle_nn::loss::cross_entropy(&self.stock[last].forward(&hidden)?, classes)?;
        self.candle_adamw.backward_step(&loss)
    }
}
