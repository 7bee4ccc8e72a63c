//! Whole epochs of the trainer beside a bare loop of the same steps, and what its parts take: the loader,
//! checkpoints, blocks of a batch.

use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::Optimizer;
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_kernels::AdamW;
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_train::data::{Batch, Classes, Dataset, InMemory, Standardization, Targets};
use wick_train::{Config, Length, Order, RunFolder, Trainer};

use crate::net::adamw_params;

/// The samples, images of bytes, as many and as large as Fashion-MNIST's.
const SAMPLES: usize = 60_000;
const FEATURES: usize = 784;
const BATCH: usize = 128;
/// The step that is far away.
const FAR: u64 = 1_000_000_000;
/// The steps of a run that measures checkpoints.
const CHECKPOINTS: u64 = 8;

/// The names of the jobs. Those of epochs answer with the milliseconds of an epoch.
pub(crate) const NAMES: [&str; 7] =
    ["epoch", "epoch_bare", "epoch_bare_cut", "leaves_8", "loader", "checkpoint", "far_batch"];

/// The net, the data, and the data in the order of the first epoch.
pub(crate) struct Epochs {
    mlp: Mlp,
    map: InitMap,
    data: InMemory,
    order: Order,
    ordered: Option<Batch>,
}

impl Epochs {
    pub(crate) fn new() -> Result<Self> {
        let config = MlpConfig::new(FEATURES, [512, 256, 10], Activation::Relu)
            .with_bias(true)
            .with_output_activation(Activation::Identity);
        let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
        let mlp = Mlp::new(&config, map.var_builder(DType::F32, &Device::Cpu))?;
        let bytes =
            (0..(SAMPLES * FEATURES) as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8);
        let images = Tensor::from_vec(bytes.collect::<Vec<u8>>(), (SAMPLES, FEATURES), &Device::Cpu)?;
        let labels: Vec<u8> = (0..SAMPLES).map(|sample| (sample * 7919 % 10) as u8).collect();
        let classes = Classes::new(&Tensor::from_vec(labels, SAMPLES, &Device::Cpu)?).map_err(Error::wrap)?;
        let scale = Standardization::uniform(FEATURES, 0.0, 255.0).map_err(Error::wrap)?;
        let data = InMemory::new(&images)
            .and_then(|data| data.with_targets(Targets::Classes(classes)))
            .and_then(|data| data.with_standardization(scale))
            .map_err(Error::wrap)?;
        // The trainer's own, with the seed of `Config`.
        let order = Order::new(SAMPLES, KeyedV1::new(42).key("order")).map_err(Error::wrap)?;
        Ok(Self { mlp, map, data, order, ordered: None })
    }

    /// The milliseconds of a job.
    pub(crate) fn run(&mut self, job: &str) -> Result<f64> {
        if job == "epoch_bare_cut" && self.ordered.is_none() {
            let all: Vec<usize> = self.order.epoch(0).collect();
            self.ordered = Some(self.data.batch(&all).map_err(Error::wrap)?);
        }
        let start = Instant::now();
        match job {
            "epoch" => drop(self.train(1, Length::Epochs(1), None)?),
            "leaves_8" => drop(self.train(8, Length::Epochs(1), None)?),
            "epoch_bare" => self.bare(|order, step| {
                let position = order.position(step, BATCH)?;
                self.data.epoch_batch(position.epoch, &position.indices)
            })?,
            "epoch_bare_cut" => {
                if let Some(ordered) = &self.ordered {
                    self.bare(|_, step| {
                        let first = step as usize * BATCH;
                        ordered.rows(first, BATCH.min(SAMPLES - first))
                    })?;
                }
            }
            "loader" => {
                for step in 0..self.steps()? {
                    self.load(step)?;
                }
            }
            "far_batch" => self.load(FAR)?,
            _ => return self.checkpoint(),
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn steps(&self) -> Result<u64> {
        self.order.steps_per_epoch(BATCH).map_err(Error::wrap)
    }

    fn load(&self, step: u64) -> Result<()> {
        let position = self.order.position(step, BATCH).map_err(Error::wrap)?;
        self.data.epoch_batch(position.epoch, &position.indices).map(drop).map_err(Error::wrap)
    }

    fn gradients(&self, xs: &Tensor, classes: &Tensor) -> Result<(Tensor, GradStore)> {
        let tape = self.mlp.tape(xs, |_| None)?;
        let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), classes)?;
        Ok((loss, tape.backward_from(&gradient)?))
    }

    /// An epoch as a loop without the trainer.
    fn bare(
        &self,
        batch: impl Fn(&Order, u64) -> std::result::Result<Batch, wick_train::Error>,
    ) -> Result<()> {
        let mut adamw = AdamW::new(self.map.vars(), adamw_params())?;
        for step in 0..self.steps()? {
            let Batch { input, targets, .. } = batch(&self.order, step).map_err(Error::wrap)?;
            let targets = targets.ok_or_else(|| Error::Msg("the data have targets".to_owned()))?;
            adamw.step(&self.gradients(&input, &targets)?.1)?;
        }
        Ok(())
    }

    /// A run of the trainer; the milliseconds of its steps.
    fn train(&self, leaves: usize, length: Length, run: Option<(RunFolder, u64)>) -> Result<f64> {
        let optimizer = "adamw:lr=1e-9".parse().map_err(Error::wrap)?;
        let config = Config { batch: BATCH, length, leaves, optimizer, ..Config::default() };
        let mut trainer = Trainer::new(&self.map, config).map_err(Error::wrap)?;
        if let Some((folder, every)) = run {
            trainer = trainer.with_run(folder, every);
        }
        let outcome = trainer.fit_gradients(&self.data, |step| self.gradients(step.input(), step.targets()?));
        Ok(outcome.map_err(Error::wrap)?.seconds * 1e3)
    }

    /// The milliseconds of a checkpoint: a run that writes one after each step, less one that writes the last alone.
    fn checkpoint(&self) -> Result<f64> {
        let path = std::env::temp_dir().join(format!("wick-checkpoints-{}", std::process::id()));
        let run = |every| {
            let folder = RunFolder::open(&path).map_err(Error::wrap)?;
            let spent = self.train(1, Length::Steps(CHECKPOINTS), Some((folder, every)));
            std::fs::remove_dir_all(&path)?;
            spent
        };
        Ok((run(1)? - run(u64::MAX)?) / (CHECKPOINTS - 1) as f64)
    }
}
