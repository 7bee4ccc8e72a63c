//! Parameters that enter where the graph's order does not show it: a second use of a bare variable, and a weight
//! that is its operation's first argument.

use std::collections::{HashMap, HashSet};

use candle_core::{Result, Var};

use super::entry::Entry;
use super::graph::Graph;
use super::node::Role;
use super::product::{is_convolution, is_product};
use super::table::Table;

/// Steps along the graph that the search for weights that are first arguments may take.
const MOST_STEPS: usize = 50_000;

/// Adds the entries that are found.
pub(super) fn add(
    graph: &Graph,
    order: &[usize],
    vars: &[(String, Var)],
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let mut known: HashSet<usize> = entries.iter().map(|entry| entry.node).collect();
    second_uses(graph, vars, entries, &mut known)?;
    first_arguments(graph, order, entries);
    Ok(())
}

/// Tables that are looked up again, and convolutions that are used again, by the numbers that they make: a variable
/// that was met before leaves no mark in the order.
fn second_uses(
    graph: &Graph,
    vars: &[(String, Var)],
    entries: &mut Vec<Entry>,
    known: &mut HashSet<usize>,
) -> Result<()> {
    let bare: Vec<Entry> =
        entries.iter().filter(|entry| graph.nodes[entry.weight].role == Role::Parameter).cloned().collect();
    let unknown = Unknown::of(graph, known);
    for first in bare {
        // What only looks at a use has its storage.
        let mut addresses = HashSet::from([graph.nodes[first.node].address]);
        let (var, made) = (&vars[first.parameters[0]].1, &graph.nodes[first.node].tensor);
        let mut check = |nodes: &[usize], is_used_again: &dyn Fn(usize) -> Result<bool>| -> Result<()> {
            for &node in nodes.iter().filter(|node| **node > first.node) {
                let is_new = !addresses.contains(&graph.nodes[node].address) && !known.contains(&node);
                if is_new && is_used_again(node)? {
                    known.insert(node);
                    addresses.insert(graph.nodes[node].address);
                    entries.push(Entry { node, ..first.clone() });
                }
            }
            Ok(())
        };
        let before = |node: usize| &graph.nodes[node - 1].tensor;
        match *var.dims() {
            [_, width] => match Table::of(var, made)? {
                Some(table) => {
                    // A copy of what was looked up has more behind it than the table.
                    let is_lookup =
                        |node| graph.below(node).iter().all(|below| graph.nodes[*below].is_weight());
                    let makes = |node: usize| Ok(table.makes(&graph.nodes[node].tensor)? && is_lookup(node));
                    check(unknown.with_width(width), &makes)?;
                }
                None => check(unknown.with_width(width), &|node| {
                    is_product(var, before(node), &graph.nodes[node].tensor)
                })?,
            },
            [channels, _, _] | [channels, _, _, _] => check(unknown.with_channels(channels), &|node| {
                is_convolution(var, before(node), &graph.nodes[node].tensor)
            })?,
            _ => {}
        }
    }
    Ok(())
}

/// Activations of which no parameter is known, by the sizes of their units' axes.
struct Unknown {
    by_width: HashMap<usize, Vec<usize>>,
    by_channels: HashMap<usize, Vec<usize>>,
}

impl Unknown {
    fn of(graph: &Graph, known: &HashSet<usize>) -> Self {
        let mut unknown = Self { by_width: HashMap::new(), by_channels: HashMap::new() };
        for (index, node) in graph.nodes.iter().enumerate().skip(1) {
            if node.role != Role::Activation || known.contains(&index) {
                continue;
            }
            let dims = node.tensor.dims();
            if let [.., width] = dims {
                unknown.by_width.entry(*width).or_default().push(index);
            }
            if let [_, channels, _] | [_, channels, _, _] = dims {
                unknown.by_channels.entry(*channels).or_default().push(index);
            }
        }
        unknown
    }

    fn with_width(&self, width: usize) -> &[usize] {
        self.by_width.get(&width).map_or(&[], Vec::as_slice)
    }

    fn with_channels(&self, channels: usize) -> &[usize] {
        self.by_channels.get(&channels).map_or(&[], Vec::as_slice)
    }
}

/// Weights of which no entry is known: the first tensor after them that has them as an argument.
fn first_arguments(graph: &Graph, order: &[usize], entries: &mut Vec<Entry>) {
    let entered: HashSet<usize> = entries.iter().flat_map(|entry| entry.parameters.clone()).collect();
    let mut budget = MOST_STEPS;
    for (weight, node) in graph.nodes.iter().enumerate() {
        let is_open = node.parameters.iter().any(|parameter| !entered.contains(parameter));
        if !node.is_weight() || !is_open {
            continue;
        }
        // A variable is older than the pass: what it makes is behind it in the graph's order.
        let candidates = if node.role == Role::Parameter {
            (weight + 1..graph.nodes.len()).collect()
        } else {
            let at = order.partition_point(|index| graph.nodes[*index].number <= node.number);
            order[at..].to_vec()
        };
        let made =
            candidates.into_iter().filter(|node| graph.nodes[*node].role == Role::Activation).find(|made| {
                // The walk is as long as the tensors before the candidate are many.
                let is_within = budget >= *made;
                budget = budget.saturating_sub(*made);
                is_within && graph.arguments(*made).contains(&weight)
            });
        if let Some(made) = made {
            entries.extend(Entry::of(graph, made, weight));
        }
    }
}
