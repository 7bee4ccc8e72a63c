//! Copies of parts of the operands, in the order in which the tiles read them.

use std::cell::RefCell;
use std::ops::Range;

use super::tile::{Element, Tiles};
use super::{LINE, Matrix, Real, chunks};
use crate::parallel;

/// Hands out `size` elements of what they hold, which begin at a cache line. The memory stays with the thread from one
/// product to the next.
pub(super) fn with_buffer<T: Real, R>(size: usize, use_it: impl FnOnce(&mut [T]) -> R) -> R {
    let mut kept = T::take_kept();
    if kept.len() < size + LINE {
        kept.resize(size + LINE, T::ZERO);
    }
    let start = kept.as_ptr().align_offset(LINE).min(LINE);
    let result = use_it(&mut kept[start..start + size]);
    T::keep(kept);
    result
}

/// How many elements the packed columns of `B` take.
pub(super) fn columns_size<T: 'static>(columns: usize, depth: usize, tiles: &Tiles<T>) -> usize {
    columns.next_multiple_of(tiles.lanes) * depth
}

/// Keeps buffers in each thread.
pub trait Keep: Sized {
    /// Takes the buffer that was kept last, or an empty one.
    fn take_kept() -> Vec<Self>;

    /// Keeps a buffer.
    fn keep(buffer: Vec<Self>);
}

macro_rules! keep {
    ($element:ty, $kept:ident) => {
        thread_local!(static $kept: RefCell<Vec<Vec<$element>>> = const { RefCell::new(Vec::new()) });

        impl Keep for $element {
            fn take_kept() -> Vec<$element> {
                $kept.with_borrow_mut(|kept| kept.pop()).unwrap_or_default()
            }

            fn keep(buffer: Vec<$element>) {
                $kept.with_borrow_mut(|kept| kept.push(buffer));
            }
        }
    };
}

keep!(f32, KEPT_F32);
keep!(f64, KEPT_F64);

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
pub(super) fn panels<T: 'static>(
    columns: usize,
    depth: usize,
    tiles: &Tiles<T>,
) -> impl Iterator<Item = Panel> {
    let (widest, lanes) = (tiles.columns(), tiles.lanes);
    (0..columns).step_by(widest).map(move |first| {
        let columns = widest.min(columns - first);
        Panel { start: first * depth, first, columns, width: columns.next_multiple_of(lanes) }
    })
}

/// Packs rows `depths` of `B` into panels, `depth` rows of all columns after as many others.
pub(super) fn columns<T: Element>(
    b: &Matrix<T>,
    depths: Range<usize>,
    depth: usize,
    tiles: &Tiles<T>,
    negate: bool,
    parallel: bool,
    packed: &mut [T],
) {
    let mut rest = packed;
    let mut jobs = Vec::new();
    for rows in chunks(depths, depth) {
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
        let from = |row: usize| &b.data[row * b.row_stride + first..];
        match width {
            // The usual numbers at once, without a call.
            32 if columns == width => side_by_side::<T, 32>(rows, from, to),
            24 if columns == width => side_by_side::<T, 24>(rows, from, to),
            16 if columns == width => side_by_side::<T, 16>(rows, from, to),
            12 if columns == width => side_by_side::<T, 12>(rows, from, to),
            _ => {
                for (to, row) in to.chunks_exact_mut(width).zip(rows) {
                    to[..columns].copy_from_slice(&from(row)[..columns]);
                    to[columns..].fill(T::ZERO);
                }
            }
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

/// How many elements the packed rows of `A` take, and those behind them that packing may write to.
pub(super) fn rows_size<T: 'static>(rows: usize, depth: usize, tiles: &Tiles<T>) -> usize {
    rows * depth + tiles.lanes
}

/// Packs some rows of `A`: those of a tile side by side, one tile's rows behind the other's, so that row `i` of them is
/// at `i` times the depth.
pub(super) fn rows<T: Element>(
    a: &Matrix<T>,
    rows: Range<usize>,
    depths: Range<usize>,
    tiles: &Tiles<T>,
    buffer: &mut [T],
) {
    /// Columns whose rows are read while they are in the first cache, if rows lie side by side.
    const STRIP: usize = 32;
    let (depth, strip) = (depths.len(), if a.row_stride == 1 { STRIP } else { depths.len().max(1) });
    for columns in chunks(depths.clone(), strip) {
        let mut first = rows.start;
        while first < rows.end {
            let (height, _) = tiles.of(rows.end - first);
            let at = (first - rows.start) * depth + (columns.start - depths.start) * height;
            some_rows(a, first, height, columns.clone(), tiles, &mut buffer[at..]);
            first += height;
        }
    }
}

/// Packs the rows of one tile, and may write to a vector less one element behind them.
fn some_rows<T: Element>(
    a: &Matrix<T>,
    first: usize,
    height: usize,
    depths: Range<usize>,
    tiles: &Tiles<T>,
    to: &mut [T],
) {
    let (depth, lanes) = (depths.len(), tiles.lanes);
    if a.row_stride == 1 {
        let from = |column: usize| &a.data[column * a.column_stride + first..];
        return match height {
            14 => side_by_side::<T, 14>(depths, from, to),
            8 => side_by_side::<T, 8>(depths, from, to),
            4 => side_by_side::<T, 4>(depths, from, to),
            _ => {
                for (to, column) in to.chunks_exact_mut(height).zip(depths) {
                    to.copy_from_slice(&from(column)[..height]);
                }
            }
        };
    }
    // Whole vectors of rows: the last may begin before the one ahead of it ends, or end behind the rows of the tile, where
    // the next step and the next tile write after it.
    let starts = (0..height.saturating_sub(lanes)).step_by(lanes).chain([height.saturating_sub(lanes)]);
    for start in starts {
        let from = &a.data[(first + start) * a.row_stride + depths.start * a.column_stride..];
        let inside = a.column_stride == 1 && from.len() >= (lanes - 1) * a.row_stride + depth;
        if depth > 0 && inside && height > lanes / 2 {
            let to = &mut to[start..];
            debug_assert!(to.len() >= (depth - 1) * height + lanes);
            // SAFETY: there are `lanes` rows here of `depth` elements and more, and places for a vector at each step.
            unsafe { (tiles.transpose)(from.as_ptr(), a.row_stride, depth, to.as_mut_ptr(), height) };
        } else {
            for row in start..height.min(start + lanes) {
                for (step, column) in depths.clone().enumerate() {
                    to[step * height + row] = a.data[(first + row) * a.row_stride + column * a.column_stride];
                }
            }
        }
    }
}

/// Copies `H` elements from each column.
fn side_by_side<'a, T: Element, const H: usize>(
    columns: Range<usize>,
    from: impl Fn(usize) -> &'a [T],
    to: &mut [T],
) {
    for (to, column) in to.as_chunks_mut::<H>().0.iter_mut().zip(columns) {
        if let Some(from) = from(column).first_chunk() {
            *to = *from;
        }
    }
}
