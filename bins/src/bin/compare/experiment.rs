//! What is compared: the nets, the data and the settings, by which the parts of an experiment know each other.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use wick_bins::args::Target;
use wick_bins::cli::usage;
use wick_bins::values::spec;
use wick_model::{Activation, MlpConfig};
use wick_theory::write_number;
use wick_train::compare::{Design, Threshold};
use wick_train::data::{Dataset, Task};
use wick_train::{Config, Length, Schedule};

use crate::net::Norm;
use crate::options::Args;
use crate::task::Samples;

/// The steps between validations where the user gives none and a run has as many.
const EVERY: u64 = 10;

/// The settings of all runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Experiment {
    pub(crate) data: String,
    pub(crate) task: String,
    pub(crate) training_samples: usize,
    pub(crate) validation_samples: usize,
    pub(crate) test_samples: usize,
    pub(crate) features: usize,
    pub(crate) outputs: usize,
    /// A hash of the samples and of their parts.
    pub(crate) fingerprint: String,
    pub(crate) activation: String,
    pub(crate) bias: bool,
    /// The standard deviation of the biases.
    pub(crate) bias_std: f64,
    pub(crate) norm: Norm,
    pub(crate) optimizer: String,
    pub(crate) schedule: String,
    pub(crate) batch: usize,
    /// The budget of a run.
    pub(crate) steps: u64,
    /// The steps between the points of a run: without a validation, those of an epoch.
    pub(crate) every: u64,
    pub(crate) threshold: Threshold,
    pub(crate) stop_at_threshold: bool,
    pub(crate) dtype: String,
    /// The units of each hidden layer of each net.
    pub(crate) widths: Vec<Vec<usize>>,
    #[serde(flatten)]
    pub(crate) design: Design,
}

impl Experiment {
    pub(crate) fn new(args: &Args, samples: &Samples, target: &Target) -> Result<Self> {
        let count = |part: &Option<Box<dyn Dataset>>| part.as_ref().map_or(0, |part| part.len());
        let design = Design {
            nets: args.net.nets.iter().map(|net| net.text.clone()).collect(),
            starts: args.net.start.iter().map(|start| start.text.clone()).collect(),
            rates: rates(args)?,
            tuning_runs: usize::from(args.comparison.tuning_seeds),
            runs: usize::from(args.comparison.seeds),
            nested: args.comparison.nested,
            seed: args.common.seed,
        };
        let comparison = &args.comparison;
        let threshold =
            comparison.loss_threshold.map_or(Threshold::Score(comparison.threshold), Threshold::Loss);
        Ok(Self {
            data: samples.name.clone(),
            task: if samples.task == Task::Classify { "classify" } else { "regress" }.to_owned(),
            training_samples: samples.training.len(),
            validation_samples: count(&samples.validation),
            test_samples: count(&samples.test),
            features: samples.features,
            outputs: samples.outputs,
            fingerprint: samples.fingerprint.clone(),
            activation: args.net.activation.to_string(),
            bias: !args.net.no_bias,
            bias_std: args.net.bias_std,
            norm: args.net.norm,
            optimizer: spec(&args.training.optimizer),
            schedule: schedule(args)?.to_string(),
            batch: args.training.batch,
            steps: args.training.steps,
            every: match &samples.validation {
                Some(_) => args.training.every.unwrap_or(EVERY.min(args.training.steps)),
                None => samples.training.len().div_ceil(args.training.batch) as u64,
            },
            threshold,
            stop_at_threshold: comparison.stop_at_threshold,
            dtype: target.dtype.as_str().to_owned(),
            widths: args.net.nets.iter().map(|net| net.widths.clone()).collect(),
            design,
        })
    }

    pub(crate) fn is_classification(&self) -> bool {
        self.task == "classify"
    }

    /// What the score of a validation is called.
    pub(crate) fn score(&self) -> &'static str {
        if self.is_classification() { "accuracy" } else { "R²" }
    }

    /// A net, with the outputs that the data ask for.
    pub(crate) fn net(&self, net: usize) -> Result<MlpConfig> {
        let phi: Activation = self.activation.parse()?;
        let widths: Vec<usize> = self.widths[net].iter().copied().chain([self.outputs]).collect();
        let config = MlpConfig::new(self.features, widths, phi).with_bias(self.bias);
        Ok(config.with_output_activation(Activation::Identity))
    }
}

/// The learning rates, √10 apart, with the optimizer's in the middle.
///
/// # Errors
/// Some are 0, infinite or equal.
pub(crate) fn rates(args: &Args) -> Result<Vec<f64>> {
    let (rate, count) = (args.training.optimizer.learning_rate(), i32::from(args.comparison.rates));
    let middle = (count - 1) / 2;
    let rates: Vec<f64> = (0..count).map(|number| rate * 10f64.powi(number - middle).sqrt()).collect();
    if are_rates(&rates) {
        return Ok(rates);
    }
    let lr = write_number(rate);
    Err(usage(match count {
        1 => format!(
            "--optimizer has lr={lr}, and at a learning rate of 0 nothing is trained: take one above 0"
        ),
        _ => format!(
            "--optimizer has lr={lr}, and the {count} learning rates around it are not all above 0, finite and different: \
             take another lr"
        ),
    }))
}

/// Whether these can be learning rates of a design: above 0, finite and rising.
pub(crate) fn are_rates(rates: &[f64]) -> bool {
    let are_positive = rates.iter().all(|rate| *rate > 0.0 && rate.is_finite());
    are_positive && rates.windows(2).all(|pair| pair[0] < pair[1])
}

/// The schedule over the whole budget.
fn schedule(args: &Args) -> Result<Schedule> {
    Schedule::for_run(&args.training.schedule, args.training.steps).map_err(|error| usage(error.to_string()))
}

/// The settings of a run but its learning rate and seed.
pub(crate) fn config(args: &Args) -> Result<Config> {
    let config = Config {
        batch: args.training.batch,
        length: Length::Steps(args.training.steps),
        optimizer: args.training.optimizer.clone(),
        schedule: schedule(args)?,
        ..Config::default()
    };
    config.check().map_err(|error| usage(error.to_string()))?;
    Ok(config)
}
