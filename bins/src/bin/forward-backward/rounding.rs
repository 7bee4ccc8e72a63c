//! Bounds on the rounding error of a gradient, from its size and from the sizes of the terms whose difference
//! it is.

use anyhow::Result;
use candle_core::DType;
use wick_bins::data::numbers;
use wick_bins::limits::smallest;
use wick_model::Activation;
use wick_model::loss::Loss;

use crate::net::{Forward, Gradient, Net};

/// The terms that a gradient is computed from. For a correct prediction `softmax - y` is a rounding error of
/// 1, which all earlier gradients inherit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    /// The largest magnitude of a term, propagated through the products.
    pub(crate) size: f64,
    /// The smallest step of the type, propagated likewise.
    pub(crate) step: f64,
}

/// Returns the terms of each gradient of [`NAMES`](crate::net::NAMES).
pub(crate) fn terms(
    net: &Net,
    forward: &Forward,
    gradients: &[Gradient],
    dtype: DType,
) -> Result<[Terms; 7]> {
    let (hidden, features) = net.w1.dims2()?;
    let (batch, outputs) = forward.o.dims2()?;
    let (x, y, w2, h) = (numbers(&net.x)?, numbers(&net.y)?, numbers(&net.w2)?, numbers(&forward.h)?);
    let [of_o, .., of_h, of_z, _] = gradients else { return Ok([Terms::default(); 7]) };
    let (of_o, of_h, of_z) = (numbers(&of_o.value)?, numbers(&of_h.value)?, numbers(&of_z.value)?);
    let u = smallest(dtype);
    let sums = [(&h, hidden), (&of_o, outputs), (&w2, hidden), (&x, features), (&of_z, hidden)];
    let [by_h, by_o, by_w2, by_x, by_z] = sums.map(|(matrix, columns)| largest_column(matrix, columns));

    // The rounding error of an output is that of its terms.
    let o = largest(&h) * largest_row(&w2, hidden);
    let size = match net.loss {
        Loss::Squared => o.max(largest(&y)),
        Loss::CrossEntropy => 1.0 + o,
    } / batch as f64;
    let o = Terms { size, step: u };
    let penalty = Terms { size: 0.0, step: u };
    let w2 = Terms { size: o.size * by_h, step: o.step * by_h + u * (1.0 + by_o) };
    let h = Terms { size: o.size * by_w2, step: o.step * by_w2 + u };
    let (steepest, at_h) = (steepest(net.activation), largest(&of_h));
    // A slope near 0 is itself a difference, as 1 - h² for tanh.
    let z = Terms { size: (h.size + at_h) * steepest, step: h.step * steepest + u * (1.0 + at_h) };
    let w1 = Terms { size: z.size * by_x, step: z.step * by_x + u * (1.0 + by_z) };
    Ok([o, penalty, penalty, w2, h, z, w1])
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

/// Returns the largest sum of magnitudes along a row.
fn largest_row(values: &[f64], columns: usize) -> f64 {
    values.chunks(columns).map(|row| row.iter().map(|x| x.abs()).sum()).fold(0.0, f64::max)
}

/// Returns the largest sum of magnitudes along a column.
fn largest_column(values: &[f64], columns: usize) -> f64 {
    let sum = |column| values.iter().skip(column).step_by(columns).map(|x| x.abs()).sum();
    (0..columns).map(sum).fold(0.0, f64::max)
}

fn steepest(phi: Activation) -> f64 {
    (-800..=800).map(|x| phi.derivative(f64::from(x) / 100.0).abs()).fold(0.0, f64::max)
}
