//! Householder reflections, combined and applied as matrix products.

use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm;
use crate::linalg::gemm::matrix::Matrix;
use crate::linalg::gemm::product::Accumulate;

/// The number of reflections that are combined and applied together.
pub(crate) const BLOCK: usize = 64;
/// The number of sums that run in parallel.
const LANES: usize = 16;

/// Reflections `I - V T Vᵀ` of consecutive rows.
pub(crate) struct Block {
    /// The first row, and the column at which the vectors begin.
    pub(crate) first: usize,
    /// The vectors as rows, from column `first` on; each is zero left of its leading 1.
    pub(crate) v: Vec<f64>,
    /// The matrix T, upper triangular.
    pub(crate) t: Vec<f64>,
    /// Whether each element of the diagonal of R is negative.
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

/// Computes the rows of `Q = H₁ H₂ … Hₖ E`, where `E` is the first columns of the identity with the signs of
/// R.
pub(crate) fn multiply_out(level: SimdLevel, blocks: &[Block], rows: &mut [f64], length: usize) {
    rows.fill(0.0);
    for block in blocks.iter().rev() {
        let from = block.first * length;
        for (i, negative) in block.negative.iter().enumerate() {
            rows[from + i * length + block.first + i] = if *negative { -1.0 } else { 1.0 };
        }
        // The block does not change rows above it or columns left of it.
        block.apply(level, &mut rows[from..], length, false);
    }
}

/// Computes `X = X - X Vᵀ T V` for vectors that are rows, or the same with `Tᵀ` if not `transposed`. `X` has
/// the width of `V`, and its rows begin `row_stride` elements apart.
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

/// A part of a matrix. The caller chooses sizes that fit.
pub(crate) fn part(data: &[f64], rows: usize, columns: usize, row_stride: usize) -> Matrix<'_, f64> {
    match Matrix::part(data, rows, columns, row_stride) {
        Some(matrix) => matrix,
        None => unreachable!("{} elements for {rows}×{columns}, {row_stride} apart", data.len()),
    }
}

/// The dot product of two vectors, summed in an order that does not depend on the processor.
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
