//! Copies of parts of the operands, in the order in which the tiles read them.

use std::cell::Cell;
use std::ops::Range;

use super::tile::{Element, Tiles};
use super::{DEPTH, Matrix, Real};
use crate::parallel;

/// A cache line, in bytes: a vector that lies across two is read in two steps.
const LINE: usize = 64;

/// Hands out `size` elements of what they hold, which begin at a cache line. The memory stays with the thread from one
/// product to the next.
pub(super) fn with_buffer<T: Real, R>(size: usize, use_it: impl FnOnce(&mut [T]) -> R) -> R {
    T::with_kept(|kept| {
        if kept.len() < size + LINE {
            kept.resize(size + LINE, T::ZERO);
        }
        let start = kept.as_ptr().align_offset(LINE).min(LINE);
        use_it(&mut kept[start..start + size])
    })
}

/// How many elements the packed columns of `B` take.
pub(super) fn columns_size<T>(columns: usize, depth: usize, tiles: &Tiles<T>) -> usize {
    columns.next_multiple_of(tiles.lanes) * depth
}

/// Keeps a buffer in each thread.
pub trait Keep: Sized {
    /// Takes the thread's buffer, or an empty one while it is taken.
    fn with_kept<R>(use_it: impl FnOnce(&mut Vec<Self>) -> R) -> R;
}

macro_rules! keep {
    ($element:ty) => {
        impl Keep for $element {
            fn with_kept<R>(use_it: impl FnOnce(&mut Vec<Self>) -> R) -> R {
                thread_local!(static KEPT: Cell<Vec<$element>> = const { Cell::new(Vec::new()) });
                let mut buffer = KEPT.take();
                let result = use_it(&mut buffer);
                KEPT.set(buffer);
                result
            }
        }
    };
}

keep!(f32);
keep!(f64);

/// A panel of `B`: some columns, row after row, filled up to a whole number of vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// Where it starts in the packed matrix.
    pub(super) start: usize,
    /// Its first column.
    pub(super) first: usize,
    /// How many columns of the matrix it has.
    pub(super) columns: usize,
    /// How many with the filling.
    pub(super) width: usize,
}

/// The panels of `columns` columns and `depth` rows.
pub(super) fn panels<T>(columns: usize, depth: usize, tiles: &Tiles<T>) -> impl Iterator<Item = Panel> {
    let (widest, lanes) = (tiles.columns(), tiles.lanes);
    (0..columns).step_by(widest).map(move |first| {
        let columns = widest.min(columns - first);
        Panel { start: first * depth, first, columns, width: columns.next_multiple_of(lanes) }
    })
}

/// Packs rows `depths` of `B` into panels, block of rows after block.
pub(super) fn columns<T: Element>(
    b: &Matrix<T>,
    depths: Range<usize>,
    tiles: &Tiles<T>,
    negate: bool,
    parallel: bool,
    packed: &mut [T],
) {
    let mut rest = packed;
    let mut jobs = Vec::new();
    for start in depths.clone().step_by(DEPTH) {
        let rows = start..depths.end.min(start + DEPTH);
        for panel in panels(b.columns, rows.len(), tiles) {
            let (to, after) = rest.split_at_mut(panel.width * rows.len());
            jobs.push((panel, rows.clone(), to));
            rest = after;
        }
    }
    let size = if parallel { 1 } else { jobs.len() };
    parallel::for_each_part(&mut jobs, size, |_, jobs| {
        for (panel, rows, to) in jobs {
            one_panel(b, *panel, rows.clone(), tiles, negate, to);
        }
    });
}

/// Packs some rows of a panel.
pub(super) fn one_panel<T: Element>(
    b: &Matrix<T>,
    Panel { first, columns, width, .. }: Panel,
    rows: Range<usize>,
    tiles: &Tiles<T>,
    negate: bool,
    to: &mut [T],
) {
    if b.column_stride == 1 {
        for (to, row) in to.chunks_exact_mut(width).zip(rows) {
            let from = &b.data[row * b.row_stride + first..][..columns];
            to[..columns].copy_from_slice(from);
            to[columns..].fill(T::ZERO);
        }
    } else {
        transpose(b, rows, first..first + columns, width, tiles, to);
    }
    if negate {
        for x in to {
            *x = -*x;
        }
    }
}

