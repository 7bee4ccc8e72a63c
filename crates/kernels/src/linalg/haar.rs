//! Random orthonormal rows, from random reflections.

use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel, Task};
use crate::linalg::gemm;
use crate::linalg::reflections::{BLOCK, Block, dot, multiply_out, part};

/// Returns orthonormal rows, distributed by the Haar measure if the numbers are independent standard normals:
/// they are the first rows of a random orthogonal matrix whose distribution no rotation or reflection
/// changes.
///
/// After each reflection of the QR decomposition of a Gaussian matrix, a smaller Gaussian matrix remains that
/// does not depend on the reflection. So each reflection can be drawn directly, from as many normals as it
/// has dimensions, and the reflections only have to be multiplied (Stewart 1980, *The efficient generation of
/// random orthogonal matrices with an application to condition estimators*): half of the decomposition's
/// work. Row `i` of the numbers, from column `i` on, is the direction of reflection `i`; the numbers left of
/// that column are not used.
///
/// ```
/// use wick_kernels::{SimdLevel, haar::orthonormal_rows};
///
/// let q = orthonormal_rows(SimdLevel::best(), vec![3.0, 4.0, 1.0, 2.0], 2);
/// for (got, expected) in q.iter().zip([0.6, 0.8, -0.8, 0.6]) {
///     assert!((got - expected).abs() < 1e-15);
/// }
/// ```
///
/// # Panics
/// If there are more rows than elements in a row, or the rows do not fill the vector.
pub fn orthonormal_rows(level: SimdLevel, mut normals: Vec<f64>, length: usize) -> Vec<f64> {
    if normals.is_empty() {
        return normals;
    }
    let count = normals.len() / length.max(1);
    assert!(count * length == normals.len() && count <= length, "{} elements, {length} a row", normals.len());
    // Enters the thread pool once rather than for each product.
    rayon::scope(|_| {
        let blocks = parallel::map(count.div_ceil(BLOCK), |block| {
            let rows = block * BLOCK..count.min((block + 1) * BLOCK);
            block_of(level, &normals[rows.start * length..rows.end * length], length, rows.start)
        });
        multiply_out(level, &blocks, &mut normals, length);
    });
    normals
}

/// The reflections along some rows; the direction of the first row begins at column `first`.
fn block_of(level: SimdLevel, rows: &[f64], length: usize, first: usize) -> Block {
    let (count, width) = (rows.len() / length, length - first);
    let mut v = vec![0.0; count * width];
    let (mut taus, mut negative) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (i, (v, row)) in v.chunks_mut(width).zip(rows.chunks(length)).enumerate() {
        let (tau, is_negative) = simd::run(level, Reflect { row: &row[first + i..], v: &mut v[i..] });
        taus.push(tau);
        negative.push(is_negative);
    }
    // Column j of T is -τⱼ T Vᵀ vⱼ, with τⱼ on the diagonal.
    let vectors = part(&v, count, width, width);
    let overlaps = gemm::matmul(level, vectors, vectors.t());
    let mut t = vec![0.0; count * count];
    for (j, tau) in taus.into_iter().enumerate() {
        for i in 0..j {
            let mut sum = 0.0;
            for k in i..j {
                sum += t[i * count + k] * overlaps[k * count + j];
            }
            t[i * count + j] = -tau * sum;
        }
        t[j * count + j] = tau;
    }
    Block { first, v, t, negative }
}

/// Computes the vector of the reflection that maps a row to its first axis. Returns τ, and whether the row is
/// mapped to the negative side.
struct Reflect<'a> {
    row: &'a [f64],
    v: &'a mut [f64],
}

