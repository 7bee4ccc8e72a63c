//! Which parameters a loss can train.

use std::collections::{HashMap, HashSet};
use std::fmt;

use candle_core::{Result, Tensor, Var};

use super::attribution::Call;
use super::graph::{Graph, Mark, number};
use super::layer::{Kind, TracedLayer};
use super::node::{Node, Role};
use super::product::{is_convolution, is_product};
use crate::diagnose::fault::{Fault, Level, Verdict};

/// A place where the graph ends although variables come before it: what is before gets no gradient along this way,
/// and where another way goes round it, a wrong one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The layer whose input was cut, or the module within which it was, between two activations.
    pub at: String,
    /// Whether the cut is within the module, and not before the layer.
    pub is_within: bool,
    /// The operation that is likely to have cut it, as far as names tell.
    pub by: Option<&'static str>,
}

/// Which parameters a loss can train, found without a backward pass.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reach {
    /// How many parameters there are. Running statistics do not count.
    pub parameters: usize,
    /// The parameters that get no gradient, in the order of the variables.
    pub unreached: Vec<String>,
    /// Where the graph is cut, as far as layers and names tell; layers in the order of execution.
    pub cuts: Vec<Cut>,
    /// Parameters that are reached only through a copy that the model made when it was built: a gradient comes to
    /// them, and no step changes what the model does. Empty where the trace had no [`Mark`].
    pub stale: Vec<String>,
    /// Whether copies were looked for.
    pub is_marked: bool,
}

impl Reach {
    pub(super) fn of(
        mark: Option<&Mark>,
        graph: &Graph,
        calls: &[Call],
        layers: &[TracedLayer],
        vars: &[(String, Var)],
    ) -> Result<Self> {
        let reached: HashSet<usize> = graph
            .nodes
            .iter()
            .filter(|node| node.role == Role::Parameter)
            .flat_map(|node| node.parameters.iter().copied())
            .collect();
        // One variable may have several names.
        let mut first: HashMap<usize, usize> = HashMap::new();
        for (index, (_, var)) in vars.iter().enumerate() {
            first.entry(number(var.id())).or_insert(index);
        }
        let reached: HashSet<usize> =
            (0..vars.len()).filter(|index| reached.contains(&first[&number(vars[*index].1.id())])).collect();
        let is_counted = |name: &str, index: usize| reached.contains(&index) || !is_statistic(name);
        let counted = vars.iter().enumerate().filter(|(index, (name, _))| is_counted(name, *index));
        let unreached: Vec<String> = counted
            .clone()
            .filter(|(index, _)| !reached.contains(index))
            .map(|(_, (name, _))| name.clone())
            .collect();
        let widths: HashSet<usize> = vars
            .iter()
            .filter(|(name, _)| unreached.contains(name))
            .flat_map(|(name, var)| {
                // A table is as wide as its rows.
                let is_table = var.rank() == 2 && name.to_lowercase().contains("emb");
                var.dims().get(usize::from(is_table)).copied()
            })
            .collect();
        let cuts = cuts(graph, layers, &unreached, &widths)?;
        let used = live(graph, calls);
        let copied = graph.nodes.iter().filter(|node| node.role == Role::Stale);
        let copied: HashSet<usize> = copied.flat_map(|node| node.parameters.iter().copied()).collect();
        let mut stale: Vec<usize> = copied.difference(&used).copied().collect();
        stale.sort_unstable();
        Ok(Self {
            parameters: counted.count(),
            unreached,
            cuts,
            stale: stale.into_iter().map(|index| vars[index].0.clone()).collect(),
            is_marked: mark.is_some(),
        })
    }

    /// A verdict on what no whole gradient, or no step, reaches: of the first parameter, or of the first cut. It is
    /// broken if nothing is reached, or behind a cut.
    pub fn verdict(&self) -> Option<Verdict> {
        let of_parameter = self.unreached.first().or(self.stale.first());
        let layer = of_parameter.map(|name| name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer));
        let layer = layer.or(self.cuts.first().map(|cut| cut.at.as_str()))?;
        let missing = self.unreached.len() + self.stale.len();
        let is_broken = !self.cuts.is_empty() || missing == self.parameters || !self.stale.is_empty();
        let level = if is_broken { Level::Broken } else { Level::Faulty };
        Some(Verdict::new(Fault::VanishingGradient, level, layer, missing as f64, self.to_string()))
    }

    /// Whether every parameter is reached by a whole gradient, and by a step.
    pub fn is_complete(&self) -> bool {
        self.unreached.is_empty() && self.cuts.is_empty() && self.stale.is_empty()
    }
}

/// The parameters whose own numbers enter the pass.
fn live(graph: &Graph, calls: &[Call]) -> HashSet<usize> {
    let entries = calls.iter().flat_map(|call| &call.entries);
    let live = entries.filter(|entry| graph.nodes[entry.weight].role != Role::Stale);
    live.flat_map(|entry| entry.parameters.iter().copied()).collect()
}

