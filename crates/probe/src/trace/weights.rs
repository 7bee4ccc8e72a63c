//! Which tensors are made of weights alone. candle does not show the operation that made a tensor, and an
//! argument that is no variable is not in its graph: so it is tried whether weights make these numbers.

use candle_core::{Result, Tensor};

use super::node::{Node, Role};
use super::product::{indices, position};
use super::sample::{are_close, elements, places, rounding};

/// Elements that are compared.
const PLACES: usize = 32;
/// How many weights before a tensor are tried.
const NEAR: usize = 12;
/// The longest sum or product that is tried.
const LONGEST: usize = 1 << 16;

/// The parameters that a tensor is made of, if the weights that come right before it make it, and whether it is made
/// of stale copies alone.
pub(super) fn made_of(
    before: &[Node],
    tensor: &Tensor,
    address: usize,
) -> Result<Option<(Role, Vec<usize>)>> {
    let role = |sources: &[&Node]| {
        if sources.iter().all(|node| node.role == Role::Stale) { Role::Stale } else { Role::Derived }
    };
    let near: Vec<&Node> = before.iter().rev().take_while(|node| node.is_weight()).take(NEAR).collect();
    let Some(last) = near.first().filter(|_| tensor.elem_count() > 0) else { return Ok(None) };
    // A view of a tensor of weights.
    if let Some(node) = near.iter().find(|node| node.address == address) {
        return Ok(Some((role(&[node]), node.parameters.clone())));
    }
    let places = places(tensor.elem_count(), PLACES);
    let mut numbers = None;
    let mut numbers = || -> Result<Vec<f64>> {
        if numbers.is_none() {
            numbers = Some(elements(tensor, &places)?);
        }
        Ok(numbers.clone().unwrap_or_default())
    };
    for node in &near {
        let weight = &node.tensor;
        let tolerance = rounding(tensor.dtype()).max(rounding(weight.dtype()));
        if weight.dims() == tensor.dims() {
            let (from, to) = (elements(weight, &places)?, numbers()?);
            let is_made = if is_constant(&from) {
                is_constant(&to) && may_be_constant(node)
            } else {
                is_affine(&from, &to, tolerance) || is_function(&from, &to, tolerance)
            };
            if is_made {
                return Ok(Some((role(&[node]), node.parameters.clone())));
            }
        } else if let Some(sizes) = reduced(weight.dims(), tensor.dims()).filter(|_| weight.is_contiguous())
            && is_reduction(weight, tensor, &sizes, tolerance)?
        {
            return Ok(Some((role(&[node]), node.parameters.clone())));
        }
    }
    for other in near.iter().skip(1) {
        for (a, b) in [(*last, *other), (*other, *last)] {
            if is_pair(&a.tensor, &b.tensor, tensor, &places)? {
                let mut parameters = [&a.parameters[..], &b.parameters[..]].concat();
                parameters.sort_unstable();
                parameters.dedup();
                return Ok(Some((role(&[a, b]), parameters)));
            }
        }
    }
    Ok(None)
}

fn is_constant(numbers: &[f64]) -> bool {
    numbers.iter().all(|x| *x == numbers[0])
}

/// Whether a constant that follows a constant weight is taken for one that is made of it: of the gains of a norm,
/// and of what is known to be made of weights. The outputs of a layer of zeros are constant too.
fn may_be_constant(weight: &Node) -> bool {
    let is_vector = weight.tensor.dims().iter().max() == Some(&weight.tensor.elem_count());
    weight.role == Role::Derived || (weight.role == Role::Parameter && is_vector)
}

/// Whether all pairs are on one line, as those of `1 + w`, of a cast and of a copy are.
fn is_affine(from: &[f64], to: &[f64], tolerance: f64) -> bool {
    let low = (0..from.len()).min_by(|a, b| from[*a].total_cmp(&from[*b]));
    let high = (0..from.len()).max_by(|a, b| from[*a].total_cmp(&from[*b]));
    let (Some(low), Some(high)) = (low, high) else { return false };
    let slope = if from[high] > from[low] { (to[high] - to[low]) / (from[high] - from[low]) } else { 0.0 };
    // Few points are on a line by chance: of such, a shift and a copy count.
    if from.len() < 4 && (slope - 1.0).abs() > tolerance {
        return false;
    }
    let line: Vec<f64> = from.iter().map(|x| to[low] + slope * (x - from[low])).collect();
    are_close(to, &line, tolerance)
}

