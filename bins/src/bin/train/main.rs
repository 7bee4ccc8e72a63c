//! Trains a multilayer perceptron, from one start or from several on the same batches.

mod context;
mod options;
mod picture;
mod replay;
mod report;
mod start;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use wick_bins::allocator::Allocator;
use wick_bins::args::{Float, Spec, Target};
use wick_bins::cli::{self, Stopped, usage};
use wick_bins::names::shown;
use wick_bins::warning::warn;
use wick_bins::{memory, output};
use wick_kernels::LossScale;
use wick_model::{Activation, MlpConfig};
use wick_theory::write_number;
use wick_train::data::{Dataset, Prepared};
use wick_train::{Config, Length, Schedule};

use options::{Args, RunOptions, TrainingOptions};
use report::{Experiment, RunEnded, Train};
use start::Start;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(train)
}

fn train(args: Args) -> Result<()> {
    check_options(&args)?;
    let target = args.common.target(Float::F32)?;
    let data = args.data.load(args.common.seed, &target)?;
    let config = config(&args.training, args.common.seed, data.training.len())?;
    let net = net(&args, &data)?;
    check_memory(&args, &net, &target)?;
    args.common.check_out()?;

    let context = context::Context { args: &args, data: &data, config: &config, net: &net, target: &target };
    let starts = starts(&args);
    if let Some(step) = args.run.replay {
        let [start] = &starts[..] else {
            return Err(usage("--replay runs a step of one net again: name one --init"));
        };
        let report = start.replay(&context, step)?;
        return output::print(&report, args.common.format);
    }
    for start in &starts {
        start.check_folder(&args.run)?;
    }
    let mut runs = Vec::new();
    for start in &starts {
        if starts.len() > 1 {
            eprintln!("{}", start.name);
        }
        let run = start.train(&context);
        // Of one start, its name is no news.
        let run = if starts.len() > 1 { run.with_context(|| start.name.clone())? } else { run? };
        if let RunEnded::Stopped(signal) = run.ended {
            return Err(Stopped { signal, text: stopped(&args.run, run.steps) }.into());
        }
        runs.push(run);
    }
    let report = Train { experiment: Experiment::new(&context), runs };
    args.common.finish("train", &report, || picture::render(&report))
}

/// What is said of a run that a signal stopped.
fn stopped(run: &RunOptions, steps: u64) -> String {
    match &run.run {
        Some(_) => format!("stopped after step {steps}: the same options with --resume go on from there"),
        None => format!("stopped after step {steps}: nothing is kept without --run"),
    }
}

/// Refuses what has no effect, or two meanings.
fn check_options(args: &Args) -> Result<()> {
    let mut texts = BTreeSet::new();
    if let Some(twice) = args.net.init.iter().find(|spec| !texts.insert(&spec.text)) {
        return Err(usage(format!("--init {} is given twice", shown(&twice.text))));
    }
    let mut folders = BTreeSet::new();
    if let Some(twin) = args.net.init.iter().find(|spec| !folders.insert(file_name(&spec.text))) {
        return Err(usage(format!(
            "--init {} would have the folder of another one, '{}': write one of them in another way",
            shown(&twin.text),
            file_name(&twin.text).display()
        )));
    }
    if args.net.widths.iter().any(|layers| layers.width == 0 || layers.count == 0) {
        return Err(usage("a size is zero: --widths are 1 or more"));
    }
    let given = [
        ("--batch", args.training.batch as u64),
        ("--epochs", args.training.epochs),
        ("--every", args.run.every),
        ("--accumulate", args.training.accumulate.unwrap_or(1) as u64),
        ("--leaves", args.training.leaves.unwrap_or(1) as u64),
        ("--patience", args.training.patience.unwrap_or(1)),
        ("--validate-every", args.training.validate_every.unwrap_or(1)),
        ("--probe-every", args.run.probe_every.unwrap_or(1)),
    ];
    if let Some((option, _)) = given.iter().find(|(_, value)| *value == 0) {
        return Err(usage(format!("{option} is 0, and must be 1 or more")));
    }
    if let Some(ema) = args.training.ema.filter(|ema| !(0.0..1.0).contains(ema)) {
        return Err(usage(format!("--ema is {}, and must be 0 or more and below 1", write_number(ema))));
    }
    let of_validation = [
        (args.training.patience.is_some(), "--patience"),
        (args.training.validate_every.is_some(), "--validate-every"),
    ];
    let useless = of_validation.into_iter().find(|(is_given, _)| *is_given && args.data.validation == 0.0);
    if let Some((_, option)) = useless {
        return Err(usage(format!("{option} is about a validation, and --validation is 0: leave it out")));
    }
    if !args.training.threshold.is_finite() {
        return Err(usage(format!("--threshold is {}, and must be finite", args.training.threshold)));
    }
    Ok(())
}

