//! The trainer.

mod accumulate;
mod config;
mod fit;
mod goal;
mod identity;
mod line;
mod not_finite;
pub(crate) mod outcome;
mod progress;
mod replay;
mod session;
mod step;
#[cfg(test)]
mod tests;
mod trial;
mod validation;
mod variables;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI32;

use candle_core::{Result as CandleResult, Tensor, Var};
use wick_probe::Probe;

pub use config::{Config, Length};
pub use outcome::{Best, Ended, Outcome, Point};
pub use replay::Replay;
pub use step::Step;
pub use validation::{EarlyStopping, Monitor, evaluate};
pub use variables::{Group, NamedVars};

use crate::data::{Batch, Dataset};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::run::hash::ContentHash;
use crate::run::{RunFolder, weights};
use goal::Goal;
use validation::Validation;
use variables::Variables;

/// Trains the variables of a candle model.
///
/// It needs the variables by name, a [`Config`], the data, and a closure from a batch to its mean loss
/// ([`fit`](Self::fit)), or to the loss and its gradients ([`fit_gradients`](Self::fit_gradients), for
/// `Mlp::tape`). All else is a line each:
///
/// | method | adds |
/// |---|---|
/// | [`with_group`](Self::with_group), [`with_rates`](Self::with_rates) | learning rates and weight decays of some variables, frozen ones |
/// | [`with_validation`](Self::with_validation) | metrics, early stopping, the best weights |
/// | [`with_run`](Self::with_run) | a folder with log and checkpoints, from which a killed run goes on to the bit |
/// | [`with_probe`](Self::with_probe) | statistics and verdicts of the layers at some steps |
/// | [`with_progress`](Self::with_progress) | a bar on a terminal, a line now and then elsewhere |
/// | [`with_prefetch`](Self::with_prefetch) | batches that a thread makes ahead |
/// | [`with_stop`](Self::with_stop) | an end after the step at hand, for signals |
/// | [`with_goal`](Self::with_goal) | an end at a point of the course that is good enough |
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, linear};
/// use wick_train::data::{Classes, InMemory, Targets};
/// use wick_train::{Config, Length, Trainer};
///
/// let xs = Tensor::new(&[[0f32, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]], &Device::Cpu)?;
/// let classes = Classes::new(&Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu)?)?;
/// let data = InMemory::new(&xs)?.with_targets(Targets::Classes(classes))?;
///
/// let vars = VarMap::new();
/// let model = linear(2, 2, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
/// let config = Config { batch: 2, length: Length::Epochs(50), optimizer: "adamw:lr=0.1".parse()?, ..Config::default() };
/// let outcome = Trainer::new(&vars, config)?.fit(&data, |step| {
///     candle_nn::loss::cross_entropy(&model.forward(step.input())?, step.targets()?)
/// })?;
/// assert_eq!(outcome.steps, 100);
/// assert!(outcome.loss < Some(0.1));
/// # Ok::<(), wick_train::Error>(())
/// ```
///
/// A step's bits depend on the seed, the data, the settings, and on nothing else, as long as the model's own ops are
/// deterministic: the trainer tries the first step twice and adds a line to [`Outcome::notices`] if they are not.
#[derive(Debug)]
pub struct Trainer<'a> {
    pub(crate) config: Config,
    vars: Vec<(String, Var)>,
    groups: Vec<Group>,
    rates: Vec<(Var, f64)>,
    pub(crate) allow_missing: bool,
    pub(crate) validation: Option<Validation<'a>>,
    pub(crate) run: Option<Run>,
    pub(crate) probe: Option<(Probe, u64)>,
    pub(crate) stop: Option<&'a AtomicI32>,
    pub(crate) goal: Option<Goal<'a>>,
    pub(crate) progress: bool,
    pub(crate) prefetch: bool,
    pub(crate) identity: BTreeMap<String, String>,
    pub(crate) best_weights: Option<Vec<(String, Tensor)>>,
    pub(crate) history: Vec<Point>,
}

/// The folder of a run, and the steps between checkpoints.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) folder: RunFolder,
    pub(crate) every: u64,
}

impl<'a> Trainer<'a> {
    /// A trainer of a model's variables.
    ///
    /// # Errors
    /// A setting is out of range, or there are no variables.
    pub fn new(vars: &(impl NamedVars + ?Sized), config: Config) -> Result<Self, Error> {
        config.check()?;
        let vars = vars.named_vars();
        if vars.is_empty() {
            let text = "there are no variables to train: build the model before the trainer";
            return Err(Error::Settings(text.to_owned()));
        }
        Ok(Self {
            config,
            vars,
            groups: Vec::new(),
            rates: Vec::new(),
            allow_missing: false,
            validation: None,
            run: None,
            probe: None,
            stop: None,
            goal: None,
            progress: false,
            prefetch: false,
            identity: BTreeMap::new(),
            best_weights: None,
            history: Vec::new(),
        })
    }

    /// Adds a group. A variable belongs to the first one that matches it.
    pub fn with_group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Multiplies the learning rates of variables, as muP needs it: the factors of
    /// [`InitMap::learning_rates`](wick_init::InitMap::learning_rates).
    pub fn with_rates(mut self, rates: Vec<(Var, f64)>) -> Self {
        self.rates = rates;
        self
    }