impl Task for Reflect<'_> {
    type Output = (f64, bool);

    #[inline(always)]
    fn run(self) -> (f64, bool) {
        let Self { row, v } = self;
        let norm = dot(row, row).sqrt();
        v[0] = 1.0;
        if norm == 0.0 {
            return (0.0, false);
        }
        // The sign opposite to that of `row[0]`, so that nothing cancels.
        let r = if row[0] > 0.0 { -norm } else { norm };
        let head = row[0] - r;
        for (v, x) in v.iter_mut().zip(row).skip(1) {
            *v = x / head;
        }
        (-head / r, r < 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Independent normals, by Box and Muller's formula from SplitMix64.
    fn normals(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..count)
            .map(|_| (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos())
            .collect()
    }

    /// The rows are orthonormal, with the same bits at every level and with any number of threads, for sizes
    /// around a block's.
    #[test]
    fn rows_are_orthonormal_with_the_same_bits_everywhere() {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for (count, length) in [(1, 1), (1, 5), (2, 2), (17, 40), (64, 64), (65, 65), (130, 131), (200, 333)]
        {
            let numbers = normals(count * length, 7);
            let q = pool(2).install(|| orthonormal_rows(SimdLevel::best(), numbers.clone(), length));
            for (i, a) in q.chunks(length).enumerate() {
                for (j, b) in q.chunks(length).enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((dot - expected).abs() < 1e-13, "{count}×{length}: {i} {j}: {dot}");
                }
            }
            for level in SimdLevel::available() {
                let again = pool(1).install(|| orthonormal_rows(level, numbers.clone(), length));
                assert_eq!(again, q, "{count}×{length} {level:?}");
            }
        }
    }

    /// Row `i` is the `i`-th unit vector after all reflections, applied one by one, the last first. Each maps
    /// the direction of its normals to the first axis that it moves.
    #[test]
    fn the_reflections_multiplied_one_by_one() {
        let (count, length) = (70, 90);
        let numbers = normals(count * length, 3);
        let q = orthonormal_rows(SimdLevel::best(), numbers.clone(), length);
        for (i, q) in q.chunks(length).enumerate() {
            let mut row = vec![0.0; length];
            row[i] = if numbers[i * length + i] > 0.0 { -1.0 } else { 1.0 };
            for k in (0..=i).rev() {
                let mut v = numbers[k * length + k..(k + 1) * length].to_vec();
                v[0] += v[0].signum() * v.iter().map(|x| x * x).sum::<f64>().sqrt();
                let (own, square) = (&mut row[k..], v.iter().map(|x| x * x).sum::<f64>());
                let weight = 2.0 * own.iter().zip(&v).map(|(x, v)| x * v).sum::<f64>() / square;
                own.iter_mut().zip(&v).for_each(|(x, v)| *x -= weight * v);
            }
            assert!(row.iter().zip(q).all(|(x, y)| (x - y).abs() < 1e-13), "row {i}");
        }
    }

    /// The Haar measure on 3 × 3 has E tr Q = 0, E (tr Q)² = 1, E det Q = 0 and E q² = 1/3 for each element.
    /// With n = 20000 and seed 1, each holds within 4.5 standard errors (alpha 1e-4 in all). The twin,
    /// without the signs of R, does not pass.
    #[test]
    fn no_direction_is_preferred() {
        const DRAWS: usize = 20_000;
        let determinant = |q: &[f64]| {
            let minor = |a: usize, b: usize| q[3 + a] * q[6 + b] - q[3 + b] * q[6 + a];
            q[0] * minor(1, 2) - q[1] * minor(0, 2) + q[2] * minor(0, 1)
        };
        let off = |with_signs: bool| {
            let numbers = normals(9 * DRAWS, 1);
            let draws: Vec<Vec<f64>> = numbers
                .chunks(9)
                .map(|normals| {
                    let mut q = orthonormal_rows(SimdLevel::best(), normals.to_vec(), 3);
                    for i in (0..3).filter(|_| !with_signs) {
                        // Undoes the sign: each reflection then maps its row to the positive side.
                        let first = normals[i * 4];
                        q[i * 3..][..3].iter_mut().for_each(|x| *x *= if first > 0.0 { -1.0 } else { 1.0 });
                    }
                    q
                })
                .collect();
            let worst = |of: &dyn Fn(&[f64]) -> f64, expected: f64| {
                let values: Vec<f64> = draws.iter().map(|q| of(q)).collect();
                let mean = values.iter().sum::<f64>() / DRAWS as f64;
                let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DRAWS as f64;
                (mean - expected).abs() / (variance / DRAWS as f64).sqrt()
            };
            let trace = |q: &[f64]| q[0] + q[4] + q[8];
            let mut all =
                vec![worst(&|q| trace(q), 0.0), worst(&|q| trace(q).powi(2), 1.0), worst(&determinant, 0.0)];
            all.extend((0..9).map(|i| worst(&|q: &[f64]| q[i] * q[i], 1.0 / 3.0)));
            all.into_iter().fold(0.0, f64::max)
        };
        assert!(off(true) < 4.5, "{}", off(true));
        assert!(off(false) > 4.5, "the twin that must fail: {}", off(false));
    }

    #[test]
    fn zeros_have_no_direction_and_rows_stay_orthonormal() {
        let q = orthonormal_rows(SimdLevel::best(), vec![0.0; 6], 3);
        assert_eq!(q, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }
}
