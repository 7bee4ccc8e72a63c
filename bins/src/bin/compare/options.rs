//! The options of compare.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser};
use wick_bins::args::{Common, Layers};
use wick_bins::data::TrainingDataOptions;
use wick_bins::values::{number, whole, within};
use wick_model::Activation;
use wick_train::OptimizerSpec;
use wick_train::compare::Part;
use wick_train::data::Synthetic;

use crate::net::Norm;
use crate::start::Start;

/// The most steps of a run: beyond it, one run of the smallest net takes hours.
pub(crate) const MOST_STEPS: u64 = 100_000_000;

/// The most learning rates, runs that tune each, and compared runs of a start.
pub(crate) const MOST_RATES: u16 = 25;
pub(crate) const MOST_TUNING_RUNS: u16 = 100;
pub(crate) const MOST_RUNS: u16 = 1000;

/// Trains nets from several starts, each at its own best learning rate and with fresh seeds, and says which starts reach
/// a threshold sooner, which generalize better, which differences are real, and whether theory said so before.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) data: TrainingDataOptions,
    /// A task whose samples are drawn in place of --data: teacher, linear or mnist1d, `name` or `name:key=value,…` (an
    /// unknown key lists those that there are)
    #[arg(long, value_name = "SPEC", help_heading = "Data",
        conflicts_with_all = ["data", "label", "labels", "test", "test_labels", "task", "missing", "header", "delimiter", "decimal_comma", "drop"])]
    pub(crate) synthetic: Option<Synthetic>,
    #[command(flatten)]
    pub(crate) net: NetOptions,
    #[command(flatten)]
    pub(crate) training: TrainingOptions,
    #[command(flatten)]
    pub(crate) comparison: ComparisonOptions,
    #[command(flatten)]
    pub(crate) split: SplitOptions,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// The nets and their starts.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Nets")]
pub(crate) struct NetOptions {
    /// The hidden layers of each net, units x layers: 64x3,64x30 compares the starts in nets of 3 and of 30 layers;
    /// 64-32-16 has layers of different widths
    #[arg(long, value_name = "NxN|N-N-…,…", value_delimiter = ',', default_value = "64x3")]
    pub(crate) nets: Vec<Hidden>,
    /// The activation of the hidden layers (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "tanh")]
    pub(crate) activation: Activation,
    /// Layers without biases; else biases start at 0, or as a preset has it
    #[arg(long)]
    pub(crate) no_bias: bool,
    /// The standard deviation of the biases, N(0, X²), where the start is an initializer
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number, allow_hyphen_values = true,
        conflicts_with = "no_bias")]
    pub(crate) bias_std: f64,
    /// What stands between a hidden layer and its activation. With batch norm a hidden layer has no bias of its own
    #[arg(
        long,
        value_name = "NORM",
        default_value = "none",
        ignore_case = true,
        conflicts_with = "bias_std"
    )]
    pub(crate) norm: Norm,
    /// A start of the weights: an initializer, `name` or `name:key=value,…`, or preset:NAME (an unknown name lists
    /// those that there are); repeat it for each start [default: normal:std=0.01 and normal:std=1 and xavier_normal]
    #[arg(long, value_name = "SPEC", hide_default_value = true,
        default_values = ["normal:std=0.01", "normal:std=1", "xavier_normal"])]
    pub(crate) start: Vec<Start>,
}

/// How the nets are trained.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingOptions {
    /// The optimizer, `name` or `name:key=value,…`: adamw, sgd, lion, muon or schedule_free; its lr is the middle of the
    /// learning rates
    #[arg(long, value_name = "SPEC", default_value = "adamw:lr=0.01")]
    pub(crate) optimizer: OptimizerSpec,
    /// The learning rate's factor at each step, `name` or `name:key=value,…`: constant, linear, cosine, wsd, one_cycle or
    /// step; steps= is the whole run where it is not given
    #[arg(long, value_name = "SPEC", default_value = "constant")]
    pub(crate) schedule: String,
    /// Samples of a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole::<usize>)]
    pub(crate) batch: usize,
    /// Steps of each run, its budget
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = whole::<u64>)]
    pub(crate) steps: u64,
    /// Steps between validations, at which the threshold is looked for [default: 10, or the steps of a run if they are
    /// fewer; without a validation the threshold is looked for at the ends of epochs, and this cannot be given]
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    pub(crate) every: Option<u64>,
}

