//! The few vector instructions of the matrix product.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::cpu::simd;

/// The size of a cache line, in bytes: a vector that lies across two lines is read in two steps.
pub(crate) const LINE: usize = 64;

/// Prefetches the cache line of an address, which need not be valid, into the first-level cache.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing, and every processor of the architecture has it.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Prefetches the cache line of an address, which need not be valid, into the second-level cache.
#[inline(always)]
pub(crate) fn prefetch_for_later<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// A vector register.
///
/// # Safety
/// The processor must have the instructions of the type, and pointers must be good for [`LANES`](Self::LANES)
/// elements, aligned as one element is.
pub(crate) unsafe trait Vector: Copy {
    type Element: Copy;
    const LANES: usize;

    unsafe fn splat(x: Self::Element) -> Self;
    unsafe fn load(from: *const Self::Element) -> Self;
    unsafe fn store(self, to: *mut Self::Element);
    unsafe fn add(self, b: Self) -> Self;
    /// `self · b + c`, rounded once.
    unsafe fn multiply_add(self, b: Self, c: Self) -> Self;
    /// Runs a loop with the instructions of the vector, as a function of its own.
    unsafe fn run<T: simd::Task>(task: T) -> T::Output;

    /// The number of columns that [`columns`](Self::columns) takes.
    const COLUMNS: usize;

    /// Calls `each` with the columns, and their numbers, of a matrix of `LANES` rows, `stride` apart, and
    /// `COLUMNS` columns.
    unsafe fn columns(from: *const Self::Element, stride: usize, each: impl FnMut(usize, Self));
}

#[cfg(target_arch = "x86_64")]
macro_rules! vector {
    ($vector:ty, $element:ty, $lanes:expr, $splat:ident, $load:ident, $store:ident, $add:ident, $fma:ident, $run:ident, $columns:expr, $columns_of:ident) => {
        // SAFETY: the intrinsics ask for what the trait's own contract promises.
        unsafe impl Vector for $vector {
            type Element = $element;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(x: $element) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: the trait's contract.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $add(self, b) }
            }

            #[inline(always)]
            unsafe fn multiply_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $fma(self, b, c) }
            }

            #[inline(always)]
            unsafe fn run<T: simd::Task>(task: T) -> T::Output {
                // SAFETY: the trait's contract.
                unsafe { simd::$run(task) }
            }

            const COLUMNS: usize = $columns;

            #[inline(always)]
            unsafe fn columns(from: *const $element, stride: usize, mut each: impl FnMut(usize, Self)) {
                // SAFETY: the trait's contract.
                let columns = unsafe { $columns_of(from, stride) };
                for (i, column) in columns.into_iter().enumerate() {
                    each(i, column);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip] // A row each.
mod rows {
    use super::*;
    vector!(__m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, run_avx512, 4, columns_16_by_4);
    vector!(__m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_fmadd_pd, run_avx512, 2, columns_8_by_2);
    vector!(__m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_fmadd_ps, run_avx2, 4, columns_8_by_4);
    vector!(__m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_fmadd_pd, run_avx2, 2, columns_4_by_2);
}

// The functions load rows in pieces of 128 bits. Once every fourth row (or every second) shares a register,
// only the pieces themselves are left to transpose.

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn columns_16_by_4(from: *const f32, stride: usize) -> [__m512; 4] {
    // SAFETY: the contract of `Vector::columns`.
    unsafe {
        let rows = |first: usize| {
            let piece = |row: usize| _mm_loadu_ps(from.add((first + row) * stride));
            let rows = _mm512_castps128_ps512(piece(0));
            let rows = _mm512_insertf32x4::<1>(rows, piece(4));
            let rows = _mm512_insertf32x4::<2>(rows, piece(8));
            _mm512_castps_pd(_mm512_insertf32x4::<3>(rows, piece(12)))
        };
        let lows = |a, b| _mm512_castps_pd(_mm512_unpacklo_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b)));
        let highs = |a, b| _mm512_castps_pd(_mm512_unpackhi_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b)));
        let (a, b, c, d) = (rows(0), rows(1), rows(2), rows(3));
        let (ab, cd) = ((lows(a, b), highs(a, b)), (lows(c, d), highs(c, d)));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab.0, cd.0)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab.0, cd.0)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab.1, cd.1)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab.1, cd.1)),
        ]
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn columns_8_by_2(from: *const f64, stride: usize) -> [__m512d; 2] {
    // SAFETY: the contract of `Vector::columns`.
    unsafe {
        let rows = |first: usize| {
            let piece = |row: usize| _mm_loadu_ps(from.add((first + row) * stride).cast());
            let rows = _mm512_castps128_ps512(piece(0));
            let rows = _mm512_insertf32x4::<1>(rows, piece(2));
            let rows = _mm512_insertf32x4::<2>(rows, piece(4));
            _mm512_castps_pd(_mm512_insertf32x4::<3>(rows, piece(6)))
        };
        let (a, b) = (rows(0), rows(1));
        [_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)]
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn columns_8_by_4(from: *const f32, stride: usize) -> [__m256; 4] {
    // SAFETY: the contract of `Vector::columns`.
    unsafe {
        let rows = |first: usize| {
            let piece = |row: usize| _mm_loadu_ps(from.add((first + row) * stride));
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(piece(0)), piece(4))
        };
        let (a, b, c, d) = (rows(0), rows(1), rows(2), rows(3));
        let lows = |a, b| _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
        let highs = |a, b| _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
        let (ab, cd) = ((lows(a, b), highs(a, b)), (lows(c, d), highs(c, d)));
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab.0, cd.0)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab.0, cd.0)),
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab.1, cd.1)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab.1, cd.1)),
        ]
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn columns_4_by_2(from: *const f64, stride: usize) -> [__m256d; 2] {
    // SAFETY: the contract of `Vector::columns`.
    unsafe {
        let rows = |first: usize| {
            let piece = |row: usize| _mm_loadu_pd(from.add((first + row) * stride));
            _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(piece(0)), piece(2))
        };
        let (a, b) = (rows(0), rows(1));
        [_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)]
    }
}

