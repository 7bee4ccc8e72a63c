//! The training of a net from one start.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use wick_bins::cli::usage;
use wick_bins::objective::Objective;
use wick_bins::saved_model::SavedModel;
use wick_bins::warning::warn;
use wick_init::{InitMap, Initializer, Rule};
use wick_model::{Mlp, MlpConfig};
use wick_probe::Probe;
use wick_train::data::{Batch, Dataset, Prepared, Task};
use wick_train::metrics::Metrics;
use wick_train::{EarlyStopping, Ended, RunFolder, Trainer, evaluate};

use crate::context::Context;
use crate::options::RunOptions;
use crate::replay::Replayed;
use crate::report::Run;

/// A start of the net.
pub(crate) struct Start {
    /// The SPEC of the initializer, or the name of the file of weights.
    pub(crate) name: String,
    /// `None` for a file of weights.
    pub(crate) init: Option<Initializer>,
    /// The folder of the run.
    pub(crate) folder: Option<PathBuf>,
}

impl Start {
    /// Refuses a folder that has a run already, unless it is to go on.
    pub(crate) fn check_folder(&self, options: &RunOptions) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let files = ["log.jsonl", "best.safetensors", "last.safetensors", "model.json"];
        let found = files.into_iter().find(|file| folder.join(file).exists());
        match found.filter(|_| !options.resume) {
            Some(file) => Err(usage(format!(
                "'{}' has a run already ({file}): go on with --resume, or give another folder to --run",
                folder.display()
            ))),
            None => Ok(()),
        }
    }

    /// The net with the weights of the start, and a trainer of it.
    fn build(&self, context: &Context) -> Result<(InitMap, Objective)> {
        let Context { args, data, net, target, .. } = context;
        let map = InitMap::new(args.common.seed);
        let map = match (&self.init, &args.net.weights) {
            (Some(init), _) => {
                map.with_rules([Rule::draw("*.bias", Initializer::zeros())?]).with_default_init(init.clone())
            }
            (None, Some(weights)) => map.with_file(weights)?.with_cast_on_load(true).strict(),
            (None, None) => map,
        };
        let mlp = Mlp::new(net, map.var_builder(target.dtype, &target.device))?;
        let mut unused = map.unused_tensors();
        // A checkpoint has the state of the optimizer beside the weights.
        unused.retain(|name| !["optimizer/", "ema/"].iter().any(|prefix| name.starts_with(prefix)));
        if let [first, ..] = &unused[..] {
            bail!("the net has no '{first}', which the file of --weights has: give the --widths of its net");
        }
        Ok((map, Objective::new(mlp, data.preparation.task())))
    }

    fn metrics(data: &Prepared) -> Metrics {
        match data.preparation.task() {
            Task::Classify => Metrics::Classification,
            Task::Regress => {
                Metrics::Regression { standardization: data.preparation.target_standardization().cloned() }
            }
        }
    }

    /// A trainer with all that the options ask for.
    fn trainer<'t>(&self, context: &Context<'t>, map: &InitMap, net: &'t Objective) -> Result<Trainer<'t>> {
        let Context { args, data, config, target, .. } = *context;
        let mut trainer = Trainer::new(map, config.clone())?
            .with_identity("net", describe(context.net))
            .with_identity("start", self.init.as_ref().map_or_else(|| self.name.clone(), ToString::to_string))
            .with_identity("fingerprint of the data", format!("{:016x}", data.fingerprint))
            .with_identity("type", target.dtype.as_str())
            .with_start()?;
        if let Some(validation) = &data.validation {
            let stopping = EarlyStopping {
                monitor: args.training.monitor.into(),
                patience: args.training.patience.unwrap_or(u64::MAX),
                min_delta: 0.0,
            };
            let every = args.training.validate_every;
            let outputs = |batch: &Batch| net.outputs(batch);
            trainer = trainer.with_validation(validation, Self::metrics(data), every, stopping, outputs);
        }
        if let Some(folder) = &self.folder {
            trainer = trainer.with_run(RunFolder::open(folder)?, args.run.every);
        }
        if let Some(every) = args.run.probe_every {
            trainer = trainer.with_probe(Probe::new(), every);
        }
        Ok(trainer)
    }

    /// Trains the net, and tests the best weights, or the last ones without a validation.
    pub(crate) fn train(&self, context: &Context) -> Result<Run> {
        let (map, net) = self.build(context)?;
        let data = context.data;
        let trainer = self.trainer(context, &map, &net)?;
        if let Some(folder) = &self.folder {
            let model = SavedModel::new(context.net, &data.preparation, context.target.dtype);
            model.save(folder)?;
        }
        let mut trainer = trainer.with_progress().with_stop(wick_files::stop_on_signals());
        let outcome = match trainer.fit_gradients(&data.training, |step| net.gradients(step)) {
            // Of several starts, one that does not converge is a result.
            Err(error @ wick_train::Error::Diverged { .. }) if context.args.net.init.len() > 1 => {
                return Ok(Run::diverged(&self.name, trainer.history().to_vec(), &error, context));
            }
            outcome => outcome.map_err(of_options)?,
        };
        if let Some(folder) = &self.folder {
            // One that was damaged.
            SavedModel::new(context.net, &data.preparation, context.target.dtype).repair(folder)?;
        }
        if matches!(outcome.ended, Ended::Stopped(_)) {
            return Ok(Run::new(&self.name, outcome, None, context));
        }
        if data.validation.is_some() {
            trainer.load_best()?;
        }
        let test = match &data.test {
            Some(test) => {
                let tested = evaluate(test, Self::metrics(data), |batch| net.outputs(batch));
                Some(tested.map_err(|error| in_data(error, test)).context("the test")?)
            }
            None => None,
        };
        Ok(Run::new(&self.name, outcome, test, context))
    }

    /// Runs a step again.
    pub(crate) fn replay(&self, context: &Context, step: u64) -> Result<Replayed> {
        let (map, net) = self.build(context)?;
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.join("log.jsonl").exists()) else {
            return Err(usage("--replay runs a step of a run again, and --run has none: run it first"));
        };
        let mut trainer = self.trainer(context, &map, &net)?;
        let replay = trainer
            .replay_gradients(&context.data.training, step, |step| net.gradients(step))
            .map_err(of_options)
            .with_context(|| format!("'{}'", folder.display()))?;
        replay.notices.iter().for_each(|notice| warn(notice));
        Ok(Replayed::new(replay))
    }
}

/// The error with the sample's number in the whole data.
fn in_data(error: wick_train::Error, data: &dyn Dataset) -> wick_train::Error {
    match error {
        wick_train::Error::NotFinite { sample, column, value } => {
            wick_train::Error::NotFinite { sample: data.row(sample), column, value }
        }
        error => error,
    }
}

/// Errors that other options avoid are errors of usage.
fn of_options(error: wick_train::Error) -> anyhow::Error {
    match error {
        wick_train::Error::OtherRun { .. } | wick_train::Error::Settings(_) => usage(error.to_string()),
        error => error.into(),
    }
}

/// The net in words.
fn describe(net: &MlpConfig) -> String {
    let widths: Vec<String> = net.widths.iter().map(usize::to_string).collect();
    format!("{}-{} {}", net.features, widths.join("-"), net.activation)
}
