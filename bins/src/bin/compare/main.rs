//! Which start wins: nets trained from several starts, judged by what becomes of the training.

mod analysis;
mod experiment;
mod merge;
mod net;
mod options;
mod picture;
mod predict;
mod report;
mod start;
mod task;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use wick_bins::allocator::Allocator;
use wick_bins::args::{Float, Target};
use wick_bins::cli::{self, usage};
use wick_bins::device::DeviceChoice;
use wick_bins::names::shown;
use wick_bins::threads::with_stack;
use wick_bins::{memory, progress};
use wick_theory::write_number;
use wick_train::Config;
use wick_train::compare::{Course, Part, Race, Record, RecordFile, Stage, Threshold, Trial, run};

use experiment::{Experiment, config, rates};
use net::{Net, Norm};
use options::{Args, MOST_STEPS};
use predict::Prediction;
use report::Compare;
use task::Samples;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(compare)
}

fn compare(args: Args) -> Result<()> {
    check_options(&args)?;
    let (experiment, predictions, records) = if args.split.merge.is_empty() {
        trained(&args)?
    } else {
        args.common.check_out()?;
        merge::merge(&args.split.merge)?
    };
    let report = Compare::new(experiment, predictions, records, args.comparison.alpha);
    args.common.finish("compare", &report, || picture::render(&report))
}

/// Trains the nets of this part.
fn trained(args: &Args) -> Result<(Experiment, Vec<Prediction>, Vec<Record>)> {
    rates(args)?;
    let target = target(args)?;
    let config = config(args)?;
    let samples = Samples::load(args, &target)?;
    let experiment = Experiment::new(args, &samples, &target)?;
    check_samples(args, &experiment)?;
    check_memory(&experiment, &target)?;
    args.common.check_out()?;
    let design = &experiment.design;
    let part = args.split.shard.unwrap_or(Part::WHOLE);
    if part.of > design.units() {
        return Err(usage(format!(
            "--shard is of {} parts, and there are {} to give away: starts of nets, or with --rates 1 or --nested runs",
            part.of,
            design.units()
        )));
    }
    let (file, known) = match &args.split.runs {
        Some(path) => {
            let (file, known) = RecordFile::open(path, &serde_json::to_string(&experiment)?)?;
            (Some(file), known)
        }
        None => (None, Vec::new()),
    };
    let mut file = file;
    let of_net = |[net, start]: [usize; 2]| {
        let first = Trial { net, start, stage: Stage::Final, rate: 0, run: 0 };
        let start = &args.net.start[start];
        let predict =
            || Prediction::new((&experiment, start, net), design.seed_of(&first), &samples, &target);
        with_stack(experiment.widths[net].len(), predict)
            .flatten()
            .with_context(|| format!("{} in the net {}", start.text, design.nets[net]))
    };
    let predictions = design.cases().into_iter().map(of_net).collect::<Result<Vec<_>>>()?;

    let bar = progress::bar(design.count(part), "compare");
    bar.inc(known.len() as u64);
    bar.reset_eta();
    let train = |trial: &Trial| {
        let train = || train(args, &experiment, &samples, &target, &config, trial);
        with_stack(experiment.widths[trial.net].len(), train).flatten()
    };
    let finished = |record: &Record| {
        bar.set_message(design.starts[record.trial.start].clone());
        bar.inc(1);
        file.as_mut().map_or(Ok(()), |file| Ok(file.add(record)?))
    };
    let records = run(design, part, known, train, finished)?;
    bar.finish_and_clear();
    Ok((experiment, predictions, records))
}

/// One run.
fn train(
    args: &Args,
    experiment: &Experiment,
    samples: &Samples,
    target: &Target,
    config: &Config,
    trial: &Trial,
) -> Result<Course> {
    let (design, start) = (&experiment.design, &args.net.start[trial.start]);
    let seed = design.seed_of(trial);
    let config_of_net = experiment.net(trial.net)?;
    let map = start.map(seed, config_of_net.widths.len(), experiment.bias_std)?;
    let vb = map.var_builder(target.dtype, &target.device);
    let net = Net::new(&config_of_net, experiment.norm, vb, samples.task)?;
    let rate = design.rates[trial.rate];
    let config =
        Config { seed, optimizer: config.optimizer.clone().with_learning_rate(rate), ..config.clone() };
    let race = Race {
        training: &*samples.training,
        validation: samples.validation.as_deref(),
        test: samples.test.as_deref(),
        metrics: &samples.metrics,
        every: experiment.every,
        threshold: experiment.threshold,
        ends_there: experiment.stop_at_threshold,
    };
    let rates = map.learning_rates()?.into_iter().filter(|(_, factor)| *factor != 1.0).collect();
    let course = race.run(&map, rates, config, |step| net.gradients(step), |batch| net.outputs(batch));
    course.with_context(|| format!("{} in the net {}", start.text, design.nets[trial.net]))
}

/// Many small nets are trained at once, each by a thread of the CPU.
fn target(args: &Args) -> Result<Target> {
    let mut common = args.common.clone();
    match common.device {
        DeviceChoice::Auto => common.device = DeviceChoice::Cpu,
        DeviceChoice::Cpu => {}
        other => {
            return Err(usage(format!(
                "--device is {other}, and compare trains small nets at once on the threads of the CPU: leave it out"
            )));
        }
    }
    common.target(Float::F32)
}