/// Four elements, computed with whatever instructions the compiler may use.
#[derive(Clone, Copy)]
pub(crate) struct Four<T>([T; 4]);

macro_rules! four {
    ($element:ty) => {
        // SAFETY: no special instructions are needed; the pointers are read and written within the trait's
        // contract.
        unsafe impl Vector for Four<$element> {
            type Element = $element;
            const LANES: usize = 4;

            #[inline(always)]
            unsafe fn splat(x: $element) -> Self {
                Self([x; 4])
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { from.cast::<[$element; 4]>().read_unaligned() })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: the trait's contract.
                unsafe { to.cast::<[$element; 4]>().write_unaligned(self.0) }
            }

            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                let mut sum = self.0;
                for (sum, b) in sum.iter_mut().zip(b.0) {
                    *sum += b;
                }
                Self(sum)
            }

            #[inline(always)]
            unsafe fn multiply_add(self, b: Self, c: Self) -> Self {
                let mut sum = c.0;
                for ((sum, a), b) in sum.iter_mut().zip(self.0).zip(b.0) {
                    *sum = a.mul_add(b, *sum);
                }
                Self(sum)
            }

            unsafe fn run<T: simd::Task>(task: T) -> T::Output {
                task.run()
            }

            const COLUMNS: usize = 4;

            #[inline(always)]
            unsafe fn columns(from: *const $element, stride: usize, mut each: impl FnMut(usize, Self)) {
                for column in 0..Self::COLUMNS {
                    // SAFETY: the trait's contract.
                    let rows = std::array::from_fn(|row| unsafe { *from.add(row * stride + column) });
                    each(column, Self(rows));
                }
            }
        }
    };
}

four!(f32);
four!(f64);
