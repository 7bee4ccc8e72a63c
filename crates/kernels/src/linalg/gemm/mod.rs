//! Matrix products that hand out each block of rows of the result while it is in the cache.
//!
//! Every element of `A·B` is summed over `k` in rising order by fused multiply-adds, in equal blocks of at
//! most 512; so its bits depend neither on the threads, nor on the width of the vectors, nor on the rows that
//! are computed beside it.
//!
//! The blocking is that of Goto and van de Geijn 2008 (*Anatomy of high-performance matrix multiplication*):
//! rows of `A` are packed for the second-level cache, `B` is packed into panels, of which the next is
//! prefetched while one is in use, and a tile of `C` stays in the registers.

pub(crate) mod buffer;
pub(crate) mod implicit;
pub(crate) mod matrix;
mod pack;
pub(crate) mod product;
pub(crate) mod tile;
pub(crate) mod vector;

use crate::cpu::element::Number;
use crate::cpu::simd::SimdLevel;
pub use matrix::Matrix;
use matrix::end;
pub use product::Accumulate;
use product::{Finish, Output, multiply};

/// Sets `C` to `A·B`, or adds `A·B` to `C`, or subtracts it. `C` is row-major and `a.rows × b.columns`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm<T: Number>(level: SimdLevel, a: Matrix<T>, b: Matrix<T>, c: &mut [T], accumulate: Accumulate) {
    assert!(a.columns == b.rows, "{} columns times {} rows", a.columns, b.rows);
    assert!(c.len() == a.rows * b.columns, "{} elements for {}×{}", c.len(), a.rows, b.columns);
    if accumulate == Accumulate::Set && a.columns == 0 {
        c.fill(T::ZERO);
    }
    let c = Output { start: c.as_mut_ptr(), len: c.len(), row_stride: b.columns };
    multiply(level, a, b, c, accumulate, None);
}

/// The same as [`gemm`] for a part of a wider matrix: the first `b.columns` of the rows that begin
/// `row_stride` elements apart in `c`. With [`Accumulate::Set`] and an `A` without columns, `c` stays as it
/// is.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_part<T: Number>(
    level: SimdLevel,
    a: Matrix<T>,
    b: Matrix<T>,
    c: &mut [T],
    row_stride: usize,
    accumulate: Accumulate,
) {
    assert!(a.columns == b.rows, "{} columns times {} rows", a.columns, b.rows);
    let fits =
        b.columns <= row_stride && end(a.rows, b.columns, row_stride).is_some_and(|end| end <= c.len());
    assert!(fits, "{} elements for {}×{}, {row_stride} apart", c.len(), a.rows, b.columns);
    let (start, len) = (c.as_mut_ptr(), if a.rows == 0 || b.columns == 0 { 0 } else { c.len() });
    multiply(level, a, b, Output { start, len, row_stride }, accumulate, None);
}

/// Returns `A·B`, row-major.
///
/// ```
/// use wick_kernels::SimdLevel;
/// use wick_kernels::gemm::{Matrix, matmul};
///
/// let a = Matrix::new(&[1.0f32, 2.0, 3.0, 4.0], 2, 2).ok_or("four elements")?;
/// assert_eq!(matmul(SimdLevel::best(), a, a.t()), [5.0, 11.0, 11.0, 25.0]);
/// # Ok::<(), &str>(())
/// ```
///
/// # Panics
/// If the sizes do not fit together.
pub fn matmul<T: Number>(level: SimdLevel, a: Matrix<T>, b: Matrix<T>) -> Vec<T> {
    matmul_then(level, a, b, None)
}

/// Returns `A·B`. `finish` is called once with each block of finished rows, while the block is in the cache.
pub(crate) fn matmul_then<T: Number>(
    level: SimdLevel,
    a: Matrix<T>,
    b: Matrix<T>,
    finish: Option<Finish<T>>,
) -> Vec<T> {
    assert!(a.columns == b.rows, "{} columns times {} rows", a.columns, b.rows);
    let len = a.rows * b.columns;
    let mut c = Vec::with_capacity(if a.columns == 0 { 0 } else { len });
    if a.columns == 0 {
        c.resize(len, T::ZERO);
    }
    let output = Output { start: c.as_mut_ptr(), len, row_stride: b.columns };
    multiply(level, a, b, output, Accumulate::Set, finish);
    // SAFETY: the product has set every element.
    unsafe { c.set_len(len) };
    c
}

#[cfg(test)]
mod tests;
