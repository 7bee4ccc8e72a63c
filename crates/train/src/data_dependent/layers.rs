//! The layers of a model whose weights can be corrected, and the state that is kept while they are.

use candle_core::{Result, Tensor, Var};
use wick_kernels::{Moments, moments};
use wick_probe::{Kind, Trace, TracedLayer};

use super::changes::{Change, Changes, Skipped};
use super::signal::Signal;
use crate::Error;

/// Layers with one weight each, in the order of execution; slices of one matrix are one layer.
pub(super) struct Layers<'a, F> {
    vars: &'a [(String, Var)],
    forward: F,
    /// The trace of the pass with the weights as they are now.
    trace: Trace,
    forwards: usize,
    /// Changed variables with what they had before.
    before: Vec<(Var, Tensor)>,
    pub(super) skipped: Vec<Skipped>,
}

/// A layer whose weight can be corrected.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
}

impl<'a, F: FnMut() -> Result<Tensor>> Layers<'a, F> {
    /// Runs the first pass.
    pub(super) fn new(vars: &'a [(String, Var)], mut forward: F) -> Result<Self> {
        let trace = Trace::run(vars, &mut forward)?;
        Ok(Self { vars, forward, trace, forwards: 1, before: Vec::new(), skipped: Vec::new() })
    }

    /// Corrects one layer after the other, and puts every variable back if one of them fails.
    pub(super) fn correct(
        mut self,
        method: String,
        mut one: impl FnMut(&mut Self, &Target) -> std::result::Result<Option<Change>, Error>,
    ) -> std::result::Result<Changes, Error> {
        let targets = self.targets();
        let mut layers = Vec::with_capacity(targets.len());
        for target in &targets {
            match one(&mut self, target) {
                Ok(change) => layers.extend(change),
                Err(error) => {
                    for (var, before) in &self.before {
                        var.set(before)?;
                    }
                    return Err(error);
                }
            }
        }
        if layers.is_empty() {
            return Err(Error::Settings(format!(
                "{method} found no layer to correct among {} parameters: pass the variables of the model that makes \
                 the output",
                self.vars.len()
            )));
        }
        Ok(Changes { method, layers, skipped: self.skipped, forwards: self.forwards })
    }

    pub(super) fn var(&self, index: usize) -> &'a Var {
        &self.vars[index].1
    }

    pub(super) fn name_of(&self, index: usize) -> &'a str {
        &self.vars[index].0
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) fn skip(&mut self, target: &Target, reason: impl Into<String>) {
        self.skipped.push(Skipped { name: target.name.clone(), reason: reason.into() });
    }

    /// Sets a variable, and remembers what it had.
    pub(super) fn set(&mut self, index: usize, value: &Tensor) -> Result<()> {
        let var = self.var(index);
        if !self.before.iter().any(|(known, _)| known.id() == var.id()) {
            self.before.push((var.clone(), var.copy()?.detach()));
        }
        var.set(&value.detach().to_dtype(var.dtype())?)
    }

    /// Runs the pass with the weights as they are now.
    pub(super) fn run(&mut self) -> Result<()> {
        self.trace = Trace::run(self.vars, &mut self.forward)?;
        self.forwards += 1;
        Ok(())
    }

    /// The first call of the layer, or of the slices of its matrix.
    pub(super) fn calls(&self, target: &Target) -> Vec<&TracedLayer> {
        let weight = self.name_of(target.weight);
        let is_it =
            |layer: &&TracedLayer| layer.call == 0 && layer.parameters.iter().any(|name| name == weight);
        self.trace.layers().iter().filter(is_it).collect()
    }

    /// The moments of a layer's signal.
    pub(super) fn moments(&self, target: &Target, signal: Signal) -> std::result::Result<Moments, Error> {
        let calls = self.calls(target);
        let tensor = |layer: &TracedLayer| match (signal, &layer.activation) {
            (Signal::Activation, Some((_, made))) => moments(made),
            _ => moments(&layer.output),
        };
        let mut all: Option<Moments> = None;
        for layer in calls {
            let these = tensor(layer)?;
            match &mut all {
                Some(all) => all.merge(&these),
                None => all = Some(these),
            }
        }
        let name = &target.name;
        let all = all.ok_or_else(|| {
            Error::Settings(format!("`{name}` is not in every pass: pass the same batch forward each time"))
        })?;
        if !all.rms().is_finite() {
            return Err(Error::Settings(format!(
                "the output of `{name}` is not finite: check the batch for NaN, and begin with smaller weights"
            )));
        }
        Ok(all)
    }

    /// Layers with a matrix or filters of their own that a step would change; others are skipped with a reason.
    fn targets(&mut self) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let index = |name: &String| self.vars.iter().position(|(other, _)| other == name);
        for layer in self.trace.layers() {
            if !matches!(layer.kind, Kind::Linear | Kind::Conv) {
                continue;
            }
            let parameters: Vec<usize> = layer.parameters.iter().filter_map(index).collect();
            let (weights, others): (Vec<usize>, Vec<usize>) =
                parameters.into_iter().partition(|&index| self.vars[index].1.rank() >= 2);
            let skip = |reason: &str| Skipped { name: layer.name.clone(), reason: reason.to_owned() };
            match weights.as_slice() {
                [weight] if targets.iter().any(|target| target.weight == *weight) => {
                    // Slices of one matrix, and later calls, belong to its first call.
                }
                [_] if layer.is_stale => {
                    self.skipped.push(skip("computes with a copy of its weight, which no change reaches"));
                }
                [weight] => {
                    let bias = others.iter().copied().find(|&index| self.vars[index].0.ends_with("bias"));
                    let name = layer.name.split_once('[').map_or(layer.name.as_str(), |(name, _)| name);
                    targets.push(Target { name: name.to_owned(), weight: *weight, bias });
                }
                _ => self.skipped.push(skip("has a weight that is made of several parameters")),
            }
        }
        let reach = self.trace.reach();
        let is_weight =
            |name: &&String| self.vars.iter().any(|(other, var)| other == *name && var.rank() >= 2);
        let unseen = reach.unreached.iter().filter(is_weight);
        self.skipped.extend(unseen.map(|name| {
            Skipped {
                name: name.clone(),
                reason:
                    "is not in the graph behind the output: an operation without a backward pass cuts it off"
                        .into(),
            }
        }));
        targets
    }
}
