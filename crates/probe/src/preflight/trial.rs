//! What the weights are, and what a first step does to them.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Var};

use super::{Check, Finding, Preflight};
use crate::diagnose::fault::{Fault, Level};
use crate::diagnose::updates::judge_updates;
use crate::kept::Kept;
use crate::number::number;
use crate::observe::parameters::Parameters;
use crate::trace::Trace;
use crate::trace::sample::{elements, places};

/// Elements by which two variables are told apart before all are compared.
const PLACES: usize = 64;

impl Preflight<'_> {
    /// Layers whose outputs are far outside of what their input and the law of their weights, or their gains, predict;
    /// residual sums and attentions.
    pub(super) fn bands(&self, trace: &Trace) -> Result<Vec<Finding>> {
        let Some(stds) = self.stds else { return Ok(Vec::new()) };
        let inputs = [self.inputs];
        let inputs = if self.inputs.dtype().is_float() { &inputs[..] } else { &[] };
        let mut bands = trace.bands(stds, inputs)?;
        bands.extend(trace.norm_bands()?);
        bands.extend(trace.sum_bands(stds, inputs)?);
        let attentions = trace.attentions(inputs)?.into_iter().filter_map(|attention| attention.verdict());
        let verdicts = bands.into_iter().filter_map(|band| band.verdict()).chain(attentions);
        let finding = |verdict: crate::Verdict| {
            Finding::new(Check::Bands, verdict.level, verdict.figure, verdict.to_string())
        };
        Ok(verdicts.map(finding).collect())
    }

    /// Two variables with the same numbers, as of a head that a file has tied to the embedding: they train apart.
    pub(super) fn tied(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for (index, (name, var)) in self.vars.iter().enumerate().filter(|(_, (_, var))| var.rank() > 1) {
            let places = places(var.elem_count(), PLACES);
            let some = elements(var, &places)?;
            if some.iter().all(|x| *x == some[0]) {
                continue;
            }
            for (other, twin) in &self.vars[..index] {
                let is_like =
                    twin.dims() == var.dims() && twin.dtype() == var.dtype() && twin.id() != var.id();
                if !is_like || elements(twin, &places)? != some {
                    continue;
                }
                let equal = number(&var.eq(twin.as_tensor())?.to_dtype(DType::F64)?.sum_all()?)?;
                if equal == var.elem_count() as f64 {
                    let text = format!(
                        "{other} and {name} have the same numbers and are two variables, which train apart: if they are \
                         tied, give both layers one variable"
                    );
                    findings.push(Finding::new(Check::Tied, Level::Unusual, equal, text));
                    break;
                }
            }
        }
        Ok(findings)
    }

    /// How far the first step moves the weights that get a gradient. Copied rows are told of once.
    pub(super) fn update(&self, gradients: &GradStore, are_copied: bool) -> Result<Option<Finding>> {
        let has_gradient = |(_, var): &&(String, Var)| gradients.get(var.as_tensor()).is_some();
        let vars: Vec<(String, Var)> = self.vars.iter().filter(has_gradient).cloned().collect();
        // Half precision takes a loss scale, which an optimizer of one's own may have.
        let is_half = vars.iter().any(|(_, var)| var.dtype() == DType::F16);
        if vars.is_empty() || (is_half && !self.trial.is_own()) {
            return Ok(None);
        }
        let kept = Kept::of(vars.iter().map(|(_, var)| var))?;
        let before = Parameters::of(&vars)?;
        self.trial.step(vars.iter().map(|(_, var)| var.clone()).collect(), gradients)?;
        let updates = before.updates(&vars)?;
        kept.restore()?;
        let verdict = judge_updates(&updates);
        Ok(verdict.filter(|verdict| !(are_copied && verdict.fault == Fault::SymmetricUnits)).map(|verdict| {
            Finding::new(
                Check::Update,
                verdict.level,
                verdict.figure,
                format!("in the first step, {verdict}"),
            )
        }))
    }
}