/// Whether a name is that of a statistic, which no gradient moves.
fn is_statistic(name: &str) -> bool {
    ["running_mean", "running_var", "num_batches_tracked"].iter().any(|statistic| name.ends_with(statistic))
}

/// All that is below each layer is gone through, up to this many steps along the graph.
const MOST_STEPS: usize = 500_000;

const LAYER_NORM: &str = "candle-nn's LayerNorm";
const RMS_NORM: &str = "candle-nn's RmsNorm";
const CACHE: &str = "candle-nn's KvCache";
const SOFTMAX: &str = "candle-nn's softmax_last_dim, rope or sdpa";

/// The layers that have no argument but their weight, and are not the first one; and the modules of which query and
/// key are not reached, although the value is.
fn cuts(
    graph: &Graph,
    layers: &[TracedLayer],
    unreached: &[String],
    unreached_widths: &HashSet<usize>,
) -> Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        // A layer has the data for its input, if no parameter that is not reached has outputs as wide, and no tensor
        // before it has these numbers; so has a recurrent one whose state starts as zeros, or whose input comes from
        // outside in each call.
        let width = input_width(graph, layer);
        let calls = || layers.iter().filter(|other| other.name == layer.name);
        let may_be_cut = index > 0 && layer.call == 0 && width.is_some();
        if may_be_cut && !has_input(graph, layer, layers.len())? {
            let mut has_any = false;
            for call in calls() {
                has_any = has_any || has_input(graph, call, layers.len())?;
            }
            let fits = width.is_some_and(|width| unreached_widths.contains(&width));
            if !has_any && (fits || has_numbers_from_before(graph, layer)?) {
                let by = suspect(&layer.name, unreached);
                cuts.push(Cut { at: layer.name.clone(), is_within: false, by });
            }
        }
    }
    let mut modules: Vec<&str> = Vec::new();
    for name in unreached {
        let Some((module, _)) = attention(name).filter(|(_, part)| *part != Part::Value) else { continue };
        let of_value = |other: &&String| attention(other) == Some((module, Part::Value));
        if !modules.contains(&module) && !unreached.iter().any(|other| of_value(&other)) {
            modules.push(module);
        }
    }
    let within = |module: &&str| Cut { at: (*module).to_owned(), is_within: true, by: Some(SOFTMAX) };
    // Where an input is cut, its query is not reached either way.
    let is_explained = |module: &str| cuts.iter().any(|cut| cut.at.starts_with(module));
    let softmax: Vec<Cut> = modules.iter().filter(|module| !is_explained(module)).map(within).collect();
    cuts.extend(softmax);
    // Where nothing else tells why parameters are not reached, what is seen first may be behind a cut.
    if let ([], Some(first)) = (&cuts[..], layers.first()) {
        let fits = input_width(graph, first).is_some_and(|width| unreached_widths.contains(&width));
        if fits && !has_input(graph, first, layers.len())? {
            let by = suspect(&first.name, unreached);
            cuts.push(Cut { at: first.name.clone(), is_within: false, by });
        }
    }
    Ok(cuts)
}

