//! Orthonormal rows by blocked Householder reflections. All sums run in a fixed order, so the bits depend
//! neither on the threads nor on the processor.

use crate::cpu::simd::{self, SimdLevel, Task};
use crate::linalg::gemm;
use crate::linalg::reflections::{BLOCK, Block, apply, dot, multiply_out, part};

/// The number of rows that are reflected one by one; more rows are split in two.
const BASE: usize = 16;

/// Orthonormalizes rows: returns `Qᵀ` of the QR decomposition, with a positive diagonal of R, of the matrix
/// whose columns are the rows. A row that depends linearly on earlier rows is replaced by one that is
/// orthonormal to all others.
///
/// The reflections are combined as `I - V T Vᵀ` (Schreiber and Van Loan 1989, *A storage-efficient WY
/// representation for products of Householder transformations*), each block by halves (Elmroth and Gustavson
/// 2000, *Applying recursion to serial and parallel QR factorization*), so that nearly all of the work is in
/// [`gemm`](crate::gemm::gemm).
///
/// ```
/// use wick_kernels::{SimdLevel, qr::orthonormal_rows};
///
/// let q = orthonormal_rows(SimdLevel::best(), vec![3.0, 4.0, 1.0, 0.0], 2);
/// for (got, expected) in q.iter().zip([0.6, 0.8, 0.8, -0.6]) {
///     assert!((got - expected).abs() < 1e-15);
/// }
/// ```
///
/// # Panics
/// If there are more rows than elements in a row, or the rows do not fill the vector.
pub fn orthonormal_rows(level: SimdLevel, mut rows: Vec<f64>, length: usize) -> Vec<f64> {
    if rows.is_empty() {
        return rows;
    }
    let count = rows.len() / length.max(1);
    assert!(count * length == rows.len() && count <= length, "{} elements, {length} a row", rows.len());
    // Enters the thread pool once rather than for each product.
    rayon::scope(|_| orthonormalize(level, &mut rows, count, length));
    rows
}

fn orthonormalize(level: SimdLevel, rows: &mut [f64], count: usize, length: usize) {
    let mut blocks: Vec<Block> = Vec::with_capacity(count.div_ceil(BLOCK));
    for first in (0..count).step_by(BLOCK) {
        let next = match blocks.last() {
            None => block_of(level, &rows[..BLOCK.min(count) * length], length, 0),
            // The next block is computed while the rows after it are still being reflected.
            Some(block) => {
                let (own, rest) = rows[first * length..].split_at_mut(BLOCK.min(count - first) * length);
                let next = || {
                    block.apply(level, own, length, true);
                    block_of(level, own, length, first)
                };
                rayon::join(next, || block.apply(level, rest, length, true)).0
            }
        };
        blocks.push(next);
    }
    multiply_out(level, &blocks, rows, length);
}

/// The reflections of some rows, of which columns `first` and later are still to be reflected.
fn block_of(level: SimdLevel, rows: &[f64], length: usize, first: usize) -> Block {
    let mut v = Vec::with_capacity(rows.len());
    for row in rows.chunks(length) {
        v.extend_from_slice(&row[first..]);
    }
    let count = rows.len() / length;
    let mut panel =
        Panel { level, v, length: length - first, t: vec![0.0; count * count], count, negative: Vec::new() };
    panel.reflect(0, count);
    let Panel { v, t, negative, .. } = panel;
    Block { first, v, t, negative }
}

/// A block that is being computed.
struct Panel {
    level: SimdLevel,
    v: Vec<f64>,
    /// The length of a row.
    length: usize,
    t: Vec<f64>,
    /// The number of all rows.
    count: usize,
    negative: Vec<bool>,
}

impl Panel {
    /// Computes the vectors of the rows `from..to`, to which all earlier reflections have been applied.
    fn reflect(&mut self, from: usize, to: usize) {
        if to - from <= BASE {
            let (v, t) = (&mut self.v[..to * self.length], &mut self.t);
            let base =
                Base { v, t, length: self.length, count: self.count, from, negative: &mut self.negative };
            return simd::run(self.level, base);
        }
        let middle = from + (to - from) / 2;
        self.reflect(from, middle);
        let (length, count) = (self.length, self.count);
        let (left, right) = self.v.split_at_mut(middle * length);
        let right = &mut right[..(to - middle) * length];
        let of_left = part(&left[from * length + from..], middle - from, length - from, length);
        let t_of_left = part(&self.t[from * count + from..], middle - from, middle - from, count);
        apply(self.level, of_left, t_of_left, &mut right[from..], length, true);
        for row in right.chunks_mut(length) {
            // These elements belong to R.
            row[..middle].fill(0.0);
        }
        self.reflect(middle, to);

        // T of both halves is [T₁, -T₁ V₁ᵀ V₂ T₂; 0, T₂].
        let (halves, width) = ((middle - from, to - middle), length - middle);
        let left = part(&self.v[from * length + middle..], halves.0, width, length);
        let right = part(&self.v[middle * length + middle..], halves.1, width, length);
        let overlaps = gemm::matmul(self.level, left, right.t());
        let t_of_left = part(&self.t[from * count + from..], halves.0, halves.0, count);
        let t_of_right = part(&self.t[middle * count + middle..], halves.1, halves.1, count);
        let inner = part(&overlaps, halves.0, halves.1, halves.1);
        let product = gemm::matmul(self.level, t_of_left, inner);
        let product = gemm::matmul(self.level, part(&product, halves.0, halves.1, halves.1), t_of_right);
        for (i, row) in product.chunks(halves.1).enumerate() {
            for (t, x) in self.t[(from + i) * count + middle..].iter_mut().zip(row) {
                *t = -x;
            }
        }
    }
}

