//! The tiles of `C` that stay in the registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use crate::cpu::simd::SimdLevel;
#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::Units;
use crate::linalg::gemm::vector::{Four, LINE, Vector, prefetch, prefetch_for_later};

/// The number of elements of the largest tile: 14 rows of 2 vectors of 16.
pub(super) const LARGEST: usize = 14 * 32;

/// Computes a tile: `c = a·b`, or `c = c + a·b` with `add`. `next` is the address of what is used next: every
/// second step prefetches one of its lines into the second-level cache. It need not be valid.
///
/// # Safety
/// `a` must be valid for `depth` contiguous columns of the tile's height, `b` for `depth` contiguous rows of
/// its width, and `c` for the tile's rows, `c_row` apart. The processor must have the instructions of the
/// tile.
pub(super) type Tile<T> =
    unsafe fn(depth: usize, a: *const T, b: *const T, c: *mut T, c_row: usize, add: bool, next: *const T);

/// Computes a tile of few rows: `c = a·b`, with `a` and the transposed `b` read in place.
///
/// # Safety
/// `a` must be valid for the tile's rows, `a_row` apart, and `b` for its columns, `b_row` apart, of `depth`
/// elements each; `c` for the tile with contiguous rows. The processor must have the instructions of the
/// tile.
pub(super) type Direct<T> =
    unsafe fn(depth: usize, a: *const T, a_row: usize, b: *const T, b_row: usize, c: *mut T);

/// Transposes `lanes` rows, `stride` apart, of `depth` elements to `depth` rows, `to_stride` apart, of
/// `lanes` elements.
///
/// # Safety
/// Both pointers must be valid for these rows, and the processor must have the instructions of the level.
pub(super) type Transpose<T> =
    unsafe fn(from: *const T, stride: usize, depth: usize, to: *mut T, to_stride: usize);

/// The tiles of a level.
#[derive(Debug)]
pub struct Tiles<T: 'static> {
    /// The number of elements of a vector.
    pub(super) lanes: usize,
    /// The heights, the largest first, each with its tiles by the number of vectors in a row less one.
    heights: &'static [(usize, &'static [Tile<T>])],
    /// Transposes a part of a matrix.
    pub(super) transpose: Transpose<T>,
    /// The tiles of few rows, by the binary logarithm of the rows and by the number of vectors in a row less
    /// one.
    direct: &'static [&'static [Direct<T>]],
}

impl<T: 'static> Tiles<T> {
    /// The number of rows of the highest tile.
    pub(super) fn rows(&self) -> usize {
        self.heights[0].0
    }

    /// The number of columns of the widest tile.
    pub(super) fn columns(&self) -> usize {
        self.heights[0].1.len() * self.lanes
    }

    /// The highest tiles that fit `rows` rows: their height, and the tiles by the number of vectors in a row
    /// less one.
    pub(super) fn of(&self, rows: usize) -> (usize, &'static [Tile<T>]) {
        let last = self.heights.len() - 1;
        let fits = self.heights.iter().position(|(height, _)| *height <= rows);
        self.heights[fits.unwrap_or(last)]
    }

    /// About the time of a column of tiles over these rows, in that of one row of the highest tile: sums follow each
    /// other too closely in tiles of less than four rows.
    pub(super) fn cost(&self, rows: usize) -> usize {
        let (mut rest, mut cost) = (rows, 0);
        while rest > 0 {
            let (height, _) = self.of(rest);
            cost += height.max(4);
            rest -= height;
        }
        cost
    }

    /// The tile of this height (1, 2 or 4) and width.
    pub(super) fn direct(&self, height: usize, width: usize) -> Direct<T> {
        self.direct[height.ilog2() as usize][width / self.lanes - 1]
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)] // A tile has as many sides.
unsafe fn compute<V: Vector, const R: usize, const C: usize>(
    depth: usize,
    mut a: *const V::Element,
    mut b: *const V::Element,
    c: *mut V::Element,
    c_row: usize,
    add: bool,
    mut next: *const V::Element,
    zero: V::Element,
) {
    // SAFETY: the contract of `Tile`.
    unsafe {
        for i in 0..R {
            let row = c.add(i * c_row);
            (0..C).for_each(|j| prefetch(row.add(j * V::LANES)));
            prefetch(row.add(C * V::LANES - 1));
        }
        let mut sums = [[V::splat(zero); C]; R];
        // Two steps at once, since counting and computing addresses takes cycles from the multiplications.
        for _ in 0..depth / 2 {
            prefetch_for_later(next);
            next = next.wrapping_byte_add(LINE);
            step::<V, R, C>(a, b, &mut sums);
            step::<V, R, C>(a.add(R), b.add(C * V::LANES), &mut sums);
            (a, b) = (a.add(2 * R), b.add(2 * C * V::LANES));
        }
        if depth % 2 == 1 {
            step::<V, R, C>(a, b, &mut sums);
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let c = c.add(i * c_row + j * V::LANES);
                if add { V::add(sum, V::load(c)).store(c) } else { sum.store(c) }
            }
        }
    }
}

/// Adds the product of a column of `a` and a row of `b`.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const C: usize>(
    a: *const V::Element,
    b: *const V::Element,
    sums: &mut [[V; C]; R],
) {
    // SAFETY: the contract of `Tile`.
    unsafe {
        let b: [V; C] = std::array::from_fn(|j| V::load(b.add(j * V::LANES)));
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = V::splat(*a.add(i));
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.multiply_add(b, *sum);
            }
        }
    }
}

