//! Products whose right operand is never a matrix in memory: it is made panel by panel, in the packed order.

use std::ops::Range;

use crate::cpu::element::Number;
use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm::buffer;
use crate::linalg::gemm::matrix::{Matrix, chunks};
use crate::linalg::gemm::pack::{self, Panel};
use crate::linalg::gemm::product::{Output, depth_of, panel_of};
use crate::linalg::gemm::tile::Tiles;

/// The number of elements that [`Left::panel`] gives its `fill` beyond the panel, so that rows can be written in
/// pieces of this size.
pub(crate) const SLACK: usize = 8;

/// A packed left operand.
pub(crate) struct Left<'a, T: Number> {
    packed: &'a [T],
    rows: usize,
    depth: usize,
    tiles: &'static Tiles<T>,
}

/// The place of a panel's result: rows that begin `row_stride` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Target<T> {
    pub(crate) start: *mut T,
    /// The number of elements from `start` on that belong to the result.
    pub(crate) len: usize,
    pub(crate) row_stride: usize,
    /// Whether the product is added to what is there.
    pub(crate) add: bool,
}

/// The number of columns of the widest panel.
pub(crate) fn widest<T: Number>(level: SimdLevel) -> usize {
    T::tiles(level).columns()
}

/// Calls `f` with memory of `size` elements of unspecified value, which stays with the thread.
pub(crate) fn with_buffer<T: Number, R>(size: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    buffer::with_buffer(size, f)
}

/// The number of elements that [`pack_right`] needs for an operand of `depth` rows.
pub(crate) fn right_size<T: Number>(level: SimdLevel, depth: usize) -> usize {
    widest::<T>(level) * depth + SLACK
}

/// Packs `columns` columns of a right operand, at most [`widest`], whose rows `fill` writes as for [`Left::panel`].
pub(crate) fn pack_right<T: Number>(
    level: SimdLevel,
    columns: usize,
    depth: usize,
    packed: &mut [T],
    mut fill: impl FnMut(Range<usize>, usize, &mut [T]),
) {
    let width = columns.next_multiple_of(T::tiles(level).lanes);
    for depths in chunks(0..depth, depth_of(depth)) {
        let to = &mut packed[width * depths.start..][..width * depths.len() + SLACK];
        fill(depths, width, to);
    }
}

impl<'a, T: Number> Left<'a, T> {
    /// The number of elements that [`pack`](Self::pack) needs.
    pub(crate) fn size(level: SimdLevel, rows: usize, depth: usize) -> usize {
        pack::rows_size(rows, depth, T::tiles(level))
    }

    /// Packs a matrix into a buffer of [`size`](Self::size) elements.
    pub(crate) fn pack(level: SimdLevel, a: Matrix<T>, buffer: &'a mut [T]) -> Self {
        let (rows, depth, tiles) = (a.rows(), a.columns(), T::tiles(level));
        for depths in chunks(0..depth, depth_of(depth)) {
            let to = &mut buffer[rows * depths.start..];
            pack::rows(&a, 0..rows, depths, tiles, to);
        }
        Self { packed: buffer, rows, depth, tiles }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Computes `columns` columns of the product, at most [`widest`]. `fill` writes some rows of the right operand,
    /// given their numbers and the width of a row in its memory; what it writes beyond `columns` has no effect.
    ///
    /// Each element is summed over the rows in rising order, in blocks of at most 512, as in every product.
    pub(crate) fn panel(
        &self,
        columns: usize,
        target: Target<T>,
        mut fill: impl FnMut(Range<usize>, usize, &mut [T]),
    ) {
        let width = columns.next_multiple_of(self.tiles.lanes);
        debug_assert!(columns > 0 && columns <= self.tiles.columns());
        debug_assert!((self.rows - 1) * target.row_stride + columns <= target.len);
        let block = depth_of(self.depth);
        let output = Output { start: target.start, len: target.len, row_stride: target.row_stride };
        buffer::with_buffer(width * block + SLACK, |packed| {
            for depths in chunks(0..self.depth, block) {
                fill(depths.clone(), width, &mut packed[..width * depths.len() + SLACK]);
                let panel = Panel { start: 0, first: 0, columns, width };
                let a = &self.packed[self.rows * depths.start..];
                let add = target.add || depths.start > 0;
                panel_of(self.tiles, output, panel, self.rows, depths.len(), (a, packed), add);
            }
        });
    }

    /// Computes the same columns from a right operand that [`pack_right`] has packed.
    pub(crate) fn packed_panel(&self, columns: usize, target: Target<T>, packed: &[T]) {
        debug_assert!((self.rows - 1) * target.row_stride + columns <= target.len);
        let width = columns.next_multiple_of(self.tiles.lanes);
        let output = Output { start: target.start, len: target.len, row_stride: target.row_stride };
        for depths in chunks(0..self.depth, depth_of(self.depth)) {
            let panel = Panel { start: 0, first: 0, columns, width };
            let (a, b) = (&self.packed[self.rows * depths.start..], &packed[width * depths.start..]);
            panel_of(
                self.tiles,
                output,
                panel,
                self.rows,
                depths.len(),
                (a, b),
                target.add || depths.start > 0,
            );
        }
    }

    /// Turns `columns` rows of a matrix, `stride` apart, into the panel that [`panel`](Self::panel) asks for.
    pub(crate) fn turn(&self, rows: &[T], columns: usize, stride: usize, depth: usize, to: &mut [T]) {
        let Some(matrix) = Matrix::part(rows, columns, depth, stride) else { return };
        let width = columns.next_multiple_of(self.tiles.lanes);
        let panel = Panel { start: 0, first: 0, columns, width };
        pack::some_panels(&matrix.t(), &[panel], 0..depth, self.tiles, false, &mut to[..width * depth]);
    }
}
