//! Which layer made which tensor.

use std::collections::HashMap;

use candle_core::{Result, Var};

use super::entry::Entry;
use super::graph::Graph;
use super::layer::Kind;
use super::{again, kind};

/// Entries are confirmed up to this many steps along the graph.
const MOST_STEPS: usize = 500_000;

/// One call of a layer.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    /// How many calls of the same name came before.
    pub(super) number: usize,
    pub(super) entries: Vec<Entry>,
    /// The layer's output, before an activation.
    pub(super) output: usize,
    pub(super) kind: Kind,
    /// The axis of the units, where it is known.
    pub(super) axis: Option<usize>,
}

impl Call {
    /// The tensors that are made with the first parameter, and the weight of each.
    pub(super) fn uses(&self) -> Vec<(usize, usize)> {
        let first = self.entries.iter().filter(|entry| entry.parameters == self.entries[0].parameters);
        first.map(|entry| (entry.node, entry.weight)).collect()
    }

    /// The tensor that is made with the second parameter, as with a bias, and that parameter.
    pub(super) fn shift(&self) -> Option<(usize, usize)> {
        let other = self.entries.iter().find(|entry| entry.parameters != self.entries[0].parameters);
        other.map(|entry| (entry.node, entry.weight))
    }
}

/// The calls of all layers in the order of execution.
pub(super) fn calls(graph: &Graph, order: &[usize], vars: &[(String, Var)]) -> Result<Vec<Call>> {
    let mut entries: Vec<Entry> =
        (1..graph.nodes.len()).filter_map(|node| Entry::of(graph, node, node - 1)).collect();
    // A tensor of which all arguments were met before comes right after whatever was met last.
    if entries.len() * graph.nodes.len() <= MOST_STEPS {
        entries.retain(|entry| graph.below(entry.node).last() == Some(&entry.weight));
    }
    again::add(graph, order, vars, &mut entries)?;
    // An op that takes a weight and a bias has the weight first.
    let rank = |entry: &Entry| graph.nodes[entry.weight].tensor.rank();
    entries.sort_by_key(|entry| (graph.nodes[entry.node].number, std::cmp::Reverse(rank(entry))));
    let mut open: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(String, Vec<Entry>)> = Vec::new();
    for entry in entries {
        let name = layer_name(&entry.parameters, vars);
        let group = open.get(&name).filter(|group| continues(&groups[**group].1, &entry)).copied();
        if let Some(group) = group {
            groups[group].1.push(entry);
        } else {
            open.insert(name.clone(), groups.len());
            groups.push((name, vec![entry]));
        }
    }
    let mut calls = Vec::with_capacity(groups.len());
    for (name, entries) in groups {
        finish(graph, order, vars, &name, entries, &mut calls)?;
    }
    calls.sort_by_key(|call| graph.nodes[call.output].number);
    let mut counts: HashMap<String, usize> = HashMap::new();
    for call in &mut calls {
        let count = counts.entry(call.name.clone()).or_default();
        call.number = *count;
        *count += 1;
    }
    Ok(calls)
}

/// Whether an entry belongs to the call of a layer that is open: not if the call has it already, nor if it is another
/// slice of a parameter after which another parameter came, as those of query, key and value.
fn continues(call: &[Entry], entry: &Entry) -> bool {
    let same = |other: &&Entry| other.parameters == entry.parameters;
    let is_again = call.iter().filter(same).any(|other| other.offset == entry.offset);
    let is_other_slice =
        call.iter().any(|other| same(&other)) && call.last().is_some_and(|last| !same(&last));
    !is_again && !is_other_slice
}

/// The name of a layer: that of its parameters without `.weight`, `.bias` and their like.
fn layer_name(parameters: &[usize], vars: &[(String, Var)]) -> String {
    const KINDS: [&str; 6] = ["weight", "bias", "gamma", "beta", "scale", "kernel"];
    let short = |name: &str| match name.rsplit_once('.') {
        Some((layer, last)) if KINDS.iter().any(|kind| last.contains(kind)) => layer.to_owned(),
        _ => name.to_owned(),
    };
    let mut names = parameters.iter().map(|index| short(&vars[*index].0));
    let first = names.next().unwrap_or_default();
    // Of weights that are merged, as `w + b·a`, what their names have in common.
    names.fold(first, |common, name| {
        let parts = common.split('.').zip(name.split('.')).take_while(|(a, b)| a == b);
        let parts: Vec<&str> = parts.map(|(part, _)| part).collect();
        if parts.is_empty() { common } else { parts.join(".") }
    })
}

/// Makes a call, or one for each slice of a matrix that does the work of several.
fn finish(
    graph: &Graph,
    order: &[usize],
    vars: &[(String, Var)],
    name: &str,
    entries: Vec<Entry>,
    calls: &mut Vec<Call>,
) -> Result<()> {
    let slices = entries.iter().take_while(|entry| entry.parameters == entries[0].parameters).count();
    let after = |node: usize| {
        let number = graph.nodes[node].number;
        order.get(order.partition_point(|index| graph.nodes[*index].number <= number)).copied()
    };
    let elements = |node: usize| graph.nodes[node].tensor.elem_count();
    let joined = after(entries[slices - 1].node).filter(|next| {
        elements(*next) == entries[..slices].iter().map(|entry| elements(entry.node)).sum::<usize>()
    });
    if slices > 1 && joined.is_none() {
        let bias = entries[slices..].to_vec();
        for (index, entry) in entries[..slices].iter().enumerate() {
            let rows = graph.nodes[entry.weight].tensor.layout().stride().iter().max().copied().unwrap_or(1);
            let name = format!("{name}[{}]", entry.offset / rows.max(1));
            let mut own = vec![entry.clone()];
            own.extend(bias.iter().filter(|_| index + 1 == slices).cloned());
            finish(graph, order, vars, &name, own, calls)?;
        }
        return Ok(());
    }
    let mut output = entries.last().map_or(0, |entry| entry.node);
    if let Some(joined) = joined.filter(|_| slices > 1 && entries.len() == slices) {
        output = joined;
    }
    // `Linear` makes its product of a flat view, and shapes it back.
    if let Some(next) = after(output)
        && graph.nodes[next].address == graph.nodes[output].address
        && graph.nodes[next].tensor.is_contiguous()
        && elements(next) == elements(output)
        && graph.nodes[next].tensor.dims().last() == graph.nodes[output].tensor.dims().last()
    {
        output = next;
    }
    let (kind, axis) = kind::of(graph, vars, &entries, output)?;
    calls.push(Call { name: name.to_owned(), number: 0, entries, output, kind, axis });
    Ok(())
}
