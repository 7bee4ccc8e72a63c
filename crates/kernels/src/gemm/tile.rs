//! The tile of `C` that stays in the registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

use super::vector::{Four, Vector};
use crate::simd::Level;

/// The most elements that a tile has: 8 rows of 3 vectors of 16.
pub(super) const LARGEST: usize = 8 * 48;

/// Computes a tile: `c = a·b`, or `c = c + a·b` with `add`.
///
/// # Safety
/// `a` must be good for the tile's rows, `a_row` apart, of `depth` elements, `a_step` apart; `b` for `depth` rows of
/// the tile's width, one behind the other; `c` for the tile's rows, `c_row` apart. The processor must have the
/// instructions of the tile.
pub(super) type Tile<T> = unsafe fn(
    depth: usize,
    a: *const T,
    a_row: usize,
    a_step: usize,
    b: *const T,
    c: *mut T,
    c_row: usize,
    add: bool,
);

/// Writes columns of a matrix as rows: of `lanes` rows, `stride` apart, of `depth` elements, `depth` rows, `to_stride`
/// apart, of `lanes`.
///
/// # Safety
/// Both must be good for that, and the processor must have the instructions of the level.
pub(super) type Transpose<T> =
    unsafe fn(from: *const T, stride: usize, depth: usize, to: *mut T, to_stride: usize);

/// The tiles of a level.
#[derive(Debug)]
pub struct Tiles<T> {
    /// The rows of the highest tile: a power of two.
    pub(super) rows: usize,
    /// The elements of a vector.
    pub(super) lanes: usize,
    /// By the logarithm of the rows, and by the vectors in a row less one.
    tiles: [[Tile<T>; 3]; 4],
    /// Columns of a matrix to rows.
    pub(super) transpose: Transpose<T>,
    /// For products of up to four rows, by the logarithm of the rows and by the vectors in a row less one.
    direct: [[Tile<T>; 3]; 3],
}

/// How many rows of `B` ahead of their use they are asked for.
const AHEAD: usize = 8;

/// The vectors in a row of the widest tile.
const VECTORS: usize = 3;

impl<T> Tiles<T> {
    /// The columns of the widest tile.
    pub(super) fn columns(&self) -> usize {
        VECTORS * self.lanes
    }

    /// The highest tile for so many rows.
    pub(super) fn height(&self, rows: usize) -> usize {
        self.rows.min(1 << rows.ilog2())
    }

    /// A tile of this height (1, 2 or 4) whose `b` is the transposed matrix, its rows `c_row` apart in place of those of
    /// `c`, of which there is but one tile's height and width, one row behind the other.
    pub(super) fn direct(&self, height: usize, width: usize) -> Tile<T> {
        self.direct[height.ilog2() as usize][width / self.lanes - 1]
    }

    /// The tile of this height (a power of two) and width (a multiple of the vectors).
    pub(super) fn of(&self, height: usize, width: usize) -> Tile<T> {
        self.tiles[height.ilog2() as usize][width / self.lanes - 1]
    }
}

/// What a matrix is made of.
pub trait Element:
    Copy + Send + Sync + std::fmt::Debug + std::ops::Add<Output = Self> + std::ops::Neg<Output = Self> + 'static
{
    /// 0.
    const ZERO: Self;

    /// The tiles of a level.
    fn tiles(level: Level) -> &'static Tiles<Self>;
}

#[inline(always)]
#[allow(clippy::too_many_arguments)] // As many as a tile has sides.
unsafe fn compute<V: Vector, const R: usize, const C: usize>(
    depth: usize,
    a: *const V::Element,
    a_row: usize,
    a_step: usize,
    b: *const V::Element,
    c: *mut V::Element,
    c_row: usize,
    add: bool,
    zero: V::Element,
) {
    // SAFETY: the contract of `Tile`.
    unsafe {
        let mut sums = [[V::splat(zero); C]; R];
        for step in 0..depth {
            let mut row_of_b = [V::splat(zero); C];
            for (j, b_j) in row_of_b.iter_mut().enumerate() {
                let b = b.add((step * C + j) * V::LANES);
                *b_j = V::load(b);
                V::prefetch(b.wrapping_add(AHEAD * C * V::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = V::splat(*a.add(i * a_row + step * a_step));
                for (sum, b) in sums.iter_mut().zip(row_of_b) {
                    *sum = a.multiply_add(b, *sum);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let c = c.add(i * c_row + j * V::LANES);
                if add { V::add(sum, V::load(c)).store(c) } else { sum.store(c) }
            }
        }
    }
}

#[inline(always)]
unsafe fn transpose<V: Vector>(
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

/// As [`compute`], from the transposed `b`, whose columns are made in the registers.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // As many as a tile has sides.
unsafe fn compute_direct<V: Vector, const R: usize, const C: usize>(
    depth: usize,
    a: *const V::Element,
    a_row: usize,
    b: *const V::Element,
    b_row: usize,
    c: *mut V::Element,
    zero: V::Element,
) {
    // SAFETY: the contract of `Tile`, with `b` of `C` vectors of rows, `b_row` apart, of `depth` elements.
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
    ($name:ident, $vector:ty, $element:ty, $rows:expr, $($feature:meta)?) => {{
        $(#[$feature])?
        #[allow(clippy::too_many_arguments)] // As above.
        unsafe fn tile<const R: usize, const C: usize>(
            depth: usize,
            a: *const $element,
            a_row: usize,
            a_step: usize,
            b: *const $element,
            c: *mut $element,
            c_row: usize,
            add: bool,
        ) {
            // SAFETY: the contract of `Tile`, which is this function's too.
            unsafe { compute::<$vector, R, C>(depth, a, a_row, a_step, b, c, c_row, add, 0.0) }
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
        #[allow(clippy::too_many_arguments)] // As above.
        unsafe fn direct<const R: usize, const C: usize>(
            depth: usize,
            a: *const $element,
            a_row: usize,
            _: usize,
            b: *const $element,
            c: *mut $element,
            b_row: usize,
            _: bool,
        ) {
            // SAFETY: the contract of `Tiles::direct`, which is this function's too.
            unsafe { compute_direct::<$vector, R, C>(depth, a, a_row, b, b_row, c, 0.0) }
        }
        static $name: Tiles<$element> = Tiles {
            direct: [
                [direct::<1, 1>, direct::<1, 2>, direct::<1, 3>],
                [direct::<2, 1>, direct::<2, 2>, direct::<2, 3>],
                [direct::<4, 1>, direct::<4, 2>, direct::<4, 3>],
            ],
            transpose: transposed,
            rows: $rows,
            lanes: <$vector>::LANES,
            tiles: [
                [tile::<1, 1>, tile::<1, 2>, tile::<1, 3>],
                [tile::<2, 1>, tile::<2, 2>, tile::<2, 3>],
                [tile::<4, 1>, tile::<4, 2>, tile::<4, 3>],
                [tile::<8, 1>, tile::<8, 2>, tile::<8, 3>],
            ],
        };
        &$name
    }};
}

macro_rules! element {
    ($element:ty, $wide:ty, $narrow:ty) => {
        impl Element for $element {
            const ZERO: Self = 0.0;

            fn tiles(level: Level) -> &'static Tiles<Self> {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => tiles!(WIDE, $wide, $element, 8, target_feature(enable = "avx512f")),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => tiles!(NARROW, $narrow, $element, 4, target_feature(enable = "avx2,fma")),
                    _ => tiles!(PORTABLE, Four<$element>, $element, 4,),
                }
            }
        }
    };
}

element!(f32, __m512, __m256);
element!(f64, __m512d, __m256d);
