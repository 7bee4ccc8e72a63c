//! The layers that have parameters, in order, with what was found of each.

use std::collections::HashSet;

use anyhow::Result;
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::Serialize;
use wick_probe::{Kind, LayerReport, Reach, Trace, TracedLayer, summarize};
use wick_theory::Activation;

/// Whether the loss trains a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// The layer is on the way from its input to the loss.
    Seen,
    /// The loss reaches the layer, and not what comes before it.
    InputCut,
    /// No gradient comes to the layer's parameters.
    NotReached,
}

impl State {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::InputCut => "input cut",
            Self::NotReached => "not reached",
        }
    }
}

/// A call of a layer, or a layer that the loss does not reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) call: usize,
    pub(crate) state: State,
    /// The operation that is likely to have cut the layer's input, or the layer, off.
    pub(crate) by: Option<&'static str>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) parameters: Vec<String>,
    /// The shape of the first parameter.
    pub(crate) weight: Vec<usize>,
    /// The rest is of layers that the loss reaches.
    pub(crate) output: Option<Vec<usize>>,
    pub(crate) activation: Option<Activation>,
    pub(crate) std: Option<f64>,
    pub(crate) rms: Option<f64>,
    pub(crate) units: Option<usize>,
    /// The fraction of units that are the same for every sample.
    pub(crate) dead: Option<f64>,
    /// The fraction of units that equal another one.
    pub(crate) copies: Option<f64>,
    /// The rms over all numbers of the parameters' gradients.
    pub(crate) gradient_rms: Option<f64>,
    /// Whether the model works with a copy of the parameters from when it was built.
    pub(crate) stale: bool,
}

/// How many there are of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) parameters: usize,
    pub(crate) reached: usize,
    pub(crate) layers: usize,
    pub(crate) seen: usize,
    pub(crate) input_cut: usize,
    pub(crate) not_reached: usize,
    pub(crate) stale_parameters: usize,
}

pub(crate) fn counts(layers: &[Layer], reach: &Reach) -> Counts {
    let count = |state| layers.iter().filter(|layer| layer.state == state).count();
    Counts {
        parameters: reach.parameters,
        reached: reach.parameters - reach.unreached.len(),
        layers: layers.len(),
        seen: count(State::Seen),
        input_cut: count(State::InputCut),
        not_reached: count(State::NotReached),
        stale_parameters: reach.stale.len(),
    }
}

/// The layers in the order of execution, and then those that the loss does not reach, in the order of the variables.
pub(crate) fn rows(
    trace: &Trace,
    reports: &[LayerReport],
    vars: &[(String, Var)],
    gradients: Option<&GradStore>,
) -> Result<Vec<Layer>> {
    let reach = trace.reach();
    let var = |name: &str| vars.iter().find(|(known, _)| known == name).map(|(_, var)| var);
    let shape = |name: Option<&String>| name.and_then(|name| var(name)).map(|var| var.dims().to_vec());
    let mut rows = Vec::new();
    for (layer, report) in trace.layers().iter().zip(reports) {
        let cut = reach.cuts.iter().find(|cut| !cut.is_within && cut.at == layer.name);
        let of_gradients = layer.parameters.iter().filter_map(|name| gradients?.get(var(name)?));
        let is_stale = layer.is_stale || layer.parameters.iter().all(|name| reach.stale.contains(name));
        rows.push(Layer {
            name: layer.name.clone(),
            call: layer.call,
            state: if cut.is_some() { State::InputCut } else { State::Seen },
            by: cut.and_then(|cut| cut.by),
            kind: Some(kind(layer)),
            parameters: layer.parameters.clone(),
            weight: shape(layer.parameters.first()).unwrap_or_default(),
            output: Some(layer.output.dims().to_vec()),
            activation: layer.activation.as_ref().map(|(activation, _)| *activation),
            std: Some(report.std),
            rms: Some(report.rms),
            units: report.units,
            dead: report.constant,
            copies: report.copies,
            gradient_rms: rms(of_gradients)?,
            stale: is_stale,
        });
    }
    rows.extend(unreached(reach, shape));
    Ok(rows)
}

