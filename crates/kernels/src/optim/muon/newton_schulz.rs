//! The orthogonal matrix near a given one, by the iteration of Newton and Schulz.

use candle_core::{Result, Tensor};

use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::dot::sum_of;
use crate::linalg::gemm::{Matrix, matmul};
use crate::optim::real::Real;

/// The coefficients of the quintic `as + bs³ + cs⁵` that Jordan chose for its slope at 0.
const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.775, 2.0315);

/// The number of numbers that one task takes.
const PART: usize = 1 << 15;

/// Sets each `x` to `scale·x + add·y`.
struct Blend<'a, T> {
    xs: &'a mut [T],
    ys: &'a [T],
    scale: T,
    add: T,
}

impl<T: Real> simd::Task for Blend<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (x, &y) in self.xs.iter_mut().zip(self.ys) {
            *x = self.scale * *x + self.add * y;
        }
    }
}

/// Sets each `x` to `scale·x + add·y`.
pub(super) fn blend<T: Real>(level: SimdLevel, xs: &mut [T], ys: &[T], scale: f64, add: f64) {
    let (scale, add) = (T::narrow(scale), T::narrow(add));
    parallel::for_each_part(xs, PART, |index, xs| {
        let start = index * PART;
        let ys = &ys[start..start + xs.len()];
        simd::run(level, Blend { xs, ys, scale, add });
    });
}

/// Moves the singular values of a row-major matrix near 1 by steps of `X ← aX + (bA + cA²)X` with `A = XXᵀ`,
/// from `X/(|X| + ε)` on. A matrix with more rows than columns is transposed, which changes the result by
/// rounding alone. Matrices without numbers stay as they are.
pub(super) fn orthogonalize<T: Real>(
    level: SimdLevel,
    mut x: Vec<T>,
    (rows, columns): (usize, usize),
    steps: usize,
    eps: f64,
) -> Vec<T> {
    let tall = rows > columns;
    let (short, long) = if tall { (columns, rows) } else { (rows, columns) };
    if tall {
        x = transposed(&x, rows, columns);
    }
    let scale = T::narrow(1.0 / (sum_of(&x, &x).sqrt() + eps));
    x.iter_mut().for_each(|x| *x *= scale);
    let (a, b, c) = COEFFICIENTS;
    for _ in 0..steps {
        let Some(matrix) = Matrix::new(&x, short, long) else { break };
        let gram = matmul(level, matrix, matrix.t());
        let Some(square) = Matrix::new(&gram, short, short) else { break };
        let mut factor = matmul(level, square, square);
        blend(level, &mut factor, &gram, c, b);
        let Some(factor) = Matrix::new(&factor, short, short) else { break };
        let mut next = matmul(level, factor, matrix);
        blend(level, &mut next, &x, 1.0, a);
        x = next;
    }
    if tall { transposed(&x, columns, rows) } else { x }
}

fn transposed<T: Copy>(xs: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| xs[row * columns + column])).collect()
}

/// The same by candle's ops.
pub(super) fn composed(x: &Tensor, steps: usize, eps: f64) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let x = if rows > columns { x.t()?.contiguous()? } else { x.clone() };
    let norm = (x.sqr()?.sum_all()?.sqrt()? + eps)?;
    let mut x = x.broadcast_div(&norm)?;
    let (a, b, c) = COEFFICIENTS;
    for _ in 0..steps {
        let gram = x.matmul(&x.t()?)?;
        let factor = ((&gram * b)? + (gram.matmul(&gram)? * c)?)?;
        x = ((&x * a)? + factor.matmul(&x)?)?;
    }
    if rows > columns { x.t()?.contiguous() } else { Ok(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The singular values of a diagonal matrix whose norm is 1 after five steps equal those of the quintic
    /// applied five times to each.
    #[test]
    fn singular_values_follow_the_quintic() {
        let values = [0.8f64, 0.5, 0.3, 0.1, 0.1];
        let (rows, columns) = (5, 7);
        let quintic = |s: f64| (0..5).fold(s, |s, _| 3.4445 * s - 4.775 * s.powi(3) + 2.0315 * s.powi(5));
        for tall in [false, true] {
            let (rows, columns) = if tall { (columns, rows) } else { (rows, columns) };
            let mut x = vec![0.0f64; rows * columns];
            (0..5).for_each(|i| x[i * columns + i] = 3.0 * values[i]);
            let got = orthogonalize(SimdLevel::best(), x, (rows, columns), 5, 0.0);
            for (index, got) in got.iter().enumerate() {
                let (i, j) = (index / columns, index % columns);
                let expected = if i == j { quintic(values[i]) } else { 0.0 };
                assert!((got - expected).abs() < 1e-12, "{i} {j}: {got} {expected}");
            }
        }
        assert!((quintic(0.1) - 0.71212).abs() < 1e-5 && (quintic(0.5) - 0.765439).abs() < 1e-6);
    }

    #[test]
    fn zeros_and_empty_matrices() {
        assert_eq!(orthogonalize(SimdLevel::best(), vec![0f32; 6], (2, 3), 5, 1e-8), [0.0; 6]);
        assert!(orthogonalize(SimdLevel::best(), Vec::<f32>::new(), (0, 3), 5, 1e-8).is_empty());
    }
}
