//! Which activation follows a layer: found by what it makes of a few elements.

use candle_core::Result;
use wick_theory::Activation;

use super::graph::Graph;
use super::node::Role;
use super::sample::{elements, places, rounding};

/// Elements that are compared.
const PLACES: usize = 64;
/// How many tensors after a layer's output are looked at.
const NEAR: usize = 12;

/// What comes behind an output.
pub(super) enum Following {
    /// Nothing that is known as an activation.
    None,
    /// An activation, and the tensor that it makes.
    Known(Activation, usize),
    /// A new tensor with the same numbers up to rounding, as a tanh makes of small pre-activations, or with one number,
    /// as a relu makes of negative ones. The places have
    /// the numbers before and after.
    Unclear { node: usize, before: Vec<f64>, after: Vec<f64>, tolerance: f64 },
}

impl Following {
    /// The activation, where the numbers of an unclear one may be those of what the other layers have.
    pub(super) fn or_as(self, others: Option<Activation>) -> Option<(Activation, usize)> {
        match self {
            Self::None => None,
            Self::Known(activation, node) => Some((activation, node)),
            Self::Unclear { node, before, after, tolerance } => {
                let fits = |other: &Activation| error(*other, &before, &after) <= tolerance;
                others.filter(fits).map(|other| (other, node))
            }
        }
    }
}

/// The activation behind an output. Of several, as the sigmoid within a `silu` that is written out, the last one
/// counts. Tensors from the number `end` on belong to the next layer.
pub(super) fn following(graph: &Graph, order: &[usize], output: usize, end: usize) -> Result<Following> {
    let node = &graph.nodes[output];
    let places = places(node.tensor.elem_count(), PLACES);
    let before = elements(&node.tensor, &places)?;
    let at = order.partition_point(|index| graph.nodes[*index].number <= node.number);
    let mut found = Following::None;
    // A head of zeros, as it may start, has the same numbers behind anything.
    let is_zero_head = end == usize::MAX && before.iter().all(|x| *x == 0.0);
    for &index in order[at..].iter().take(NEAR) {
        let later = &graph.nodes[index];
        if later.number >= end {
            break;
        }
        let is_same_size = later.tensor.elem_count() == node.tensor.elem_count();
        let is_view = later.address == node.address;
        if later.role == Role::Activation && is_same_size && !is_view {
            let after = elements(&later.tensor, &places)?;
            let tolerance = rounding(later.tensor.dtype()).max(rounding(node.tensor.dtype()));
            if let Some(activation) = between(&before, &after, tolerance) {
                found = Following::Known(activation, index);
            } else if matches!(found, Following::None)
                && !is_zero_head
                && (!varies(&after) || error(Activation::Identity, &before, &after) <= tolerance)
            {
                found = Following::Unclear { node: index, before: before.clone(), after, tolerance };
            }
        }
    }
    Ok(found)
}

/// The activation that makes `after` of `before`, if one does. Numbers that do not vary, or on which an activation
/// does nothing, tell none.
fn between(before: &[f64], after: &[f64], tolerance: f64) -> Option<Activation> {
    if !varies(after) || error(Activation::Identity, before, after) <= tolerance {
        return None;
    }
    let candidates = Activation::ALL.into_iter().map(|activation| fitted(activation, before, after));
    let (error, best) = candidates
        .map(|activation| (error(activation, before, after), activation))
        .min_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (error <= tolerance.max(1e-5) && best != Activation::Identity).then_some(best)
}

fn varies(numbers: &[f64]) -> bool {
    numbers.iter().any(|x| *x != numbers[0])
}

/// The largest difference between what an activation makes and what was made, relative to the larger of the
/// activation's input and output, of inputs up to 1.
fn error(activation: Activation, before: &[f64], after: &[f64]) -> f64 {
    let of = |(x, y): (&f64, &f64)| {
        let expected = activation.value(*x);
        let scale = expected.abs().max(x.abs().min(1.0)).max(f64::MIN_POSITIVE);
        let error = (y - expected).abs() / scale;
        if error.is_finite() { error } else { f64::INFINITY }
    };
    before.iter().zip(after).map(of).fold(0.0, f64::max)
}

/// An activation with the parameter that fits the most negative element.
fn fitted(activation: Activation, before: &[f64], after: &[f64]) -> Activation {
    let lowest = before.iter().zip(after).min_by(|a, b| a.0.total_cmp(b.0));
    let Some((x, y)) = lowest.filter(|(x, _)| **x < 0.0) else { return activation };
    match activation {
        // A slope of 0 or 1 is another activation.
        Activation::LeakyRelu { .. } if *y < 0.0 && y > x => Activation::LeakyRelu { slope: round(y / x) },
        Activation::Elu { .. } if *y < 0.0 => Activation::Elu { alpha: round(y / x.exp_m1()) },
        _ => activation,
    }
}

/// A parameter as it was written: four digits.
fn round(parameter: f64) -> f64 {
    let rounded = format!("{parameter:.3e}").parse().unwrap_or(parameter);
    if f64::abs(rounded - parameter) < 1e-4 * parameter.abs() { rounded } else { parameter }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each activation is found from 64 numbers, its parameter too; a scale, a shift and noise are none.
    #[test]
    fn every_activation_is_told_from_the_others() {
        let before: Vec<f64> = (0..64).map(|i| f64::from((i * 37 % 64) as f32 * 0.11 - 3.3)).collect();
        let others = [Activation::LeakyRelu { slope: 0.2 }, Activation::Elu { alpha: 0.5 }];
        for activation in Activation::ALL.into_iter().chain(others) {
            let after: Vec<f64> = before.iter().map(|x| f64::from(activation.value(*x) as f32)).collect();
            let expected = Some(activation).filter(|activation| *activation != Activation::Identity);
            assert_eq!(between(&before, &after, 2e-6), expected);
        }
        for change in [|x: f64| 0.5 * x, |x: f64| x + 1.0, |x: f64| x.max(0.0) + 1e-3 * x.sin(), |_| 0.5] {
            let after: Vec<f64> = before.iter().map(|x| change(*x)).collect();
            assert_eq!(between(&before, &after, 2e-6), None);
        }
    }
}