/// What is compared.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Comparison")]
pub(crate) struct ComparisonOptions {
    /// The accuracy, or R², of the validation that is to be reached
    #[arg(long, value_name = "SCORE", default_value_t = 0.9, value_parser = number, conflicts_with = "loss_threshold")]
    pub(crate) threshold: f64,
    /// The training loss that is to be reached instead, the mean of the steps since the validation before, or with
    /// --validation 0 of the epoch
    #[arg(long, value_name = "LOSS", value_parser = number)]
    pub(crate) loss_threshold: Option<f64>,
    /// End a run where it reaches the threshold; figures at the end are then not compared
    #[arg(long)]
    pub(crate) stop_at_threshold: bool,
    /// Learning rates that are tried for each start of each net, √10 apart; 1 takes the optimizer's lr. The rate is chosen
    /// for the threshold, and test scores are at that rate
    #[arg(long, value_name = "N", default_value = "5", value_parser = within(1, MOST_RATES))]
    pub(crate) rates: u16,
    /// Runs of each start at each learning rate, by which the rate is chosen; differences are given these rates
    #[arg(long, value_name = "N", default_value = "2", value_parser = within(1, MOST_TUNING_RUNS))]
    pub(crate) tuning_seeds: u16,
    /// Tune the rate anew for each compared run, with seeds of its own (nested tuning). Two copies of one start are then
    /// called different with the probability --alpha at most; it takes --seeds times as many tuning runs
    #[arg(long)]
    pub(crate) nested: bool,
    /// Runs of each start at its rate that are compared, with other seeds
    #[arg(long, value_name = "N", default_value = "10", value_parser = within(1, MOST_RUNS))]
    pub(crate) seeds: u16,
    /// The level of the tests and, of intervals, the nominal probability outside (of 6 to 10 runs, intervals of 95 % hold
    /// 86 to 90 %)
    #[arg(long, value_name = "ALPHA", default_value_t = 0.05, value_parser = number)]
    pub(crate) alpha: f64,
}

/// How the runs are kept, split and joined.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Runs")]
pub(crate) struct SplitOptions {
    /// A file to which each finished run is added; the same command goes on from it after a kill [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) runs: Option<PathBuf>,
    /// Compute part K of N; its runs are those of the whole. A part has whole starts of nets, or with --rates 1 or --nested runs
    #[arg(long, value_name = "K/N", value_parser = shard, conflicts_with = "merge")]
    pub(crate) shard: Option<Part>,
    /// Join the JSON of all parts instead of training. Only --alpha, --format, --out and --no-pictures can be given with
    /// it
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = [
        "data", "label", "labels", "test", "test_labels", "validation", "task", "missing", "header", "delimiter",
        "decimal_comma", "drop", "synthetic", "nets", "activation", "no_bias", "bias_std", "norm", "start", "optimizer", "schedule",
        "batch", "steps", "every", "threshold", "loss_threshold", "stop_at_threshold", "rates", "tuning_seeds",
        "nested", "seeds", "runs", "device", "seed", "dtype"])]
    pub(crate) merge: Vec<PathBuf>,
}

/// The hidden layers of a net: `64x3`, or `64-32-16`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// The units of each layer.
    pub(crate) widths: Vec<usize>,
    /// The text as the user wrote it.
    pub(crate) text: String,
}

impl FromStr for Hidden {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// A net of more layers than this is no net that anyone trains.
        const MOST: usize = 10_000;
        let parts: Vec<Layers> = text
            .split('-')
            .map(|part| {
                part.parse::<Layers>().map_err(|_| "write UNITSxLAYERS as 64x3, or UNITS-UNITS as 64-32")
            })
            .collect::<Result<_, _>>()?;
        let layers = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.count));
        if layers > MOST {
            return Err(format!("a net of {layers} layers; take {MOST} at most"));
        }
        if parts.iter().any(|part| part.width == 0 || part.count == 0) {
            return Err("a size is zero: a net is 1x1 or more".to_owned());
        }
        let widths = parts.iter().flat_map(|part| std::iter::repeat_n(part.width, part.count)).collect();
        Ok(Self { widths, text: text.to_owned() })
    }
}

/// `3/8` is the third of eight parts.
fn shard(text: &str) -> Result<Part, String> {
    let number = |text: &str| usize::from_str(text.trim()).ok();
    let parts = text.split_once('/').and_then(|(k, n)| Some((number(k)?, number(n)?)));
    match parts {
        Some((k, of)) if (1..=of).contains(&k) => Ok(Part { index: k - 1, of }),
        _ => Err("not K/N with 1 ≤ K ≤ N".into()),
    }
}

const EXAMPLE: &str = "\
Examples:
  compare
  compare --activation relu --nets 100x3,100x30 --start xavier_normal --start kaiming_normal --start preset:torch
  compare --data table.csv --label species --steps 1000 --runs out/runs.jsonl
  compare --synthetic linear --activation identity --no-bias --nets 64x4,64x64 --loss-threshold 0.01 --optimizer sgd
  compare --nets 64x3,64x10 --shard 1/6 --format json --no-pictures > part-1.json
  compare --merge part-*.json";