    /// Goes on where variables get no gradient, which then stay as they are.
    pub fn with_missing_gradients(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    /// Evaluates a model's outputs at the end of each epoch, or after each `every` steps, and at the end, and keeps
    /// the best weights. `outputs` is given batches in the order of the data.
    pub fn with_validation(
        mut self,
        data: &'a dyn Dataset,
        metrics: Metrics,
        every: Option<u64>,
        stopping: EarlyStopping,
        outputs: impl Fn(&Batch) -> CandleResult<Tensor> + 'a,
    ) -> Self {
        self.validation = Some(Validation {
            data,
            metrics,
            outputs: Box::new(outputs),
            every: every.map(|every| every.max(1)),
            stopping,
        });
        self
    }

    /// Writes the run into a folder: a log, weights, and a checkpoint after each `every` steps and at the end. If
    /// the folder has a checkpoint of this run, the run goes on from it, to the bit.
    ///
    /// The log, `log.jsonl`, has an object on each line, whose `kind` says what it has; it has no times, so that
    /// the same run has the same log.
    ///
    /// | `kind` | fields |
    /// |---|---|
    /// | `run` | the first line: `format` (1), `settings` by name, `parameters` |
    /// | `step` | `step` and `epoch` from 0, `samples`, `loss` before the step, `learning_rate`, and `gradient_norm` where gradients are clipped or scaled and finite, `skipped` (true) where the loss scale left the step out |
    /// | `validation` | `step`: the steps that are done, `samples`, `loss`, and `accuracy`, `top5` or `mse`, `mae`, `r2` |
    /// | `probe` | `step`, `layers` (`name`, `mean`, `std`, `rms`, `gradient_rms`) and `verdicts` (`fault`, `layer`, `figure`, `text`, `remedy`) |
    /// | `end` | the last line: `step`, and `ended` (`finished` or `early_stopping`) |
    pub fn with_run(mut self, folder: RunFolder, every: u64) -> Self {
        self.run = Some(Run { folder, every: every.max(1) });
        self
    }

    /// Records each `every`-th step, beginning with the first, and judges it: the layers by
    /// [`judge`](wick_probe::judge()), the losses so far by [`judge_loss`](wick_probe::judge_loss). The layers need taps:
    /// see [`Step::observer`] and [`Step::tap`].
    pub fn with_probe(mut self, probe: Probe, every: u64) -> Self {
        self.probe = Some((probe, every.max(1)));
        self
    }

    /// Ends the run after the step at hand when the number is not 0, with a checkpoint.
    pub fn with_stop(mut self, stop: &'a AtomicI32) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Ends the run at the first point of its course that has reached a goal. The goal is no part of what a checkpoint
    /// is compared by: state it by [`with_identity`](Self::with_identity) if runs are to go on.
    pub fn with_goal(mut self, is_reached: impl Fn(&Point) -> bool + 'a) -> Self {
        self.goal = Some(Goal(Box::new(is_reached)));
        self
    }

    /// Shows progress on stderr.
    pub fn with_progress(mut self) -> Self {
        self.progress = true;
        self
    }

    /// Makes batches on a thread of its own, at most two ahead of the step at hand. No bit depends on it.
    pub fn with_prefetch(mut self) -> Self {
        self.prefetch = true;
        self
    }

    /// States what else decides the numbers of the run (the start, the model, the file of the data). A checkpoint
    /// with another text under this name is refused.
    pub fn with_identity(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.identity.insert(name.into(), text.into());
        self
    }

    /// States the variables as they are now as the start of the run, by a hash of their numbers.
    ///
    /// # Errors
    /// The numbers cannot be copied from their device.
    pub fn with_start(self) -> Result<Self, Error> {
        let mut hash = ContentHash::default();
        for (name, var) in &self.vars {
            hash.text(name);
            hash.tensor(&var.as_detached_tensor())?;
        }
        Ok(self.with_identity("hash of the start", &hash.finish()[..16]))
    }

    /// Gives the variables the weights of the best validation, from the run's folder or from memory.
    ///
    /// # Errors
    /// There was no validation, or the file cannot be read.
    pub fn load_best(&self) -> Result<(), Error> {
        let from_file = match (&self.best_weights, &self.run) {
            (None, Some(run)) => Some(weights::read(&run.folder.best())?.0),
            _ => None,
        };
        let Some(best) = self.best_weights.as_ref().or(from_file.as_ref()) else {
            return Err(Error::Settings("there are no best weights: add a validation".to_owned()));
        };
        for (name, var) in &self.vars {
            let Some((_, tensor)) = best.iter().find(|(known, _)| known == name) else {
                return Err(Error::Settings(format!("the best weights have no `{name}`")));
            };
            var.set(&tensor.to_device(var.device())?)?;
        }
        Ok(())
    }

    pub(crate) fn variables(&self) -> Result<Variables, Error> {
        let variables = Variables::new(self.vars.clone(), &self.groups, &self.rates);
        variables.check(&self.groups, &self.rates)?;
        Ok(variables)
    }

    /// The course of the last run, also of one that failed.
    pub fn history(&self) -> &[Point] {
        &self.history
    }
}
