//! The checks before a training.

use anyhow::{Context, Result};
use candle_core::{Tensor, Var};
use serde::Serialize;
use wick_init::InitMap;
use wick_probe::{Finding, Preflight};

use crate::guarded::guarded;
use crate::objective::{Objective, compare};
use wick_model_stats::Forward;

/// What the checks before a training found.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    /// The loss, and where its targets are from.
    pub(crate) targets: String,
    pub(crate) findings: Vec<Finding>,
}

/// Runs the checks on the model, its loss and a batch.
pub(crate) fn run(
    model: &mut Forward,
    vars: &[(String, Var)],
    (xs, objective): (&Tensor, &Objective),
    map: &InitMap,
    is_drawn: bool,
) -> Result<Findings> {
    let manifest = map.manifest().context("the laws of the weights")?;
    let stds: Vec<(String, f64)> =
        manifest.tensors.into_iter().filter_map(|tensor| Some((tensor.name, tensor.expected_std?))).collect();
    let from = if is_drawn { "drawn targets" } else { "the data's targets" };
    let targets = format!("{} of {from}", objective.words());
    let Some(compared) = objective.targets() else { return Ok(Findings { targets, findings: Vec::new() }) };
    let loss = |outputs: &Tensor, targets: &Tensor| {
        let is_flat = !targets.dtype().is_int() && targets.elem_count() == outputs.elem_count();
        if is_flat { compare(outputs, &targets.reshape(outputs.shape())?) } else { compare(outputs, targets) }
    };
    let findings =
        guarded(|| Ok(Preflight::new(vars, xs, compared).with_stds(&stds).run(|xs| model(xs), loss)?))
            .context("a check before the training fails")?;
    Ok(Findings { targets, findings })
}