/// The layers of the parameters that no gradient comes to.
fn unreached(reach: &Reach, shape: impl Fn(Option<&String>) -> Option<Vec<usize>>) -> Vec<Layer> {
    let mut rows: Vec<Layer> = Vec::new();
    for parameter in &reach.unreached {
        let name = layer_name(parameter);
        if let Some(row) = rows.iter_mut().find(|row| row.name == name) {
            row.parameters.push(parameter.clone());
            continue;
        }
        rows.push(Layer {
            name: name.to_owned(),
            call: 0,
            state: State::NotReached,
            by: cut_of(reach, name),
            kind: None,
            parameters: vec![parameter.clone()],
            weight: Vec::new(),
            output: None,
            activation: None,
            std: None,
            rms: None,
            units: None,
            dead: None,
            copies: None,
            gradient_rms: None,
            stale: false,
        });
    }
    for row in &mut rows {
        row.parameters.sort_by_key(|name| !name.ends_with("weight"));
        row.weight = shape(row.parameters.first()).unwrap_or_default();
    }
    rows
}

/// The operation that is likely to have cut a layer off: that of the cut within the layer's module, else of the cut
/// whose name has the most parts in common, the first of several.
fn cut_of(reach: &Reach, name: &str) -> Option<&'static str> {
    let is_in = |module: &str| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'));
    if let Some(within) = reach.cuts.iter().find(|cut| cut.is_within && is_in(&cut.at)) {
        return within.by;
    }
    let common = |at: &str| at.split('.').zip(name.split('.')).take_while(|(a, b)| a == b).count();
    let most = reach.cuts.iter().map(|cut| common(&cut.at)).max();
    let nearest = reach.cuts.iter().find(|cut| Some(common(&cut.at)) == most);
    nearest.map_or_else(|| of_the_output(reach), |cut| cut.by)
}

/// Where no layer is reached, the output itself was cut off: by a norm, if the model has some.
pub(crate) fn of_the_output(reach: &Reach) -> Option<&'static str> {
    let norms = || reach.unreached.iter().filter(|name| name.to_lowercase().contains("norm"));
    norms().next()?;
    Some(match norms().any(|name| name.ends_with("bias") || name.ends_with("beta")) {
        true => "candle-nn's LayerNorm",
        false => "candle-nn's RmsNorm",
    })
}

/// The name of a parameter's layer.
fn layer_name(parameter: &str) -> &str {
    const KINDS: [&str; 6] = ["weight", "bias", "gamma", "beta", "scale", "kernel"];
    match parameter.rsplit_once('.') {
        Some((layer, last)) if KINDS.iter().any(|kind| last.contains(kind)) => layer,
        _ => parameter,
    }
}

fn kind(layer: &TracedLayer) -> &'static str {
    match layer.kind {
        Kind::Linear => "linear",
        Kind::Conv => "conv",
        Kind::Embedding => "embedding",
        Kind::Norm => "norm",
        _ => "other",
    }
}

/// The rms over all numbers of tensors; `None` without tensors.
fn rms<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<Option<f64>> {
    let (mut squares, mut count) = (0.0, 0.0);
    let mut seen = HashSet::new();
    for tensor in tensors.filter(|tensor| seen.insert(tensor.id())) {
        let (rms, numbers) = (summarize(tensor, None, 1)?.rms, tensor.elem_count() as f64);
        squares += rms * rms * numbers;
        count += numbers;
    }
    Ok((count > 0.0).then(|| (squares / count).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_without_the_kind_of_the_parameter() {
        for (parameter, layer) in [
            ("a.b.weight", "a.b"),
            ("a.LayerNorm.gamma", "a.LayerNorm"),
            ("a.conv.weight_g", "a.conv"),
            ("mixer.A_log", "mixer.A_log"),
            ("weight", "weight"),
        ] {
            assert_eq!(layer_name(parameter), layer);
        }
    }
}
