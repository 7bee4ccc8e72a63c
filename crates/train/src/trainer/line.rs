//! The lines of the log.

use std::collections::BTreeMap;

use serde::Serialize;
use wick_probe::{Probe, Verdict};

use super::outcome::Ended;
use crate::metrics::{Evaluation, Scores};

/// The version of the log's format.
pub(crate) const FORMAT: u32 = 1;

/// A line of the log.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    Run {
        format: u32,
        settings: &'a BTreeMap<String, String>,
        parameters: usize,
    },
    Step {
        step: u64,
        epoch: u64,
        samples: usize,
        loss: f64,
        learning_rate: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        gradient_norm: Option<f64>,
        /// Whether the loss scale left the step out.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        skipped: bool,
    },
    Validation {
        step: u64,
        samples: u64,
        loss: f64,
        #[serde(flatten)]
        scores: Shown,
    },
    Probe {
        step: u64,
        layers: Vec<Layer>,
        verdicts: Vec<Verdict>,
    },
    End {
        step: u64,
        ended: Ended,
    },
}

/// The scores of a validation, without the matrix of confusion.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    Classification {
        accuracy: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        top5: Option<f64>,
    },
    Regression {
        mse: f64,
        mae: f64,
        r2: Option<f64>,
    },
}

/// What a layer did at a step.
#[derive(Debug, Serialize)]
pub(crate) struct Layer {
    name: String,
    mean: f64,
    std: f64,
    rms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_rms: Option<f64>,
}

impl Line<'_> {
    pub(crate) fn validation(step: u64, evaluation: &Evaluation) -> Self {
        let scores = match &evaluation.scores {
            Scores::Classification { accuracy, top5, .. } => {
                Shown::Classification { accuracy: *accuracy, top5: *top5 }
            }
            Scores::Regression { mse, mae, r2 } => Shown::Regression { mse: *mse, mae: *mae, r2: *r2 },
        };
        Self::Validation { step, samples: evaluation.samples, loss: evaluation.loss, scores }
    }
}

impl Layer {
    /// The layers that a probe recorded.
    pub(crate) fn all(probe: &Probe) -> Vec<Self> {
        // Unlike records, reports have no histograms, which take time to count.
        let layer = |report: wick_probe::LayerReport| Self {
            name: report.name,
            mean: report.mean.unwrap_or(f64::NAN),
            std: report.std,
            rms: report.rms,
            gradient_rms: report.gradient_rms,
        };
        probe.layer_reports().into_iter().map(layer).collect()
    }
}
