//! Matrix products, with something to do to each row of the result while it is in the cache.
//!
//! Every element of `A·B` is summed over `k` in rising order by fused multiply-adds, in equal blocks of at most 512: so its
//! bits depend neither on the threads, nor on the width of the vectors, nor on the rows that are computed beside it.
//! The blocking is that of Goto and van de Geijn 2008 (*Anatomy of high-performance matrix multiplication*): rows of `A`
//! are packed for the second-level cache, `B` is packed into panels, of which the next is asked for while one is in use,
//! and a tile of `C` stays in the registers.

mod pack;
mod product;
mod tile;
mod vector;

use std::ops::Range;

use crate::simd::SimdLevel;
use product::{Output, multiply};

/// Rows of `C` that one task computes, and that are finished together.
pub(crate) const ROWS: usize = 112;
/// A cache line, in bytes: a vector that lies across two is read in two steps.
const LINE: usize = 64;

/// A matrix in memory.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A row-major matrix; `None` if the data are not as many as it has elements.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Option<Self> {
        let whole = rows.checked_mul(columns) == Some(data.len());
        whole.then_some(Self { data, rows, columns, row_stride: columns, column_stride: 1 })
    }

    /// A row-major matrix whose rows begin `row_stride` elements apart: a part of a wider one. `None` if a row does not
    /// fit between two, or the data end before the last one does.
    pub fn part(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Option<Self> {
        let fits = columns <= row_stride && end(rows, columns, row_stride)? <= data.len();
        fits.then_some(Self { data, rows, columns, row_stride, column_stride: 1 })
    }

    /// A matrix without elements.
    pub(crate) const fn empty() -> Self {
        Self { data: &[], rows: 0, columns: 0, row_stride: 0, column_stride: 1 }
    }

    /// How many rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn columns(self) -> usize {
        self.columns
    }

    /// The transposed matrix, of the same data.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// One more than the last element's place.
fn end(rows: usize, columns: usize, row_stride: usize) -> Option<usize> {
    match rows {
        0 => Some(0),
        rows => (rows - 1).checked_mul(row_stride)?.checked_add(columns),
    }
}

/// `f32` or `f64`.
pub trait Real: tile::Element + pack::Keep {}

impl Real for f32 {}
impl Real for f64 {}

/// What to do with the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// `C = A·B`.
    Set,
    /// `C = C + A·B`.
    Add,
    /// `C = C - A·B`.
    Subtract,
}

/// `C = A·B`, or that added to or subtracted from `C`, which is row-major and `a.rows × b.columns`.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm<T: Real>(level: SimdLevel, a: Matrix<T>, b: Matrix<T>, c: &mut [T], into: Accumulate) {
    assert!(a.columns == b.rows, "{} columns times {} rows", a.columns, b.rows);
    assert!(c.len() == a.rows * b.columns, "{} elements for {}×{}", c.len(), a.rows, b.columns);
    if into == Accumulate::Set && a.columns == 0 {
        c.fill(T::ZERO);
    }
    let c = Output { start: c.as_mut_ptr(), len: c.len(), row_stride: b.columns };
    multiply(level, a, b, c, into, None);
}

/// Adds `A·B` to a part of a wider matrix, or subtracts it there: to the first `b.columns` of the rows that begin
/// `row_stride` elements apart in `c`. [`Accumulate::Set`] leaves what stands there when `A` has no columns.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_part<T: Real>(
    level: SimdLevel,
    a: Matrix<T>,
    b: Matrix<T>,
    c: &mut [T],
    row_stride: usize,
    into: Accumulate,
) {
    assert!(a.columns == b.rows, "{} columns times {} rows", a.columns, b.rows);
    let fits =
        b.columns <= row_stride && end(a.rows, b.columns, row_stride).is_some_and(|end| end <= c.len());
    assert!(fits, "{} elements for {}×{}, {row_stride} apart", c.len(), a.rows, b.columns);
    let (start, len) = (c.as_mut_ptr(), if a.rows == 0 || b.columns == 0 { 0 } else { c.len() });
    multiply(level, a, b, Output { start, len, row_stride }, into, None);
}

/// `A·B`, row-major, in memory of its own.
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
pub fn matmul<T: Real>(level: SimdLevel, a: Matrix<T>, b: Matrix<T>) -> Vec<T> {
    matmul_then(level, a, b, None)
}

/// A range in parts of `size`, of which the last may be shorter.
fn chunks(all: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    all.clone().step_by(size).map(move |start| start..all.end.min(start + size))
}

/// What to do with finished rows, given the number of the first.
type Finish<'a, T> = &'a (dyn Fn(usize, &mut [T]) + Sync);

/// `A·B`; `finish` gets each block of [`ROWS`] finished rows once, while it is in the cache.
pub(crate) fn matmul_then<T: Real>(
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
#[path = "tests.rs"]
mod tests;
