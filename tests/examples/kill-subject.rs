//! The run that `scripts/kill-test` kills: a small net on the digits, with a folder from which it goes on.
//!
//! `kill-subject FOLDER --net mlp|cnn --every N [--steps N] [--optimizer SPEC] [--forget-order]`
//!
//! `mlp` is Wick's perceptron with its tape, `cnn` a net of candle's own layers. With `--forget-order` a run that
//! goes on sees other samples than the undisturbed run does, as if the order of the data had not been restored. The
//! first line of the output is the SIMD level.

#![allow(missing_docs)]

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Result as CandleResult, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, VarBuilder, conv2d, linear};
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_kernels::{Clip, ClipRule, SimdLevel};
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_train::data::{Batch, Classes, Dataset, InMemory, Parts, Split, Subset, Targets};
use wick_train::metrics::Metrics;
use wick_train::{Config, EarlyStopping, Error, Length, OptimizerSpec, RunFolder, Trainer};

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/digits/digits.csv");

struct Options {
    folder: String,
    net: String,
    every: u64,
    steps: u64,
    optimizer: OptimizerSpec,
    forget_order: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let folder = arguments.next().context("give the folder of the run")?;
        let (net, every, steps) = ("mlp".to_owned(), 20, 300);
        let optimizer = "adamw:lr=0.003".parse()?;
        let mut options = Self { folder, net, every, steps, optimizer, forget_order: false };
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{option} needs a value"));
            match option.as_str() {
                "--net" => options.net = value()?,
                "--every" => options.every = value()?.parse().context("--every takes a number of steps")?,
                "--steps" => options.steps = value()?.parse().context("--steps takes a number of steps")?,
                "--optimizer" => options.optimizer = value()?.parse()?,
                "--forget-order" => options.forget_order = true,
                other => bail!("there is no option {other}"),
            }
        }
        if !["mlp", "cnn"].contains(&options.net.as_str()) {
            bail!("--net is mlp or cnn, not {}", options.net);
        }
        Ok(options)
    }
}

/// A net of candle's own layers: two convolutions and a linear layer.
struct Cnn {
    convolutions: [Conv2d; 2],
    head: Linear,
}

impl Cnn {
    fn new(vb: &VarBuilder) -> CandleResult<Self> {
        let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let convolutions =
            [conv2d(1, 8, 3, config, vb.pp("conv1"))?, conv2d(8, 16, 3, config, vb.pp("conv2"))?];
        Ok(Self { convolutions, head: linear(64, 10, vb.pp("head"))? })
    }
}

impl Module for Cnn {
    fn forward(&self, images: &Tensor) -> CandleResult<Tensor> {
        let mut h = images.reshape(((), 1, 8, 8))?;
        for convolution in &self.convolutions {
            h = convolution.forward(&h)?.relu()?.max_pool2d(2)?;
        }
        self.head.forward(&h.flatten_from(1)?)
    }
}

/// Data whose samples have other numbers in training.
struct Shifted<'a>(&'a dyn Dataset, usize);

impl Dataset for Shifted<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        self.0.batch(indices)
    }

    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        let shifted: Vec<usize> = indices.iter().map(|index| (index + self.1) % self.len()).collect();
        self.0.epoch_batch(epoch, &shifted)
    }
}

/// The images, from 0 to 1, and their classes.
fn digits() -> Result<InMemory> {
    let text = std::fs::read_to_string(DIGITS).context(DIGITS)?;
    let (mut values, mut classes) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let row = line.split(',').map(str::parse).collect::<Result<Vec<f32>, _>>()?;
        let (class, pixels) = row.split_last().context("an empty line")?;
        values.extend(pixels.iter().map(|pixel| pixel / 16.0));
        classes.push(*class as u32);
    }
    let n = classes.len();
    let images = Tensor::from_vec(values, (n, 64), &Device::Cpu)?;
    let classes = Classes::new(&Tensor::from_vec(classes, n, &Device::Cpu)?)?;
    Ok(InMemory::new(&images)?.with_targets(Targets::Classes(classes))?)
}

fn train(options: Options) -> Result<()> {
    println!("{}", SimdLevel::best().name());
    let digits = digits()?;
    let split = Split::random(digits.len(), Parts::new(0.1, 0.0)?, KeyedV1::new(42).key("split"))?;
    let (train, validation) =
        (Subset::new(&digits, split.training)?, Subset::new(&digits, split.validation)?);
    let map = InitMap::new(7).with_default_init(Initializer::kaiming_normal());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let config = Config {
        batch: 32,
        length: Length::Steps(options.steps),
        optimizer: options.optimizer,
        schedule: format!("cosine:steps={},warmup=10", options.steps).parse()?,
        clip: Some(Clip { norm: 1.0, rule: ClipRule::Torch }),
        ema: Some(0.95),
        ..Config::default()
    };
    let folder = RunFolder::open(&options.folder)?;
    let shift = usize::from(options.forget_order && !folder.checkpoints()?.is_empty());
    let data = Shifted(&train, shift);
    let outcome = if options.net == "mlp" {
        let config_of_net = MlpConfig::new(64, [48, 32, 10], Activation::Relu).with_bias(true);
        let mlp = Mlp::new(&config_of_net.with_output_activation(Activation::Identity), vb)?;
        let outputs = |batch: &Batch| mlp.forward(&batch.input);
        Trainer::new(&map, config)?
            .with_run(folder, options.every)
            .with_validation(
                &validation,
                Metrics::Classification,
                Some(50),
                EarlyStopping::default(),
                outputs,
            )
            .fit_gradients(&data, |step| {
                let tape = mlp.tape(step.input(), |_| None)?;
                let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), step.targets()?)?;
                Ok((loss, tape.backward_from(&gradient)?))
            })?
    } else {
        let cnn = Cnn::new(&vb)?;
        let outputs = |batch: &Batch| cnn.forward(&batch.input);
        Trainer::new(&map, config)?
            .with_run(folder, options.every)
            .with_validation(
                &validation,
                Metrics::Classification,
                Some(50),
                EarlyStopping::default(),
                outputs,
            )
            .fit(&data, |step| candle_nn::loss::cross_entropy(&cnn.forward(step.input())?, step.targets()?))?
    };
    outcome.notices.iter().for_each(|notice| eprintln!("{notice}"));
    println!("{} steps, {} of them here, loss {:?}", outcome.steps, outcome.steps_here, outcome.loss);
    Ok(())
}

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    match train(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}
