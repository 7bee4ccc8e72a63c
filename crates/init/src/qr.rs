//! The Q of a QR decomposition, by blocked Householder reflections: from additions and multiplications in a fixed
//! order, so that its bits depend neither on threads nor on the processor.

use rayon::prelude::*;

/// Reflections that are gathered and applied together.
const BLOCK: usize = 32;
/// Columns that the reflections are applied to together.
const COLUMNS: usize = 4;
/// Sums that run beside each other.
const LANES: usize = 16;

/// Takes `short` columns of length `long ≥ short`, one behind the other, and returns the Q of their QR
/// decomposition whose R has a positive diagonal, laid out likewise.
pub(crate) fn orthonormal_columns(mut columns: Vec<f64>, long: usize, short: usize) -> Vec<f64> {
    if long == 0 || short == 0 {
        return columns;
    }
    let mut blocks = Vec::with_capacity(short.div_ceil(BLOCK));
    let mut signs = Vec::with_capacity(short);
    for first in (0..short).step_by(BLOCK) {
        let (panel, rest) = columns[first * long..].split_at_mut(BLOCK.min(short - first) * long);
        let block = Reflections::of_panel(panel, long, first, &mut signs);
        block.apply_to_all(rest, long, true);
        blocks.push(block);
    }
    // Q = H₁ H₂ … Hₖ E, with E the first columns of the identity and R's signs.
    let mut q = vec![0.0; long * short];
    for (i, sign) in signs.iter().enumerate() {
        q[i * long + i] = *sign;
    }
    for block in blocks.iter().rev() {
        // Columns left of the block are not touched by it yet.
        block.apply_to_all(&mut q[block.first * long..], long, false);
    }
    q
}

/// A block of reflections as `I - V T Vᵀ` (Schreiber and Van Loan 1989, *A storage-efficient WY
/// representation for products of Householder transformations*).
struct Reflections {
    /// The row at which the first vector begins.
    first: usize,
    /// The vectors, each from row `first` on, zero above its own 1.
    v: Vec<Vec<f64>>,
    /// Upper triangular, row by row, and the same column by column: whichever is summed along.
    t: Square,
    t_transposed: Square,
}

type Square = [[f64; BLOCK]; BLOCK];

