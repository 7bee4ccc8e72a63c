//! Householder reflections, gathered and applied as products of matrices.

use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm;
use crate::linalg::gemm::matrix::Matrix;
use crate::linalg::gemm::product::Accumulate;

/// Reflections that are gathered and applied together.
pub(crate) const BLOCK: usize = 64;
/// Sums that run beside each other.
const LANES: usize = 16;

/// Reflections `I - V T Vᵀ` of consecutive rows.
pub(crate) struct Block {
    /// The first row, and the column at which the vectors begin.
    pub(crate) first: usize,
    /// The vectors as rows, from column `first` on; zero left of their own 1.
    pub(crate) v: Vec<f64>,
    /// Upper triangular.
    pub(crate) t: Vec<f64>,
    /// Where R's diagonal is negative.
    pub(crate) negative: Vec<bool>,
}

impl Block {
    /// Multiplies each row, as a column, by `I - V T Vᵀ`, or by its transpose.
    pub(crate) fn apply(&self, level: SimdLevel, rows: &mut [f64], length: usize, transposed: bool) {
        let (count, width) = (self.negative.len(), length - self.first);
        let v = part(&self.v, count, width, width);
        let t = part(&self.t, count, count, count);
        if !rows.is_empty() {
            apply(level, v, t, &mut rows[self.first..], length, transposed);
        }
    }
}

/// `Q = H₁ H₂ … Hₖ E` as rows, with `E` the first columns of the identity with R's signs.
pub(crate) fn multiply_out(level: SimdLevel, blocks: &[Block], rows: &mut [f64], length: usize) {
    rows.fill(0.0);
    for block in blocks.iter().rev() {
        let from = block.first * length;
        for (i, negative) in block.negative.iter().enumerate() {
            rows[from + i * length + block.first + i] = if *negative { -1.0 } else { 1.0 };
        }
        // Rows above the block, and columns left of it, are not touched by it yet.
        block.apply(level, &mut rows[from..], length, false);
    }
}

/// `X = X - X Vᵀ T V` for vectors that are rows, or with `Tᵀ` for the product that is not transposed. `X` has the width of
/// `V`, and its rows begin `row_stride` apart.
pub(crate) fn apply(
    level: SimdLevel,
    v: Matrix<f64>,
    t: Matrix<f64>,
    x: &mut [f64],
    row_stride: usize,
    transposed: bool,
) {
    let rows = x.len().div_ceil(row_stride);
    let overlaps = gemm::matmul(level, part(x, rows, v.columns(), row_stride), v.t());
    let overlaps = part(&overlaps, rows, v.rows(), v.rows());
    let weights = gemm::matmul(level, overlaps, if transposed { t } else { t.t() });
    gemm::gemm_part(level, part(&weights, rows, v.rows(), v.rows()), v, x, row_stride, Accumulate::Subtract);
}

/// A part of a matrix, by sizes that have been chosen to fit.
pub(crate) fn part(data: &[f64], rows: usize, columns: usize, row_stride: usize) -> Matrix<'_, f64> {
    match Matrix::part(data, rows, columns, row_stride) {
        Some(matrix) => matrix,
        None => unreachable!("{} elements for {rows}×{columns}, {row_stride} apart", data.len()),
    }
}

/// The product of two vectors, in an order that no processor changes.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
        }
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = a.mul_add(*b, sum);
    }
    sum
}
