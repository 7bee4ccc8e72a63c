//! What kind of layer a parameter belongs to, by the shapes and the numbers of its first use.

use candle_core::{Result, Tensor, Var};

use super::entry::Entry;
use super::graph::Graph;
use super::layer::Kind;
use super::node::Role;
use super::product::is_convolution;
use super::table::Table;

/// The kind of a layer and the axis of its units.
pub(super) fn of(
    graph: &Graph,
    vars: &[(String, Var)],
    entries: &[Entry],
    output: usize,
) -> Result<(Kind, Option<usize>)> {
    let first = &entries[0];
    let weight = &graph.nodes[first.weight].tensor;
    let made = &graph.nodes[first.node].tensor;
    let rank = graph.nodes[output].tensor.rank();
    let (name, var) = &vars[first.parameters[0]];
    // A parameter that is added is spread to the shape of what it is added to.
    let is_spread = weight.dims() == made.dims()
        && weight.stride().last() == Some(&1)
        && (weight.rank() > 2 || weight.stride().contains(&0));
    let is_table = weight.rank() == 2 && weight.is_contiguous();
    let last = rank.checked_sub(1);
    Ok(match var.rank() {
        0 => (Kind::Other, last),
        1 => {
            let is_norm = ["norm", "bn", "ln"].iter().any(|word| name.to_lowercase().contains(word));
            let kind = if is_norm || entries.len() > 1 { Kind::Norm } else { Kind::Other };
            // The axis along which the view of the gains moves.
            let moves = |axis: &usize| weight.stride()[*axis] > 0 && weight.dims()[*axis] > 1;
            let axis = (0..weight.rank()).find(moves).filter(|_| weight.rank() == rank);
            (kind, axis.or(last))
        }
        _ if is_spread => (Kind::Other, last),
        2 if is_table && Table::of(weight, made)?.is_some() => (Kind::Embedding, last),
        2 if made.rank() >= 2 && made.dims().last() == weight.dims().last() => (Kind::Linear, last),
        2 if is_dense(graph, first) => (Kind::Linear, last),
        2 => (Kind::Other, last),
        3.. if graph.nodes[first.weight].role != Role::View || is_filter(weight, var) => {
            // A parameter that is added has the shape of what it is added to and is the same for all samples; so has a
            // filter of one channel whose outputs are as wide as it is.
            let is_like_added =
                made.rank() == var.rank() && var.dims()[0] == 1 && made.dims()[1..] == var.dims()[1..];
            let is_added = is_like_added && !is_convolution_of_any(graph, weight, first.node)?;
            if is_added { (Kind::Other, last) } else { (Kind::Conv, Some(1)) }
        }
        _ => (Kind::Linear, last),
    })
}

/// Whether an op takes a parameter `[outputs, inputs]` as it is, and an activation with as many inputs, and makes as many
/// outputs of them: a dense layer as one op.
fn is_dense(graph: &Graph, entry: &Entry) -> bool {
    let (weight, made) = (&graph.nodes[entry.weight], &graph.nodes[entry.node].tensor);
    let &[outputs, inputs] = weight.tensor.dims() else { return false };
    let arguments = graph.arguments(entry.node);
    let mut activations =
        arguments.iter().map(|index| &graph.nodes[*index]).filter(|node| !node.is_weight()).peekable();
    // The inputs of the first layer have no graph.
    let takes_inputs =
        activations.peek().is_none() || activations.any(|node| node.tensor.dims().last() == Some(&inputs));
    weight.role == Role::Parameter
        && arguments.contains(&entry.weight)
        && made.dims().last() == Some(&outputs)
        && takes_inputs
}

/// Whether a tensor is a convolution, with this weight, of an activation below it.
fn is_convolution_of_any(graph: &Graph, weight: &Tensor, made: usize) -> Result<bool> {
    for below in graph.below(made) {
        let node = &graph.nodes[below];
        if !node.is_weight() && is_convolution(weight, &node.tensor, &graph.nodes[made].tensor)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a view has the filters of a parameter, or a part of them, and is not transposed for a matrix product.
fn is_filter(weight: &Tensor, var: &Var) -> bool {
    weight.rank() == var.rank() && weight.dims()[1..] == var.dims()[1..] && weight.stride() == var.stride()
}
