//! A factor of the covariance of rows.

use wick_kernels::gemm::{Accumulate, Matrix, gemm, gemm_part};
use wick_kernels::simd::SimdLevel;

/// Sets `c`, `m × n`, to the product of `a`, `m × k`, and `b`, `k × n`.
pub(super) fn multiply(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize), c: &mut [f64]) {
    if let (Some(a), Some(b)) = (Matrix::new(a, m, k), Matrix::new(b, k, n)) {
        gemm(SimdLevel::best(), a, b, c, Accumulate::Set);
    }
}

/// A matrix `F` with `FᵀF = Σ (x - m)(x - m)ᵀ` over the rows `x`, of `m.len()` columns: the centred rows if they are no
/// more than columns, and else the upper triangle of Cholesky's decomposition. It takes no more memory than the rows.
pub(super) fn factor(rows: &[f64], mean: &[f64]) -> Vec<f64> {
    /// The rows that are centred at a time.
    const BLOCK: usize = 256;
    let width = mean.len();
    let centred = |rows: &[f64]| -> Vec<f64> {
        rows.chunks_exact(width).flat_map(|row| row.iter().zip(mean).map(|(x, mean)| x - mean)).collect()
    };
    if rows.len() / width <= width {
        return centred(rows);
    }
    let mut products = vec![0.0; width * width];
    for block in rows.chunks(BLOCK * width) {
        let block = centred(block);
        if let Some(block) = Matrix::new(&block, block.len() / width, width) {
            gemm(SimdLevel::best(), block.t(), block, &mut products, Accumulate::Add);
        }
    }
    cholesky(products, width)
}

/// The upper triangle `R` with `RᵀR` equal to a symmetric matrix without negative eigenvalues, in blocks of rows. A column
/// that depends on those before it, but for rounding, gets a row of 0 (Higham 2002, Accuracy and Stability of Numerical
/// Algorithms, section 10.3).
fn cholesky(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    const BLOCK: usize = 64;
    let least: Vec<f64> = (0..n).map(|i| n as f64 * f64::EPSILON * a[i * n + i]).collect();
    for first in (0..n).step_by(BLOCK) {
        let end = (first + BLOCK).min(n);
        for i in first..end {
            let (done, rest) = a.split_at_mut((i + 1) * n);
            let row = &mut done[i * n..];
            let pivot = row[i];
            row[..i].fill(0.0);
            if pivot.is_nan() || pivot <= least[i] {
                row.fill(0.0);
                continue;
            }
            let root = pivot.sqrt();
            row[i..].iter_mut().for_each(|x| *x /= root);
            for (later, target) in (i + 1..end).zip(rest.chunks_exact_mut(n)) {
                let factor = row[later];
                target[later..].iter_mut().zip(&row[later..]).for_each(|(x, y)| *x -= factor * y);
            }
        }
        let left = n - end;
        let (done, rest) = a.split_at_mut(end * n);
        let block: Vec<f64> = done[first * n..].chunks_exact(n).flat_map(|row| row[end..].to_vec()).collect();
        if let Some(block) = Matrix::new(&block, end - first, left).filter(|_| left > 0) {
            gemm_part(SimdLevel::best(), block.t(), block, &mut rest[end..], n, Accumulate::Subtract);
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::rng::RngSource;
    use crate::rng::law::Law;

    /// `FᵀF` is the sum of the products of the centred rows, in several blocks of columns and of rows, where every seventh
    /// centred column is the sum of the two before it: within the rounding of sums of 300 products (1e-12 of 300). The twin
    /// is the factor of the rows without the last one.
    #[test]
    fn a_factor_of_many_columns_gives_the_products_back() {
        let (n, width) = (300, 150);
        let law = Law::Normal { mean: 0.5, std: 1.0 };
        let mut source = RngSource::from_seed(9);
        let mut rows = source.draw(law, n * width, DType::F64).into_f64();
        for row in rows.chunks_exact_mut(width) {
            (2..width).step_by(7).for_each(|j| row[j] = row[j - 1] + row[j - 2] - 0.5);
        }
        let mean = vec![0.5; width];
        let centred: Vec<f64> = rows.iter().map(|x| x - 0.5).collect();
        let products = |rows: &[f64]| -> Vec<f64> {
            let sum = |i: usize, j: usize| rows.chunks_exact(width).map(|row| row[i] * row[j]).sum::<f64>();
            (0..width * width).map(|place| sum(place / width, place % width)).collect()
        };
        let wanted = products(&centred);
        let largest = |factor: &[f64]| {
            let found = products(factor);
            found.iter().zip(&wanted).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
        };
        let off = largest(&factor(&rows, &mean));
        let twin = largest(&factor(&rows[..(n - 1) * width], &mean));
        assert!(off < 1e-9 && twin > 0.1, "{off} {twin}");
    }
}