impl Reflections {
    /// Reflects the panel's columns to upper triangular form, and keeps the reflections and R's signs.
    fn of_panel(panel: &mut [f64], long: usize, first: usize, signs: &mut Vec<f64>) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor was just asked for the feature that the function needs.
                return unsafe { Self::of_panel_avx512(panel, long, first, signs) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor was just asked for the feature that the function needs.
                return unsafe { Self::of_panel_avx2(panel, long, first, signs) };
            }
        }
        Self::of_panel_portable(panel, long, first, signs)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn of_panel_avx512(panel: &mut [f64], long: usize, first: usize, signs: &mut Vec<f64>) -> Self {
        Self::of_panel_portable(panel, long, first, signs)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn of_panel_avx2(panel: &mut [f64], long: usize, first: usize, signs: &mut Vec<f64>) -> Self {
        Self::of_panel_portable(panel, long, first, signs)
    }

    #[inline(always)]
    fn of_panel_portable(panel: &mut [f64], long: usize, first: usize, signs: &mut Vec<f64>) -> Self {
        let width = panel.len() / long;
        let square = [[0.0; BLOCK]; BLOCK];
        let mut block = Self { first, v: Vec::new(), t: square, t_transposed: square };
        for j in 0..width {
            let (done, todo) = panel.split_at_mut((j + 1) * long);
            let column = &mut done[j * long + first..];
            let (mut v, mut tau) = (vec![0.0; long - first], 0.0);
            let norm = dot(&column[j..], &column[j..]).sqrt();
            // The reflection that takes the column to -sign(c_j)·norm·e_j; none for a column of zeros.
            let r = if column[j] > 0.0 { -norm } else { norm };
            if norm > 0.0 {
                v[j + 1..].copy_from_slice(&column[j + 1..]);
                let head = column[j] - r;
                for x in &mut v[j + 1..] {
                    *x /= head;
                }
                v[j] = 1.0;
                tau = -head / r;
            }
            signs.push(if r < 0.0 { -1.0 } else { 1.0 });
            for other in todo.chunks_mut(long) {
                let other = &mut other[first + j..];
                let w = tau * dot(&v[j..], other);
                subtract(other, w, &v[j..]);
            }
            // T's new column: -τ T Vᵀ v, and τ on the diagonal.
            let mut overlaps = [0.0; BLOCK];
            for (overlap, u) in overlaps.iter_mut().zip(&block.v) {
                *overlap = dot(&u[j..], &v[j..]);
            }
            for i in 0..j {
                let mut sum = 0.0;
                for (t, overlap) in block.t[i][i..j].iter().zip(&overlaps[i..j]) {
                    sum += t * overlap;
                }
                block.t[i][j] = -tau * sum;
                block.t_transposed[j][i] = -tau * sum;
            }
            block.t[j][j] = tau;
            block.t_transposed[j][j] = tau;
            block.v.push(v);
        }
        block
    }

    /// Multiplies every column by `I - V T Vᵀ`, or by its transpose.
    fn apply_to_all(&self, columns: &mut [f64], long: usize, transposed: bool) {
        columns.par_chunks_mut(COLUMNS * long).for_each(|columns| self.apply(columns, long, transposed));
    }

    /// Runs the portable code, compiled again for the vector units that this processor has. The arithmetic is the
    /// same either way, and so are the bits.
    fn apply(&self, columns: &mut [f64], long: usize, transposed: bool) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor was just asked for the feature that the function needs.
                return unsafe { self.apply_avx512(columns, long, transposed) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor was just asked for the feature that the function needs.
                return unsafe { self.apply_avx2(columns, long, transposed) };
            }
        }
        self.apply_portable(columns, long, transposed);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn apply_avx512(&self, columns: &mut [f64], long: usize, transposed: bool) {
        self.apply_portable(columns, long, transposed);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn apply_avx2(&self, columns: &mut [f64], long: usize, transposed: bool) {
        self.apply_portable(columns, long, transposed);
    }

    /// Four vectors at a time over some columns, so that the vectors stay in the first cache.
    #[inline(always)]
    fn apply_portable(&self, columns: &mut [f64], long: usize, transposed: bool) {
        let mut overlaps = [[0.0; BLOCK]; COLUMNS];
        for (quad, vs) in self.v.chunks(4).enumerate() {
            for (column, overlaps) in columns.chunks(long).zip(&mut overlaps) {
                let column = &column[self.first..];
                let overlaps = &mut overlaps[4 * quad..];
                match vs {
                    [a, b, c, d] => overlaps[..4].copy_from_slice(&dots([a, b, c, d], column)),
                    _ => {
                        for (overlap, v) in overlaps.iter_mut().zip(vs) {
                            *overlap = dot(v, column);
                        }
                    }
                }
            }
        }
        let mut weights = [[0.0; BLOCK]; COLUMNS];
        // weightᵢ = Σₖ Tᵢₖ overlapₖ, or with T transposed: a sum of rows of the other one.
        let rows = if transposed { &self.t } else { &self.t_transposed };
        for (weights, overlaps) in weights.iter_mut().zip(&overlaps) {
            for (row, overlap) in rows.iter().zip(overlaps) {
                for (weight, t) in weights.iter_mut().zip(row) {
                    *weight += t * overlap;
                }
            }
        }
        for (quad, vs) in self.v.chunks(4).enumerate() {
            for (column, weights) in columns.chunks_mut(long).zip(&weights) {
                let column = &mut column[self.first..];
                let weights = &weights[4 * quad..];
                match vs {
                    [a, b, c, d] => subtract_four(column, weights, [a, b, c, d]),
                    _ => {
                        for (weight, v) in weights.iter().zip(vs) {
                            subtract(column, *weight, v);
                        }
                    }
                }
            }
        }
    }
}

/// The products of four vectors with one, each in the order of [`dot`].
#[inline(always)]
fn dots(vs: [&[f64]; 4], column: &[f64]) -> [f64; 4] {
    let mut lanes = [[0.0; LANES]; 4];
    let (whole, rest) = column.as_chunks::<LANES>();
    let [a, b, c, d] = vs.map(|v| v.as_chunks::<LANES>());
    for ((((x, a), b), c), d) in whole.iter().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        for lane in 0..LANES {
            lanes[0][lane] += a[lane] * x[lane];
            lanes[1][lane] += b[lane] * x[lane];
            lanes[2][lane] += c[lane] * x[lane];
            lanes[3][lane] += d[lane] * x[lane];
        }
    }
    let mut sums = [0.0; 4];
    for ((sum, lanes), (_, v)) in sums.iter_mut().zip(&lanes).zip([a, b, c, d]) {
        *sum = total(lanes) + ends(v, rest);
    }
    sums
}

#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    total(&lanes) + ends(a_rest, b_rest)
}

#[inline(always)]
fn total(lanes: &[f64; LANES]) -> f64 {
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum
}

#[inline(always)]
fn ends(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for i in 0..a.len().min(b.len()) {
        sum += a[i] * b[i];
    }
    sum
}

/// `a -= w₀v₀ + w₁v₁ + w₂v₂ + w₃v₃`.
#[inline(always)]
fn subtract_four(column: &mut [f64], w: &[f64], vs: [&[f64]; 4]) {
    let [a, b, c, d] = vs;
    for ((((x, a), b), c), d) in column.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *x -= ((w[0] * a + w[1] * b) + w[2] * c) + w[3] * d;
    }
}

/// `a -= w·b`.
#[inline(always)]
fn subtract(a: &mut [f64], w: f64, b: &[f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a -= w * b;
    }
}
