//! Expectations of functions of a normal number.

use super::legendre::{integrate, panels};
use super::panels::{Shape, Tails};
use crate::special::normal_pdf;

/// `E[f(√q z)]` for `z ~ N(0, 1)`: Gauss-Legendre panels over ±12 standard deviations.
///
/// `q ≥ 0` is the variance of the argument of `f`; `kinks` are the places, in the argument of `f`, where `f`
/// or a derivative of it jumps. A panel ends at each, because a rule across a kink loses digits. What is
/// assumed of `f` at a `q` above a million is that of [`Tails::Unknown`].
///
/// ```
/// use wick_theory::gaussian::expectation;
///
/// let second_moment = expectation(|x| x * x, 4.0, &[]);
/// assert!((second_moment - 4.0).abs() < 1e-12);
/// let half = expectation(|x| if x > 0.0 { x * x } else { 0.0 }, 4.0, &[0.0]);
/// assert!((half - 2.0).abs() < 1e-12);
/// ```
pub fn expectation(f: impl Fn(f64) -> f64, q: f64, kinks: &[f64]) -> f64 {
    expectation_of(f, q, Shape { kinks, tails: Tails::Unknown, centre: 0.0 })
}

/// [`expectation`] for a function of this shape.
pub(crate) fn expectation_of(f: impl Fn(f64) -> f64, q: f64, shape: Shape) -> f64 {
    let scale = shape.effective_variance(q).sqrt();
    if scale == 0.0 {
        return f(0.0);
    }
    let edges = shape.edges(scale);
    edges.windows(2).map(|edge| integrate(&|z| f(scale * z) * normal_pdf(z), edge[0], edge[1])).sum()
}

/// The rule of [`expectation_of`] as arguments `x = √q z` with `z` and the weight, for several integrals over
/// the same numbers.
pub(crate) fn nodes(q: f64, shape: Shape) -> impl Iterator<Item = Node> {
    let scale = shape.effective_variance(q).sqrt();
    // At a scale of 0 the argument is always zero, but `z` still varies.
    let edges = if scale == 0.0 { Shape { kinks: &[], ..shape }.edges(1.0) } else { shape.edges(scale) };
    (1..edges.len()).flat_map(move |i| panels(edges[i - 1], edges[i])).map(move |(z, weight)| Node {
        x: scale * z,
        z,
        weight: weight * normal_pdf(z),
    })
}

/// A node of a rule over the standard normal measure.
pub(crate) struct Node {
    pub(crate) x: f64,
    pub(crate) z: f64,
    pub(crate) weight: f64,
}