/// Refuses what has no effect, or two meanings.
fn check_options(args: &Args) -> Result<()> {
    let mut texts = BTreeSet::new();
    if let Some(twice) = args.net.start.iter().find(|start| !texts.insert(&start.text)) {
        return Err(usage(format!("--start {} is given twice", shown(&twice.text))));
    }
    let mut nets = BTreeSet::new();
    if let Some(twice) = args.net.nets.iter().find(|net| !nets.insert(&net.widths)) {
        return Err(usage(format!("--nets names the net {} twice", shown(&twice.text))));
    }
    let given = [
        ("--batch", args.training.batch as u64),
        ("--steps", args.training.steps),
        ("--every", args.training.every.unwrap_or(1)),
    ];
    if let Some((option, _)) = given.iter().find(|(_, value)| *value == 0) {
        return Err(usage(format!("{option} is 0, and must be 1 or more")));
    }
    if args.training.steps > MOST_STEPS {
        let steps = args.training.steps;
        return Err(usage(format!("--steps is {steps}, and a run has {MOST_STEPS} at most")));
    }
    if !(0.0..f64::INFINITY).contains(&args.net.bias_std) {
        let std = write_number(args.net.bias_std);
        return Err(usage(format!("--bias-std is {std}, and a standard deviation is 0 or more")));
    }
    if args.net.bias_std > 0.0
        && let Some(preset) = args.net.start.iter().find(|start| start.initializer().is_none())
    {
        let preset = shown(&preset.text);
        return Err(usage(format!("--bias-std is given, and {preset} has biases of its own: leave one out")));
    }
    let comparison = &args.comparison;
    if comparison.nested && comparison.rates == 1 {
        return Err(usage("--nested tunes the rate of each run, and --rates is 1: leave one out"));
    }
    if !(0.0 < comparison.alpha && comparison.alpha < 1.0) {
        let alpha = write_number(comparison.alpha);
        return Err(usage(format!("--alpha is {alpha}, and must be above 0 and below 1")));
    }
    if !comparison.threshold.is_finite() || comparison.loss_threshold.is_some_and(|loss| !loss.is_finite()) {
        return Err(usage("a threshold is not finite: give a number"));
    }
    if comparison.threshold > 1.0 {
        let threshold = write_number(comparison.threshold);
        return Err(usage(format!("--threshold is {threshold}, and an accuracy and an R² are 1 at most")));
    }
    if let Some(loss) = comparison.loss_threshold.filter(|loss| *loss < 0.0) {
        let loss = write_number(loss);
        return Err(usage(format!("--loss-threshold is {loss}, and no loss is below 0: give 0 or more")));
    }
    if comparison.seeds < 2 {
        return Err(usage("--seeds is 1, and one run is nothing to compare: give 2 or more"));
    }
    Ok(())
}

/// Refuses what the samples do not allow.
fn check_samples(args: &Args, experiment: &Experiment) -> Result<()> {
    if experiment.batch > experiment.training_samples {
        return Err(usage(format!(
            "--batch is {}, and there are {} samples to train on: take fewer",
            experiment.batch, experiment.training_samples
        )));
    }
    let last = experiment.training_samples % experiment.batch;
    if experiment.norm == Norm::Batch && (experiment.batch == 1 || last == 1) {
        return Err(usage(format!(
            "batch norm takes two samples or more, and with --batch {} the last batch of {} samples has one: take another",
            experiment.batch, experiment.training_samples
        )));
    }
    if let Threshold::Score(threshold) = experiment.threshold
        && experiment.is_classification()
        && threshold <= 0.0
    {
        let threshold = write_number(threshold);
        return Err(usage(format!(
            "--threshold is {threshold}, and every run has that accuracy: give one above 0, and 1 at most"
        )));
    }
    if experiment.validation_samples == 0 && args.comparison.loss_threshold.is_none() {
        return Err(usage(
            "the threshold is one of the validation, and --validation is 0: give --loss-threshold, or a validation",
        ));
    }
    if experiment.validation_samples == 0 && args.training.every.is_some() {
        return Err(usage(
            "--every is about validations, and --validation is 0: leave it out, and runs are looked at after each epoch",
        ));
    }
    if experiment.validation_samples > 0 && experiment.every > experiment.steps {
        return Err(usage(format!(
            "--every is {}, and a run has {} steps: take fewer",
            experiment.every, experiment.steps
        )));
    }
    Ok(())
}

/// Refuses sizes that exceed the memory: weights, gradients, the optimizer's state and the best weights, and the signals
/// of a batch, of as many nets as there are threads.
fn check_memory(experiment: &Experiment, target: &Target) -> Result<()> {
    let numbers = |net: usize| -> Result<f64> {
        let config = experiment.net(net)?;
        let weights: f64 = config.layers().map(|(inputs, outputs)| inputs as f64 * outputs as f64).sum();
        let units: f64 = config.widths.iter().map(|width| *width as f64).sum();
        let signals = if experiment.norm == Norm::Batch { 8.0 } else { 4.0 };
        Ok(7.0 * weights + experiment.batch.max(256) as f64 * (config.features as f64 + signals * units))
    };
    let nets = (0..experiment.design.nets.len()).map(numbers).collect::<Result<Vec<f64>>>()?;
    let largest = nets.into_iter().fold(0.0, f64::max);
    let threads = rayon::current_num_threads() as f64;
    let bytes = target.dtype.size_in_bytes().max(4);
    memory::check(threads * largest, bytes, "ask for smaller --nets or a smaller --batch")
}
