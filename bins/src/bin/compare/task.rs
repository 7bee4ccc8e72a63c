//! The samples: from files, or drawn.

use anyhow::{Result, anyhow};
use wick_bins::args::Target;
use wick_bins::cli::usage;
use wick_bins::data::name_of;
use wick_bins::memory;
use wick_train::data::{Dataset, InMemory, Subset, Task};
use wick_train::metrics::Metrics;

use crate::options::Args;

/// What nets are trained and tested on.
pub(crate) struct Samples {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) task: Task,
    pub(crate) features: usize,
    pub(crate) outputs: usize,
    pub(crate) metrics: Metrics,
    pub(crate) training: Box<dyn Dataset>,
    pub(crate) validation: Option<Box<dyn Dataset>>,
    pub(crate) test: Option<Box<dyn Dataset>>,
    /// A hash of all samples and their parts.
    pub(crate) fingerprint: String,
}

impl Samples {
    pub(crate) fn load(args: &Args, target: &Target) -> Result<Self> {
        match &args.synthetic {
            Some(_) => Self::draw(args, target),
            None => Self::read(args, target),
        }
    }

    fn read(args: &Args, target: &Target) -> Result<Self> {
        let data = args.data.load(args.common.seed, target)?;
        let preparation = &data.preparation;
        let task = preparation.task();
        let metrics = match task {
            Task::Classify => Metrics::Classification,
            Task::Regress => {
                Metrics::Regression { standardization: preparation.target_standardization().cloned() }
            }
        };
        let boxed = |part: wick_train::data::Part| -> Box<dyn Dataset> { Box::new(part) };
        Ok(Self {
            name: name_of(&args.data.data),
            task,
            features: preparation.features(),
            outputs: preparation.outputs(),
            metrics,
            fingerprint: format!("{:016x}", data.fingerprint),
            training: boxed(data.training),
            validation: data.validation.map(boxed),
            test: data.test.map(boxed),
        })
    }

    /// Of the drawn samples to train on, the last ones are the validation: any order of them is as good as any other.
    fn draw(args: &Args, target: &Target) -> Result<Self> {
        let Some(spec) = &args.synthetic else { return Err(anyhow!("there is no task to draw")) };
        let remedy = "ask for fewer samples or smaller layers in --synthetic";
        memory::check(spec.memory_to_draw(), 1, remedy)?;
        let parts = spec.draw(args.common.seed, target.dtype, &target.device)?;
        let fraction = args.data.validation;
        if !(0.0..1.0).contains(&fraction) {
            return Err(usage(format!("--validation is {fraction}, and must be 0 or more and below 1")));
        }
        let all = parts.training.len();
        let kept = all - (fraction * all as f64).round() as usize;
        if kept == 0 {
            return Err(usage(format!("--validation {fraction} leaves no sample of {all} to train on")));
        }
        let hash = |part: &InMemory| -> Result<u64> { Ok(part.fingerprint()?.unwrap_or_default()) };
        let fingerprint = format!("{:016x}{:016x}", hash(&parts.training)?, hash(&parts.test)?);
        let validation: Vec<usize> = (kept..all).collect();
        let validation: Option<Box<dyn Dataset>> = match validation.is_empty() {
            true => None,
            false => Some(Box::new(Subset::new(parts.training.clone(), validation)?)),
        };
        Ok(Self {
            name: spec.to_string(),
            task: spec.task(),
            features: spec.features(),
            outputs: spec.outputs(),
            metrics: match spec.task() {
                Task::Classify => Metrics::Classification,
                Task::Regress => Metrics::Regression { standardization: None },
            },
            training: Box::new(Subset::new(parts.training, (0..kept).collect())?),
            validation,
            test: Some(Box::new(parts.test)),
            fingerprint,
        })
    }
}