/// Packs some rows of a panel of a matrix whose columns lie one behind the other.
fn transpose<T: Element>(
    b: &Matrix<T>,
    rows: Range<usize>,
    columns: Range<usize>,
    width: usize,
    tiles: &Tiles<T>,
    to: &mut [T],
) {
    let depth = rows.len();
    for start in (0..width).step_by(tiles.lanes) {
        let some = columns.start + start..columns.end.min(columns.start + start + tiles.lanes);
        if depth > 0 && some.len() == tiles.lanes && b.row_stride == 1 {
            let from = &b.data[some.start * b.column_stride + rows.start..];
            let to = &mut to[start..];
            debug_assert!(from.len() >= (tiles.lanes - 1) * b.column_stride + depth);
            debug_assert!(to.len() >= (depth - 1) * width + tiles.lanes);
            // SAFETY: there are `lanes` columns here of `depth` elements and more, and as many places for them.
            unsafe { (tiles.transpose)(from.as_ptr(), b.column_stride, depth, to.as_mut_ptr(), width) };
            continue;
        }
        for (place, row) in rows.clone().enumerate() {
            let to = &mut to[place * width + start..][..tiles.lanes];
            to.fill(T::ZERO);
            for (to, column) in to.iter_mut().zip(some.clone()) {
                *to = b.data[column * b.column_stride + row * b.row_stride];
            }
        }
    }
}

/// Some rows of `A` and some of its columns.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    data: &'a [T],
    row_stride: usize,
    column_stride: usize,
    /// Rows that lie together, if they are packed.
    together: usize,
    depth: usize,
}

impl<'a, T> Rows<'a, T> {
    /// In the matrix itself, whose rows are contiguous.
    pub(super) fn as_they_lie(a: &Matrix<'a, T>, rows: Range<usize>, depths: Range<usize>) -> Self {
        let data = &a.data[rows.start * a.row_stride + depths.start..];
        Self { data, row_stride: a.row_stride, column_stride: 1, together: 0, depth: depths.len() }
    }

    /// From a row on: the first element, and how far apart rows and columns are.
    pub(super) fn from(&self, row: usize) -> (*const T, usize, usize) {
        let start = match self.together {
            0 => row * self.row_stride,
            together => row / together * together * self.depth + row % together,
        };
        (self.data[start..].as_ptr(), self.row_stride, self.column_stride)
    }
}

/// How many elements the packed rows of `A` take.
pub(super) fn rows_size(rows: usize, depth: usize, together: usize) -> usize {
    rows.next_multiple_of(together) * depth
}

/// Packs some rows of `A`, `together` of them side by side.
pub(super) fn rows<'a, T: Element>(
    a: &Matrix<T>,
    rows: Range<usize>,
    depths: Range<usize>,
    together: usize,
    buffer: &'a mut [T],
) -> Rows<'a, T> {
    /// Columns whose rows are read while they are in the first cache.
    const STRIP: usize = 32;
    let depth = depths.len();
    let columns: Vec<usize> = depths.collect();
    for (part, columns) in columns.chunks(STRIP).enumerate() {
        for first in (0..rows.len()).step_by(together) {
            let here = together.min(rows.len() - first);
            let start = rows.start + first;
            let to = &mut buffer[first * depth + part * STRIP * together..];
            for (to, column) in to.chunks_exact_mut(together).zip(columns) {
                let from = &a.data[column * a.column_stride..];
                let whole: Option<&[T; 8]> =
                    from.get(start..start + here).and_then(|rows| rows.try_into().ok());
                if let (1, Some(rows), Ok(to)) = (a.row_stride, whole, <&mut [T; 8]>::try_from(&mut *to)) {
                    // The usual number at once, without a call.
                    *to = *rows;
                } else if a.row_stride == 1 {
                    to[..here].copy_from_slice(&from[start..start + here]);
                } else {
                    for (i, to) in to[..here].iter_mut().enumerate() {
                        *to = from[(start + i) * a.row_stride];
                    }
                }
            }
        }
    }
    Rows { data: buffer, row_stride: 1, column_stride: together, together, depth }
}
