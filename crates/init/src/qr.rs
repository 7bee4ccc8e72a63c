//! The Q of a QR decomposition, by blocked Householder reflections: from additions and multiplications in a fixed
//! order, so that its bits depend neither on threads nor on the processor.

use rayon::prelude::*;

/// Reflections that are gathered and applied together.
const BLOCK: usize = 32;
/// Sums that run beside each other.
const LANES: usize = 8;

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
    /// Upper triangular, row by row.
    t: Vec<Vec<f64>>,
}

impl Reflections {
    /// Reflects the panel's columns to upper triangular form, and keeps the reflections and R's signs.
    fn of_panel(panel: &mut [f64], long: usize, first: usize, signs: &mut Vec<f64>) -> Self {
        let width = panel.len() / long;
        let mut block = Self { first, v: Vec::new(), t: vec![vec![0.0; width]; width] };
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
            let overlaps: Vec<f64> = block.v.iter().map(|u| dot(&u[j..], &v[j..])).collect();
            for i in 0..j {
                let sum: f64 = (i..j).map(|k| block.t[i][k] * overlaps[k]).sum();
                block.t[i][j] = -tau * sum;
            }
            block.t[j][j] = tau;
            block.v.push(v);
        }
        block
    }

    /// Multiplies every column by `I - V T Vᵀ`, or by its transpose.
    fn apply_to_all(&self, columns: &mut [f64], long: usize, transposed: bool) {
        columns.par_chunks_mut(long).for_each(|column| self.apply(&mut column[self.first..], transposed));
    }

    fn apply(&self, column: &mut [f64], transposed: bool) {
        let overlaps: Vec<f64> = self.v.iter().map(|v| dot(v, column)).collect();
        let width = self.v.len();
        for (i, v) in self.v.iter().enumerate() {
            let weight: f64 = if transposed {
                (0..=i).map(|k| self.t[k][i] * overlaps[k]).sum()
            } else {
                (i..width).map(|k| self.t[i][k] * overlaps[k]).sum()
            };
            subtract(column, weight, v);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

/// `a -= w·b`.
fn subtract(a: &mut [f64], w: f64, b: &[f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a -= w * b;
    }
}