/// The settings of the runs.
fn config(training: &TrainingOptions, seed: u64, samples: usize) -> Result<Config> {
    let accumulate = training.accumulate.unwrap_or(1);
    if training.leaves.is_none() && !accumulate.is_power_of_two() {
        return Err(usage(format!("--accumulate is {accumulate}, and must be a power of two: 2, 4, 8, …")));
    }
    let batch = training.batch;
    if batch > samples {
        return Err(usage(format!(
            "--batch is {batch}, and there are {samples} samples to train on: take fewer"
        )));
    }
    let steps = (samples.div_ceil(batch) as u64).saturating_mul(training.epochs);
    let schedule = Schedule::for_run(&training.schedule, steps).map_err(|error| usage(error.to_string()))?;
    if let Some(end) = schedule.steps().filter(|end| *end < steps) {
        warn(&format!(
            "the schedule ends at step {end} of {steps}: the rate stays at its last factor from there"
        ));
    }
    let config = Config {
        seed,
        batch,
        length: Length::Epochs(training.epochs),
        optimizer: training.optimizer.clone(),
        schedule,
        clip: training.clip,
        ema: training.ema,
        leaves: training.leaves.unwrap_or(accumulate),
        micro_batches: accumulate,
        loss_scale: None::<LossScale>,
        ..Config::default()
    };
    config.check().map_err(|error| usage(error.to_string()))?;
    Ok(config)
}

/// The net: its hidden layers, and the outputs that the data ask for.
fn net(args: &Args, data: &Prepared) -> Result<MlpConfig> {
    /// A net of more layers than this is no net that anyone trains.
    const MOST_LAYERS: usize = 10_000;
    let hidden = args.net.widths.iter().fold(0usize, |sum, layers| sum.saturating_add(layers.count));
    if hidden > MOST_LAYERS {
        return Err(usage(format!("--widths names {hidden} layers; name {MOST_LAYERS} at most")));
    }
    let widths = args.net.widths.iter().flat_map(|layers| std::iter::repeat_n(layers.width, layers.count));
    let widths: Vec<usize> = widths.chain([data.preparation.outputs()]).collect();
    let config = MlpConfig::new(data.preparation.features(), widths, args.net.activation);
    Ok(config.with_bias(true).with_output_activation(Activation::Identity))
}

/// Refuses sizes that exceed the memory: weights, gradients and the optimizer's state, and the signals of a batch.
fn check_memory(args: &Args, net: &MlpConfig, target: &Target) -> Result<()> {
    let weights: f64 = net.layers().map(|(inputs, outputs)| inputs as f64 * outputs as f64).sum();
    let units: f64 = net.widths.iter().map(|width| *width as f64).sum();
    let numbers = 6.0 * weights + args.training.batch as f64 * (net.features as f64 + 4.0 * units);
    let remedy = "ask for smaller --widths or a smaller --batch";
    if target.device.is_cpu() {
        memory::check(numbers, target.dtype.size_in_bytes().max(4), remedy)
    } else {
        target.check_memory(numbers, remedy)
    }
}

/// The starts, each with its folder.
fn starts(args: &Args) -> Vec<Start> {
    let folder = args.run.run.as_deref();
    if let Some(weights) = &args.net.weights {
        let name = shown(&weights.to_string_lossy());
        return vec![Start { name, init: None, folder: folder.map(Path::to_owned) }];
    }
    let several = args.net.init.len() > 1;
    let start = |spec: &Spec| {
        let folder =
            folder.map(|folder| if several { folder.join(file_name(&spec.text)) } else { folder.to_owned() });
        Start { name: spec.text.clone(), init: Some(spec.initializer.clone()), folder }
    };
    args.net.init.iter().map(start).collect()
}

/// A SPEC as the name of a folder.
fn file_name(spec: &str) -> PathBuf {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._=-+".contains(c);
    spec.chars().map(|c| if is_plain(c) { c } else { '_' }).collect::<String>().into()
}