/// [`Transpose`] for a kind of vector.
///
/// # Safety
/// The contract of [`Transpose`].
#[inline(always)]
pub(crate) unsafe fn transpose<V: Vector>(
    from: *const V::Element,
    stride: usize,
    depth: usize,
    to: *mut V::Element,
    to_stride: usize,
) {
    // SAFETY: the contract of `Transpose`.
    unsafe {
        let whole = depth - depth % V::COLUMNS;
        for column in (0..whole).step_by(V::COLUMNS) {
            V::columns(from.add(column), stride, |i, rows| rows.store(to.add((column + i) * to_stride)));
        }
        for column in whole..depth {
            for row in 0..V::LANES {
                *to.add(column * to_stride + row) = *from.add(row * stride + column);
            }
        }
    }
}

/// The same as [`compute`] from the transposed `b`, whose columns are transposed in the registers.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // A tile has as many sides.
unsafe fn compute_direct<V: Vector, const R: usize, const C: usize>(
    depth: usize,
    a: *const V::Element,
    a_row: usize,
    b: *const V::Element,
    b_row: usize,
    c: *mut V::Element,
    zero: V::Element,
) {
    // SAFETY: the contract of `Direct`.
    unsafe {
        let mut sums = [[V::splat(zero); C]; R];
        let whole = depth - depth % V::COLUMNS;
        for first in (0..whole).step_by(V::COLUMNS) {
            for j in 0..C {
                V::columns(b.add(j * V::LANES * b_row + first), b_row, |step, b| {
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let a = V::splat(*a.add(i * a_row + first + step));
                        sums[j] = a.multiply_add(b, sums[j]);
                    }
                });
            }
        }
        for step in whole..depth {
            for j in 0..C {
                let mut column = [zero; LARGEST];
                for (lane, x) in column.iter_mut().enumerate().take(V::LANES) {
                    *x = *b.add((j * V::LANES + lane) * b_row + step);
                }
                let b = V::load(column.as_ptr());
                for (i, sums) in sums.iter_mut().enumerate() {
                    sums[j] = V::splat(*a.add(i * a_row + step)).multiply_add(b, sums[j]);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                sum.store(c.add((i * C + j) * V::LANES));
            }
        }
    }
}

macro_rules! tiles {
    ($name:ident, $vector:ty, $element:ty, [$($rows:tt),*] by $columns:tt, $($feature:meta)?) => {{
        $(#[$feature])?
        unsafe fn tile<const R: usize, const C: usize>(
            depth: usize,
            a: *const $element,
            b: *const $element,
            c: *mut $element,
            c_row: usize,
            add: bool,
            next: *const $element,
        ) {
            // SAFETY: the contract of `Tile`, which is this function's too.
            unsafe { compute::<$vector, R, C>(depth, a, b, c, c_row, add, next, 0.0) }
        }
        $(#[$feature])?
        unsafe fn transposed(
            from: *const $element,
            stride: usize,
            depth: usize,
            to: *mut $element,
            to_stride: usize,
        ) {
            // SAFETY: the contract of `Transpose`, which is this function's too.
            unsafe { transpose::<$vector>(from, stride, depth, to, to_stride) }
        }
        $(#[$feature])?
        unsafe fn direct<const R: usize, const C: usize>(
            depth: usize,
            a: *const $element,
            a_row: usize,
            b: *const $element,
            b_row: usize,
            c: *mut $element,
        ) {
            // SAFETY: the contract of `Direct`, which is this function's too.
            unsafe { compute_direct::<$vector, R, C>(depth, a, a_row, b, b_row, c, 0.0) }
        }
        static $name: Tiles<$element> = Tiles {
            lanes: <$vector>::LANES,
            heights: &[$(($rows, tiles!(@widths tile, $rows, $columns))),*],
            transpose: transposed,
            direct: &[
                tiles!(@widths direct, 1, $columns),
                tiles!(@widths direct, 2, $columns),
                tiles!(@widths direct, 4, $columns),
            ],
        };
        &$name
    }};
    (@widths $tile:ident, $rows:tt, 2) => { &[$tile::<$rows, 1>, $tile::<$rows, 2>] };
    (@widths $tile:ident, $rows:tt, 3) => { &[$tile::<$rows, 1>, $tile::<$rows, 2>, $tile::<$rows, 3>] };
}

macro_rules! tiles_of {
    ($name:ident, $element:ty, $wide:ty, $narrow:ty, $rows:tt) => {
        /// The tiles of a level.
        pub(crate) fn $name(level: SimdLevel) -> &'static Tiles<$element> {
            match level.units() {
                // 28 sums, two vectors of B and one of A are in the 32 registers.
                #[cfg(target_arch = "x86_64")]
                Units::Avx512 => {
                    tiles!(WIDE, $wide, $element, [14, 8, 4, 2, 1] by 2, target_feature(enable = "avx512f"))
                }
                // 12 sums, two vectors of B and one of A are in the 16 registers, and one is left. (Of 4 rows by
                // 3 vectors, which take all 16, the compiler keeps a sum on the stack.)
                #[cfg(target_arch = "x86_64")]
                Units::Avx2 => {
                    tiles!(NARROW, $narrow, $element, [6, 4, 2, 1] by 2, target_feature(enable = "avx2,fma"))
                }
                // Of 32 registers of 128 bits, 24 hold sums.
                #[cfg(target_arch = "aarch64")]
                _ => tiles!(PORTABLE, Four<$element>, $element, $rows by 3,),
                #[cfg(not(target_arch = "aarch64"))]
                _ => tiles!(PORTABLE, Four<$element>, $element, [4, 2, 1] by 3,),
            }
        }
    };
}

tiles_of!(of_f32, f32, __m512, __m256, [8, 4, 2, 1]);
tiles_of!(of_f64, f64, __m512d, __m256d, [4, 2, 1]);