/// Whether a layer's input has the numbers of a tensor before it, or of what an operation without parameters and
/// without a backward pass makes of one: then the graph was cut between them.
fn has_numbers_from_before(graph: &Graph, layer: &TracedLayer) -> Result<bool> {
    const NEAR: usize = 64;
    let (node, weight) = layer.uses[0];
    let number = graph.nodes[node].number;
    let [made, weight] = [node, weight].map(|node| &graph.nodes[node].tensor);
    let is_before = |other: &&Node| other.role == Role::Activation && other.number < number;
    let mut before: Vec<&Node> = graph.nodes.iter().filter(is_before).collect();
    before.sort_by_key(|node| std::cmp::Reverse(node.number));
    for node in before.into_iter().take(NEAR) {
        let tensor = node.tensor.detach();
        let could_be = match layer.kind {
            Kind::Linear => tensor.dims().last() == weight.dims().first() && tensor.rank() > 0,
            Kind::Conv => tensor.rank() == weight.rank() && tensor.dims()[1] == weight.dims()[1],
            _ => false,
        };
        if !could_be || !tensor.dtype().is_float() {
            continue;
        }
        let last = tensor.rank() - 1;
        let softmax = || {
            let powers = tensor.broadcast_sub(&tensor.max_keepdim(last)?)?.exp()?;
            powers.broadcast_div(&powers.sum_keepdim(last)?)
        };
        type Made<'m> = &'m dyn Fn() -> Result<Tensor>;
        let all: [Made; 5] =
            [&|| Ok(tensor.clone()), &softmax, &|| tensor.round(), &|| tensor.floor(), &|| tensor.sign()];
        for input in all {
            let is_it = match layer.kind {
                Kind::Linear => is_product(weight, &input()?, made)?,
                _ => is_convolution(weight, &input()?, made)?,
            };
            if is_it {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The number of units of a layer's input, of layers that have one.
fn input_width(graph: &Graph, layer: &TracedLayer) -> Option<usize> {
    let dims = graph.nodes[layer.uses[0].1].tensor.dims();
    match layer.kind {
        Kind::Linear => dims.len().checked_sub(2).map(|axis| dims[axis]),
        Kind::Conv => dims.get(1).map(|channels| channels * layer.uses.len()),
        Kind::Norm => layer.axis.and_then(|axis| layer.output.dims().get(axis)).copied(),
        _ => None,
    }
}

/// Whether the input of a layer depends on a variable. In a large graph it is taken to, if the tensor that comes before
/// the weight in the graph's order has the numbers of the input: that does not see a `detach` of the same numbers.
fn has_input(graph: &Graph, layer: &TracedLayer, layers: usize) -> Result<bool> {
    let (node, weight) = layer.uses[0];
    let before = graph.nodes[..weight].iter().rev().find(|node| !node.is_weight());
    if let Some(before) = before.filter(|_| layers * graph.nodes.len() > MOST_STEPS) {
        let [made, weight, before] = [&graph.nodes[node].tensor, &graph.nodes[weight].tensor, &before.tensor];
        let is_input = match layer.kind {
            Kind::Linear => is_product(weight, before, made)?,
            Kind::Conv => is_convolution(weight, before, made)?,
            Kind::Norm => before.dims() == made.dims(),
            _ => false,
        };
        if is_input {
            return Ok(true);
        }
    }
    Ok(graph.below(node).iter().any(|node| !graph.nodes[*node].is_weight()))
}

/// A part of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Query,
    Key,
    Value,
}

/// The module of a parameter of an attention, and which part the parameter is of.
fn attention(name: &str) -> Option<(&str, Part)> {
    let (layer, _) = name.rsplit_once('.')?;
    let (module, last) = layer.rsplit_once('.')?;
    let part = match last {
        "q" | "q_proj" | "query" | "to_q" | "q_lin" => Part::Query,
        "k" | "k_proj" | "key" | "to_k" | "k_lin" => Part::Key,
        "v" | "v_proj" | "value" | "to_v" | "v_lin" => Part::Value,
        _ => return None,
    };
    Some((module, part))
}

/// The operation that is likely to have cut a layer's input, by the names of what is not reached.
fn suspect(layer: &str, unreached: &[String]) -> Option<&'static str> {
    let parent = layer.rsplit_once('.').map_or("", |(parent, _)| parent);
    let is_value_beside = |name: &&String| {
        attention(name).is_some_and(|(module, part)| part == Part::Value && module == parent)
    };
    if !parent.is_empty() && unreached.iter().any(|name| is_value_beside(&name)) {
        return Some(CACHE);
    }
    let is_norm = |name: &&String| ["norm", "ln"].iter().any(|word| name.to_lowercase().contains(word));
    let norms: Vec<&String> = unreached.iter().filter(is_norm).collect();
    match norms.iter().any(|name| name.ends_with("bias")) {
        true => Some(LAYER_NORM),
        false => (!norms.is_empty()).then_some(RMS_NORM),
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = self.parameters - self.unreached.len();
        if self.unreached.is_empty() {
            write!(f, "the loss reaches all {} parameters", self.parameters)?;
        } else {
            write!(f, "the loss reaches {reached} of {} parameters: no gradient comes to ", self.parameters)?;
            names(f, &self.unreached)?;
        }
        for (is_within, place) in [(false, "before"), (true, "within")] {
            let cuts: Vec<&Cut> = self.cuts.iter().filter(|cut| cut.is_within == is_within).collect();
            if cuts.is_empty() {
                continue;
            }
            write!(f, "; the graph is cut {place} ")?;
            names(f, &cuts.iter().map(|cut| cut.at.clone()).collect::<Vec<_>>())?;
            let mut by: Vec<&str> = cuts.iter().filter_map(|cut| cut.by).collect();
            by.sort_unstable();
            by.dedup();
            if !by.is_empty() {
                write!(f, ", as by {}", by.join(" and by "))?;
            }
        }
        if !self.cuts.is_empty() && reached > 0 {
            write!(f, "; what comes before a cut and gets a gradient gets a part of it")?;
        }
        if !self.stale.is_empty() {
            write!(f, "; the model works with copies of ")?;
            names(f, &self.stale)?;
            write!(
                f,
                " from before this pass: if they were made when it was built, no step changes what it does; a state \
                 that is carried over has to be detached"
            )?;
        }
        Ok(())
    }
}

/// Some names, and how many more there are.
fn names(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    const MOST: usize = 4;
    let mut different: Vec<String> = Vec::new();
    for name in names {
        if !different.contains(name) {
            different.push(name.clone());
        }
    }
    let names = different;
    let shown = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST + 1) {
        Some(more) => write!(f, "{shown} and {} more", more + 1),
        None => write!(f, "{shown}"),
    }
}