/// Whether a function of one number makes the pairs.
fn is_function(from: &[f64], to: &[f64], tolerance: f64) -> bool {
    const FUNCTIONS: [fn(f64) -> f64; 11] = [
        |x| x * x,
        f64::sqrt,
        f64::exp,
        f64::abs,
        f64::tanh,
        f64::ln,
        f64::recip,
        |x| 1.0 / x.sqrt(),
        |x| 1.0 / (1.0 + (-x).exp()),
        |x| x.exp().ln_1p(),
        |x| -x.exp(),
    ];
    let is_one = |function: &fn(f64) -> f64| {
        let made: Vec<f64> = from.iter().map(|x| function(*x)).collect();
        are_close(to, &made, tolerance.max(1e-5))
    };
    FUNCTIONS.iter().any(is_one)
}

/// The dimensions over which a sum that keeps them goes from one shape to the other.
fn reduced(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let is_one = from.len() == to.len() && from.iter().zip(to).all(|(from, to)| from == to || *to == 1);
    is_one.then(|| (0..from.len()).filter(|dim| from[*dim] != to[*dim]).collect())
}

/// Whether the first elements of a tensor are sums, means or largest elements of a weight.
fn is_reduction(weight: &Tensor, tensor: &Tensor, dims: &[usize], tolerance: f64) -> Result<bool> {
    let length: usize = dims.iter().map(|dim| weight.dims()[*dim]).product();
    if length > LONGEST {
        return Ok(false);
    }
    let count = tensor.elem_count().min(4);
    let to = elements(tensor, &(0..count).collect::<Vec<_>>())?;
    let mut sums = [Vec::new(), Vec::new(), Vec::new()];
    for place in 0..count {
        let mut at = indices(place, tensor.dims());
        let mut from = Vec::with_capacity(length);
        for mut rest in 0..length {
            for dim in dims {
                (at[*dim], rest) = (rest % weight.dims()[*dim], rest / weight.dims()[*dim]);
            }
            from.push(position(&at, weight.dims()));
        }
        let from = elements(weight, &from)?;
        let sum: f64 = from.iter().sum();
        sums[0].push(sum);
        sums[1].push(sum / length as f64);
        sums[2].push(from.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    }
    let is_one = |sums: &Vec<f64>| are_close(&to, sums, 100.0 * tolerance);
    // The outputs of a layer of zeros are no sums of its weights.
    Ok(to.iter().any(|x| *x != 0.0) && sums.iter().any(is_one))
}

/// Whether two weights make a tensor: by a sum, difference, product or quotient of their elements, or by a matrix
/// product.
fn is_pair(a: &Tensor, b: &Tensor, tensor: &Tensor, places: &[usize]) -> Result<bool> {
    let tolerance = 10.0 * [a, b, tensor].map(|xs| rounding(xs.dtype())).into_iter().fold(0.0, f64::max);
    let (a_dims, b_dims, dims) = (a.dims(), b.dims(), tensor.dims());
    if a_dims == dims && b_dims == dims {
        let (to, a, b) = (elements(tensor, places)?, elements(a, places)?, elements(b, places)?);
        if is_constant(&to) {
            return Ok(false);
        }
        const PAIRS: [fn(f64, f64) -> f64; 4] = [|a, b| a + b, |a, b| a - b, |a, b| a * b, |a, b| a / b];
        return Ok(PAIRS.iter().any(|pair| {
            let made: Vec<f64> = a.iter().zip(&b).map(|(a, b)| pair(*a, *b)).collect();
            are_close(&to, &made, tolerance)
        }));
    }
    let ([rows, inner], [also, columns], [m, n]) = (a_dims, b_dims, dims) else { return Ok(false) };
    if (rows, inner, columns) != (m, also, n) || *inner > LONGEST {
        return Ok(false);
    }
    let chosen = &places[..places.len().min(8)];
    let mut made = Vec::with_capacity(chosen.len());
    for place in chosen {
        let (row, column) = (place / n, place % n);
        let left = elements(a, &(0..*inner).map(|k| row * inner + k).collect::<Vec<_>>())?;
        let right = elements(b, &(0..*inner).map(|k| k * n + column).collect::<Vec<_>>())?;
        made.push(left.iter().zip(&right).map(|(a, b)| a * b).sum());
    }
    Ok(are_close(&elements(tensor, chosen)?, &made, 10.0 * tolerance))
}
