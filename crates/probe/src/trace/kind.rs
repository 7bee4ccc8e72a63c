//! What kind of layer a parameter belongs to, by the shapes and the numbers of its first use.

use candle_core::{Result, Tensor, Var};

use super::attribution::Entry;
use super::graph::{Graph, Role};
use super::layer::Kind;
use super::sample::elements;

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
    let is_vector = var.dims().iter().max() == Some(&var.elem_count());
    // A parameter that is added is spread to the shape of what it is added to.
    let is_spread = weight.dims() == made.dims() && weight.stride().last() == Some(&1) && weight.rank() > 2;
    Ok(match var.rank() {
        _ if is_vector => {
            let is_norm = ["norm", "bn", "ln"].iter().any(|word| name.to_lowercase().contains(word));
            let kind = if is_norm || entries.len() > 1 { Kind::Norm } else { Kind::Other };
            // The axis along which the view of the gains moves.
            let moves = |axis: &usize| weight.stride()[*axis] > 0 && weight.dims()[*axis] > 1;
            let axis = (0..weight.rank()).find(moves).filter(|_| weight.rank() == rank);
            (kind, axis.or(rank.checked_sub(1)))
        }
        _ if is_spread => (Kind::Other, rank.checked_sub(1)),
        2 if is_lookup(weight, made)? => (Kind::Embedding, rank.checked_sub(1)),
        2 if made.rank() >= 2 => (Kind::Linear, rank.checked_sub(1)),
        3.. if graph.nodes[first.weight].role != Role::View || is_filter(weight, var) => {
            // A parameter that is added has the shape of what it is added to, up to the samples.
            let is_added = made.rank() == var.rank() && made.dims()[1..] == var.dims()[1..];
            if is_added { (Kind::Other, rank.checked_sub(1)) } else { (Kind::Conv, Some(1)) }
        }
        3.. => (Kind::Linear, rank.checked_sub(1)),
        _ => (Kind::Other, rank.checked_sub(1)),
    })
}

/// Whether a view has the filters of a parameter, or a part of them, and is not transposed for a matrix product.
fn is_filter(weight: &Tensor, var: &Var) -> bool {
    weight.rank() == var.rank() && weight.dims()[1..] == var.dims()[1..] && weight.stride() == var.stride()
}

/// Whether the first and the last row are rows of the table.
fn is_lookup(table: &Tensor, made: &Tensor) -> Result<bool> {
    let (Ok((rows, width)), Some(&last)) = (table.dims2(), made.dims().last()) else { return Ok(false) };
    if last != width || made.elem_count() < width || width == 0 {
        return Ok(false);
    }
    let count = made.elem_count() / width;
    for row in [0, count - 1] {
        let start = elements(made, &[row * width])?[0];
        let columns: Vec<usize> = (0..rows).map(|row| row * width).collect();
        let of_made = elements(made, &(0..width).map(|i| row * width + i).collect::<Vec<_>>())?;
        let starts = elements(table, &columns)?;
        let mut same = starts.iter().enumerate().filter(|(_, x)| **x == start);
        let is_row = same.any(|(row, _)| {
            let of_table = elements(table, &(0..width).map(|i| row * width + i).collect::<Vec<_>>());
            of_table.is_ok_and(|of_table| of_table == of_made)
        });
        if !is_row {
            return Ok(false);
        }
    }
    Ok(true)
}