/// Reflects row after row, beginning with `from`.
struct Base<'a> {
    v: &'a mut [f64],
    t: &'a mut [f64],
    length: usize,
    count: usize,
    from: usize,
    negative: &'a mut Vec<bool>,
}

impl Task for Base<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { v, t, length, count, from, negative } = self;
        for j in from..v.len() / length {
            let (done, todo) = v.split_at_mut((j + 1) * length);
            let (before, own) = done.split_at_mut(j * length);
            let own = &mut own[j..];
            let norm = dot(own, own).sqrt();
            // The reflection maps the row to ∓norm in its column j, with the sign opposite to that of the
            // element; zeros are not reflected.
            let r = if own[0] > 0.0 { -norm } else { norm };
            let head = own[0] - r;
            let tau = if norm > 0.0 { -head / r } else { 0.0 };
            if norm > 0.0 {
                own.iter_mut().for_each(|x| *x /= head);
                own[0] = 1.0;
            }
            negative.push(r < 0.0);
            for other in todo.chunks_mut(length) {
                let weight = tau * dot(own, &other[j..]);
                for (x, v) in other[j..].iter_mut().zip(&*own) {
                    *x = (-weight).mul_add(*v, *x);
                }
            }
            for other in todo.chunks_mut(length) {
                // This element belongs to R.
                other[j] = 0.0;
            }
            // The new column of T is -τ T Vᵀ v, with τ on the diagonal.
            let mut overlaps = [0.0; BASE];
            for (overlap, row) in overlaps.iter_mut().zip(before[from * length..].chunks(length)) {
                *overlap = dot(&row[j..], own);
            }
            for i in from..j {
                let mut sum = 0.0;
                for k in i..j {
                    sum += t[i * count + k] * overlaps[k - from];
                }
                t[i * count + j] = -tau * sum;
            }
            t[j * count + j] = tau;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of a linear congruential generator.
    fn numbers(n: usize) -> Vec<f64> {
        let mut state = 12345u64;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            })
            .collect()
    }

    /// The rows of Q are orthonormal, and R = Qᵀ A is upper triangular with a positive diagonal, with the
    /// same bits at every level. The sizes are below, at and above those of the base and the block.
    #[test]
    fn the_decomposition_is_that_of_its_rows_at_every_level() {
        for (count, length) in
            [(1, 1), (1, 5), (2, 2), (8, 9), (9, 9), (17, 40), (64, 64), (65, 70), (130, 131), (200, 333)]
        {
            let a = numbers(count * length);
            let q = orthonormal_rows(SimdLevel::best(), a.clone(), length);
            let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            for (i, q_i) in q.chunks(length).enumerate() {
                for (j, q_j) in q.chunks(length).enumerate() {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product(q_i, q_j) - expected).abs() < 1e-13, "{count}×{length}: {i} {j}");
                }
                for (j, a_j) in a.chunks(length).enumerate().take(i + 1) {
                    let r = product(q_i, a_j);
                    assert!(if i == j { r > 0.0 } else { r.abs() < 1e-12 }, "{count}×{length}: {i} {j}: {r}");
                }
            }
            for level in SimdLevel::available() {
                assert_eq!(orthonormal_rows(level, a.clone(), length), q, "{count}×{length} {level:?}");
            }
        }
    }

    #[test]
    fn rows_that_depend_on_others_become_orthonormal_too() {
        let mut rows = vec![0.0; 3 * 4];
        rows[..4].copy_from_slice(&[1.0, 2.0, 0.0, 1.0]);
        rows[8..].copy_from_slice(&[2.0, 4.0, 0.0, 2.0]);
        let q = orthonormal_rows(SimdLevel::best(), rows, 4);
        for (i, a) in q.chunks(4).enumerate() {
            for (j, b) in q.chunks(4).enumerate() {
                let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-14, "{i} {j}: {dot}");
            }
        }
    }
}
