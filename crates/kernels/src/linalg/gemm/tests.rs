use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm::matrix::{Matrix, chunks};
use crate::linalg::gemm::product::{Accumulate, Finish, depth_of, rows_of_block};
use crate::linalg::gemm::{gemm, matmul_then};

fn numbers<T>(n: usize, seed: usize, of: impl Fn(f64) -> T) -> Vec<T> {
    (0..n).map(|i| of((((i * 7 + seed) * 7919) % 1009) as f64 / 504.0 - 1.0)).collect()
}

/// The sum in the order that the module promises.
fn by_hand(a: &Matrix<f64>, b: &Matrix<f64>) -> Vec<f64> {
    let at = |m: &Matrix<f64>, i: usize, j: usize| m.data[i * m.row_stride + j * m.column_stride];
    let mut c = vec![0.0; a.rows * b.columns];
    for i in 0..a.rows {
        for j in 0..b.columns {
            let mut total = None;
            for block in chunks(0..a.columns, depth_of(a.columns)) {
                let mut sum = 0.0;
                for p in block {
                    sum = at(a, i, p).mul_add(at(b, p, j), sum);
                }
                total = Some(total.map_or(sum, |total: f64| sum + total));
            }
            c[i * b.columns + j] = total.unwrap_or(0.0);
        }
    }
    c
}

#[test]
fn every_shape_and_layout_at_every_level_is_the_sum_by_hand() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 50, 7),
        (3, 2, 0),
        (2, 96, 18),
        (4, 100, 513),
        (7, 48, 1030),
        (5, 49, 3),
        (8, 48, 16),
        (47, 100, 20),
        (48, 48, 600),
        (14, 32, 8),
        (29, 31, 9),
        (65, 33, 31),
        (112, 64, 1024),
        (239, 17, 5),
        (130, 150, 70),
        (200, 7, 1030),
    ] {
        let a = numbers(m * k, 1, |x| x);
        let b = numbers(k * n, 2, |x| x);
        let (a_plain, b_plain) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
        let (a_turned, b_turned) = (Matrix::new(&a, k, m).unwrap().t(), Matrix::new(&b, n, k).unwrap().t());
        for (a, b) in [(a_plain, b_plain), (a_plain, b_turned), (a_turned, b_plain), (a_turned, b_turned)] {
            let expected = by_hand(&a, &b);
            for level in SimdLevel::available() {
                let mut c = vec![f64::NAN; m * n];
                gemm(level, a, b, &mut c, Accumulate::Set);
                assert_eq!(c, expected, "{m}×{n}×{k} {level:?}");
                let mut sum = vec![1.0; m * n];
                gemm(level, a, b, &mut sum, Accumulate::Add);
                let mut difference = sum.clone();
                gemm(level, a, b, &mut difference, Accumulate::Subtract);
                for ((sum, difference), product) in sum.iter().zip(&difference).zip(&expected) {
                    assert!((sum - (1.0 + product)).abs() < 1e-12 && (difference - 1.0).abs() < 1e-12);
                }
            }
        }
    }
}

#[test]
fn f32_is_near_f64_and_the_same_at_every_level() {
    let (m, n, k) = (70, 90, 700);
    let (a, b) = (numbers(m * k, 3, |x| x as f32), numbers(k * n, 4, |x| x as f32));
    let wide = |xs: &[f32]| xs.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (a64, b64) = (wide(&a), wide(&b));
    let expected = by_hand(&Matrix::new(&a64, m, k).unwrap(), &Matrix::new(&b64, k, n).unwrap());
    let mut first: Option<Vec<f32>> = None;
    for level in SimdLevel::available() {
        let mut c = vec![0f32; m * n];
        let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
        gemm(level, a, b, &mut c, Accumulate::Set);
        for (c, expected) in c.iter().zip(&expected) {
            assert!((f64::from(*c) - expected).abs() < 1e-4, "{c} {expected}");
        }
        assert_eq!(first.get_or_insert_with(|| c.clone()), &c, "{level:?}");
    }
}

#[test]
fn rows_are_finished_once_each_and_whole() {
    for (m, fixed) in
        [(3, true), (3, false), (70, true), (70, false), (300, true), (1000, true), (1000, false)]
    {
        let (n, k) = (60, 1100);
        let (a, b) = (vec![1.0f32; m * k], vec![1.0f32; k * n]);
        let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
        let call = |first: usize, rows: &mut [f32]| {
            assert!(!fixed || first.is_multiple_of(rows_of_block(m)) && rows.len() <= rows_of_block(m) * n);
            for (i, row) in rows.chunks_mut(n).enumerate() {
                row.iter_mut().for_each(|x| *x += (first + i) as f32);
            }
        };
        let c = matmul_then(SimdLevel::best(), a, b, Some(Finish { call: &call, fixed }));
        for (i, row) in c.chunks(n).enumerate() {
            assert!(row.iter().all(|&x| x == 1100.0 + i as f32), "{m}: {i}");
        }
    }
}
