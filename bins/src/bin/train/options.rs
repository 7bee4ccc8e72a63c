//! The options of train.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, ValueEnum};
use wick_bins::args::{Common, Layers, Spec};
use wick_bins::data::TrainingDataOptions;
use wick_bins::values::{number, whole};
use wick_kernels::{Clip, ClipRule};
use wick_model::Activation;
use wick_theory::read_number;
use wick_train::{Monitor, OptimizerSpec};

/// Trains a multilayer perceptron on data from a file, and tests it on samples that it has not seen. With several
/// --init it trains a net from each start on the same batches, and shows which of them converge, and how soon.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) data: TrainingDataOptions,
    #[command(flatten)]
    pub(crate) net: NetOptions,
    #[command(flatten)]
    pub(crate) training: TrainingOptions,
    #[command(flatten)]
    pub(crate) run: RunOptions,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// The net and its start.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Net")]
pub(crate) struct NetOptions {
    /// Units of each hidden layer; 128x30 for thirty layers of 128. The outputs follow from the data
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "256")]
    pub(crate) widths: Vec<Layers>,
    /// The activation of the hidden layers (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "relu")]
    pub(crate) activation: Activation,
    /// The initializer of the weights, `name` or `name:key=value,…` (an unknown name lists them); repeat it to
    /// compare starts. Biases start at 0
    #[arg(long, value_name = "SPEC", default_value = "xavier_normal")]
    pub(crate) init: Vec<Spec>,
    /// Weights to start from instead: a safetensors file with layer_0.weight, layer_0.bias and so on, or a checkpoint
    /// of a run [default: none]
    #[arg(long, value_name = "FILE", conflicts_with = "init")]
    pub(crate) weights: Option<PathBuf>,
}

/// How the net is trained.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingOptions {
    /// The optimizer, `name` or `name:key=value,…`: adamw, sgd, lion, muon or schedule_free (an unknown key lists
    /// those that there are)
    #[arg(long, value_name = "SPEC", default_value = "adamw:lr=0.002")]
    pub(crate) optimizer: OptimizerSpec,
    /// The learning rate's factor at each step, `name` or `name:key=value,…`: constant, linear, cosine, wsd,
    /// one_cycle or step; steps= is the whole run where it is not given
    #[arg(long, value_name = "SPEC", default_value = "linear")]
    pub(crate) schedule: String,
    /// Samples of a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole::<usize>)]
    pub(crate) batch: usize,
    /// Times that each sample is seen
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = whole::<u64>)]
    pub(crate) epochs: u64,
    /// Scale the gradients down to this common norm; NORM:optax for optax's rule in place of PyTorch's [default:
    /// no clipping]
    #[arg(long, value_name = "NORM", value_parser = clip)]
    pub(crate) clip: Option<Clip>,
    /// Keep an exponential moving average of the weights with this decay, below 1, as 0.999 [default: none]
    #[arg(long, value_name = "DECAY", value_parser = number)]
    pub(crate) ema: Option<f64>,
    /// Compute the gradient of a step in this many parts, one after another, which takes less memory and changes no
    /// bit for the same --leaves [default: 1]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(crate) accumulate: Option<usize>,
    /// Blocks of a batch, a power of two, over whose gradients a fixed tree sums [default: as --accumulate]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(crate) leaves: Option<usize>,
    /// Stop after this many validations without a better one [default: never]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(crate) patience: Option<u64>,
    /// The number by which validations are compared
    #[arg(long, value_name = "WHAT", default_value = "loss", ignore_case = true)]
    pub(crate) monitor: MonitorChoice,
    /// Steps between validations [default: an epoch]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(crate) validate_every: Option<u64>,
    /// The accuracy, or R², whose first step is told
    #[arg(long, value_name = "SCORE", default_value_t = 0.9, value_parser = number)]
    pub(crate) threshold: f64,
}

/// What is written of the run, and how it goes on.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunOptions {
    /// The folder for the log, the checkpoints and the weights; with several --init, a folder in it for each
    /// [default: nothing is written]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Steps between checkpoints
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = whole::<u64>)]
    pub(crate) every: u64,
    /// Go on from the newest checkpoint in --run, with the options that the run began with
    #[arg(long, requires = "run")]
    pub(crate) resume: bool,
    /// Run this step of the run in --run again, to the bit, and show what its layers did and the samples that it saw
    /// [default: none]
    #[arg(long, value_name = "STEP", requires = "run", conflicts_with = "resume", value_parser = whole::<u64>)]
    pub(crate) replay: Option<u64>,
    /// Record the layers at each N-th step, and say what is wrong with them [default: never]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(crate) probe_every: Option<u64>,
}

/// The number by which validations are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MonitorChoice {
    /// The loss: less is better
    Loss,
    /// The accuracy, or R²: more is better
    Score,
}

impl From<MonitorChoice> for Monitor {
    fn from(choice: MonitorChoice) -> Self {
        match choice {
            MonitorChoice::Loss => Self::Loss,
            MonitorChoice::Score => Self::Score,
        }
    }
}

fn clip(text: &str) -> Result<Clip, String> {
    let (norm, rule) = text.split_once(':').map_or((text, "torch"), |(norm, rule)| (norm, rule));
    // candle appends a backtrace to its errors.
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let rule = rule.parse::<ClipRule>().map_err(|error| first_line(error.to_string()))?;
    match read_number(norm) {
        Some(norm) if norm > 0.0 && norm.is_finite() => Ok(Clip { norm, rule }),
        _ => Err("write a number above 0, as 1 or 0.5:optax".to_owned()),
    }
}

const EXAMPLE: &str = "\
Examples:
  train
  train --data fashion-mnist --widths 256,128,100 --epochs 10 --run runs/fashion
  train --run runs/fashion --data fashion-mnist --widths 256,128,100 --epochs 10 --resume
  train --data iris.csv --label species --test 0.3 --widths 16,16 --format json
  train --data train.npy --labels train-labels.npy --test test.npy --test-labels test-labels.npy
  train --widths 100x10 --activation tanh --init normal:std=0.01 --init normal:std=1 --init xavier_normal
  train --optimizer sgd:lr=0.1,nesterov=true --schedule cosine:warmup=100 --clip 1 --ema 0.999";
