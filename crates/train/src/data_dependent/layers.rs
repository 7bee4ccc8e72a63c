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
    /// What every variable had before the first pass.
    before: Vec<Tensor>,
    /// Which variables were corrected.
    is_changed: Vec<bool>,
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
        let before: Vec<Tensor> =
            vars.iter().map(|(_, var)| Ok(var.copy()?.detach())).collect::<Result<_>>()?;
        let is_changed = vec![false; vars.len()];
        match Trace::run(vars, &mut forward) {
            Ok(trace) => {
                Ok(Self { vars, forward, trace, forwards: 1, before, is_changed, skipped: Vec::new() })
            }
            Err(error) => {
                put_back(vars, &before, &[])?;
                Err(error)
            }
        }
    }

    /// Corrects one layer after the other, and then measures each of them in the last pass: a layer can lie behind
    /// another one that was corrected after it. Variables that are not corrected, as the statistics of a norm, are put
    /// back; after an error all of them are.
    pub(super) fn correct(
        mut self,
        method: String,
        signal: Signal,
        one: impl FnMut(&mut Self, &Target) -> std::result::Result<Option<Change>, Error>,
        is_reached: impl Fn(&Self, &Target, &Moments) -> std::result::Result<bool, Error>,
    ) -> std::result::Result<Changes, Error> {
        match self.correct_each(&method, signal, one, is_reached) {
            Ok(layers) => {
                put_back(self.vars, &self.before, &self.is_changed)?;
                Ok(Changes { method, layers, skipped: self.skipped, forwards: self.forwards })
            }
            Err(error) => {
                put_back(self.vars, &self.before, &[])?;
                Err(error)
            }
        }
    }

    fn correct_each(
        &mut self,
        method: &str,
        signal: Signal,
        mut one: impl FnMut(&mut Self, &Target) -> std::result::Result<Option<Change>, Error>,
        is_reached: impl Fn(&Self, &Target, &Moments) -> std::result::Result<bool, Error>,
    ) -> std::result::Result<Vec<Change>, Error> {
        let mut changed: Vec<(Target, Change)> = Vec::new();
        for target in self.targets() {
            if let Some(change) = one(self, &target)? {
                changed.push((target, change));
            }
        }
        for (target, change) in &mut changed {
            let now = self.moments(target, signal)?;
            (change.std_after, change.is_reached) = (now.std(), is_reached(self, target, &now)?);
        }
        if changed.is_empty() {
            return Err(self.none_found(method));
        }
        Ok(changed.into_iter().map(|(_, change)| change).collect())
    }

    /// The error of a model without a layer that could be corrected, with why each was left out.
    fn none_found(&self, method: &str) -> Error {
        const MOST: usize = 3;
        let found = format!("{method} found no layer to correct among {} parameters", self.vars.len());
        if self.skipped.is_empty() {
            return Error::Settings(format!(
                "{found}: pass the variables of the model that makes the output"
            ));
        }
        let shown =
            self.skipped.iter().take(MOST).map(|Skipped { name, reason }| format!("`{name}` {reason}"));
        let mut reasons = shown.collect::<Vec<_>>().join("; ");
        if self.skipped.len() > MOST {
            reasons += &format!("; and {} more were left out", self.skipped.len() - MOST);
        }
        Error::Settings(format!("{found}: {reasons}"))
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

    /// Corrects a variable.
    pub(super) fn set(&mut self, index: usize, value: &Tensor) -> Result<()> {
        let var = self.var(index);
        for (is_changed, (_, other)) in self.is_changed.iter_mut().zip(self.vars) {
            *is_changed |= other.id() == var.id();
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
        let is_it = |layer: &&TracedLayer| {
            layer.call == 0
                && base(layer) == target.name
                && layer.parameters.iter().any(|name| name == weight)
        };
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
                [weight] if self.other_use(*weight, layer).is_some() => {
                    let name = base(layer).to_owned();
                    if !self.skipped.iter().any(|skipped| skipped.name == name) {
                        let reason = self.other_use(*weight, layer).unwrap_or_default().to_owned();
                        self.skipped.push(Skipped { name, reason });
                    }
                }
                [weight] => {
                    let bias = others.iter().copied().find(|&index| self.vars[index].0.ends_with("bias"));
                    targets.push(Target { name: base(layer).to_owned(), weight: *weight, bias });
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

    /// Why the weight of a layer cannot be scaled for its output: an embedding or an earlier operation of another kind
    /// uses it too, so that a factor changes the layer's input and what was corrected before.
    fn other_use(&self, weight: usize, layer: &TracedLayer) -> Option<&'static str> {
        let name = self.name_of(weight);
        let mut uses =
            self.trace.layers().iter().filter(|layer| layer.parameters.iter().any(|other| other == name));
        if uses.clone().any(|layer| layer.kind == Kind::Embedding) {
            return Some(
                "is the table of an embedding too, which a factor would change with what is made of it",
            );
        }
        let is_product = uses.next().is_some_and(|first| {
            matches!(first.kind, Kind::Linear | Kind::Conv) && base(first) == base(layer) && first.call == 0
        });
        (!is_product)
            .then_some("has a weight that another operation uses before, which a factor would change too")
    }
}

/// The name of a layer without the first row of a slice.
fn base(layer: &TracedLayer) -> &str {
    layer.name.split_once('[').map_or(layer.name.as_str(), |(name, _)| name)
}

/// Gives each variable what it had, but those that were changed.
fn put_back(vars: &[(String, Var)], before: &[Tensor], is_changed: &[bool]) -> Result<()> {
    let is_changed = |index: usize| is_changed.get(index).copied().unwrap_or(false);
    let all = vars.iter().zip(before).enumerate().filter(|(index, _)| !is_changed(*index));
    // One that fails keeps no other from its numbers.
    let results: Vec<Result<()>> = all.map(|(_, ((_, var), before))| var.set(before)).collect();
    results.into_iter().collect()
}
