//! Packed copies of parts of the operands, in the order in which the tiles read them.

use std::ops::Range;

use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::linalg::gemm::matrix::{Matrix, chunks};
use crate::linalg::gemm::tile::Tiles;
use crate::linalg::gemm::vector::{self, LINE};

/// The number of elements of the packed columns of `B`.
pub(super) fn columns_size<T: 'static>(columns: usize, depth: usize, tiles: &Tiles<T>) -> usize {
    columns.next_multiple_of(tiles.lanes) * depth
}

/// A panel of `B`: some columns, row after row, padded to a whole number of vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    /// The index in the packed matrix at which the panel starts.
    pub(super) start: usize,
    /// The first column.
    pub(super) first: usize,
    /// The number of columns of the matrix.
    pub(super) columns: usize,
    /// The number of columns with the padding.
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

/// The largest number of panels that are packed together.
const MOST: usize = 8;

/// The number of panels that are packed together, so that rows are read in long pieces.
fn together<T: 'static>(tiles: &Tiles<T>) -> usize {
    /// The length of a piece, in bytes.
    const PIECE: usize = 256;
    (PIECE / (tiles.columns() * size_of::<T>())).clamp(1, MOST)
}

/// Panels that are packed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    panels: [Panel; MOST],
    count: usize,
}

impl std::ops::Deref for Group {
    type Target = [Panel];

    fn deref(&self) -> &[Panel] {
        &self.panels[..self.count]
    }
}

impl FromIterator<Panel> for Group {
    /// At most [`MOST`] panels.
    fn from_iter<I: IntoIterator<Item = Panel>>(panels: I) -> Self {
        let none = Panel { start: 0, first: 0, columns: 0, width: 0 };
        let mut group = Self { panels: [none; MOST], count: 0 };
        for (to, panel) in group.panels.iter_mut().zip(panels) {
            *to = panel;
            group.count += 1;
        }
        group
    }
}

/// The number of groups of panels of `columns` columns.
pub(super) fn groups<T: 'static>(columns: usize, tiles: &Tiles<T>) -> usize {
    columns.div_ceil(tiles.columns() * together(tiles))
}

/// One of these groups.
pub(super) fn group<T: 'static>(columns: usize, index: usize, tiles: &Tiles<T>) -> Group {
    let many = together(tiles);
    panels(columns, 0, tiles).skip(index * many).take(many).collect()
}

/// Consecutive panels of `depth` rows as they lie in a buffer of their own.
pub(super) fn placed(panels: &[Panel], depth: usize) -> Group {
    let left = panels.first().map_or(0, |panel| panel.first);
    panels.iter().map(|panel| Panel { start: (panel.first - left) * depth, ..*panel }).collect()
}

/// Packs the rows `depths` of `B` into panels: all columns of the first `depth` rows, then of the next.
pub(super) fn columns<T: Number>(
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
        let all: Vec<Panel> = panels(b.columns, rows.len(), tiles).collect();
        for some in all.chunks(together(tiles)) {
            let size: usize = some.iter().map(|panel| panel.width * rows.len()).sum();
            let (to, after) = rest.split_at_mut(size);
            jobs.push((some.to_vec(), rows.clone(), to));
            rest = after;
        }
    }
    let size = if parallel { 1 } else { jobs.len() };
    parallel::for_each_part(&mut jobs, size, |_, jobs| {
        for (panels, rows, to) in jobs {
            some_panels(b, panels, rows.clone(), tiles, negate, to);
        }
    });
}

/// Packs some rows of consecutive panels.
pub(super) fn some_panels<T: Number>(
    b: &Matrix<T>,
    panels: &[Panel],
    rows: Range<usize>,
    tiles: &Tiles<T>,
    negate: bool,
    to: &mut [T],
) {
    let Some(&Panel { first: left, start, .. }) = panels.first() else { return };
    if b.column_stride == 1 {
        let moves = panels.iter().map(|p| Move {
            from: p.first - left,
            len: p.columns,
            to: p.start - start,
            step: p.width,
        });
        spread(rows, |row| &b.data[row * b.row_stride + left..], moves, to);
    } else {
        for panel in panels {
            let Panel { first, columns, width, .. } = *panel;
            let to = &mut to[panel.start - start..][..width * rows.len()];
            transpose(b, rows.clone(), first..first + columns, width, tiles, to);
        }
    }
    if negate {
        for x in to {
            *x = -*x;
        }
    }
}

/// A part of each row, and its destination.
#[derive(Clone)]
struct Move {
    from: usize,
    len: usize,
    /// The destination of the first row's part.
    to: usize,
    /// The distance from one row's destination to the next.
    step: usize,
}

/// Copies parts of rows to their destinations, padded with zeros.
fn spread<'a, T: Number>(
    rows: Range<usize>,
    row: impl Fn(usize) -> &'a [T],
    moves: impl Iterator<Item = Move> + Clone,
    to: &mut [T],
) {
    /// The number of rows to prefetch: each is on another page, so the processor's own prefetcher does not
    /// help.
    const AHEAD: usize = 8;
    let ends = moves.clone().map(|part| part.from + part.len);
    let length = ends.max().unwrap_or(0);
    let last = rows.end;
    for (index, number) in rows.enumerate() {
        if number + AHEAD < last {
            let ahead = &row(number + AHEAD)[..length];
            (0..length).step_by(LINE / size_of::<T>()).for_each(|at| vector::prefetch(&ahead[at]));
        }
        let from = row(number);
        for Move { from: start, len, to: first, step } in moves.clone() {
            let (from, to) = (&from[start..start + len], &mut to[first + index * step..][..step]);
            let (to, filling) = to.split_at_mut(len);
            // The usual lengths are copied without a call.
            match len {
                32 => copy::<T, 32>(from, to),
                24 => copy::<T, 24>(from, to),
                16 => copy::<T, 16>(from, to),
                14 => copy::<T, 14>(from, to),
                12 => copy::<T, 12>(from, to),
                8 => copy::<T, 8>(from, to),
                6 => copy::<T, 6>(from, to),
                4 => copy::<T, 4>(from, to),
                _ => to.copy_from_slice(from),
            }
            filling.fill(T::ZERO);
        }
    }
}

fn copy<T: Copy, const N: usize>(from: &[T], to: &mut [T]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
}

/// Packs some rows of a panel of a matrix whose columns are contiguous.
fn transpose<T: Number>(
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
            // SAFETY: `from` has `lanes` columns of at least `depth` elements, and `to` has room for `depth`
            // rows of `lanes`.
            unsafe { (tiles.transpose)(from.as_ptr(), b.column_stride, depth, to.as_mut_ptr(), width) };
            continue;
        }
        for (index, row) in rows.clone().enumerate() {
            let to = &mut to[index * width + start..][..tiles.lanes];
            to.fill(T::ZERO);
            for (to, column) in to.iter_mut().zip(some.clone()) {
                *to = b.data[column * b.column_stride + row * b.row_stride];
            }
        }
    }
}

/// The number of elements of the packed rows of `A`, and of those after them that packing may overwrite.
pub(super) fn rows_size<T: 'static>(rows: usize, depth: usize, tiles: &Tiles<T>) -> usize {
    rows * depth + tiles.lanes
}

/// Packs some rows of `A`, tile after tile, the rows of a tile interleaved, so that a tile whose first row is
/// `i` begins at `i` times the depth.
pub(super) fn rows<T: Number>(
    a: &Matrix<T>,
    rows: Range<usize>,
    depths: Range<usize>,
    tiles: &Tiles<T>,
    buffer: &mut [T],
) {
    let depth = depths.len();
    let slivers = slivers(rows.clone(), tiles);
    if a.row_stride == 1 {
        let moves =
            slivers.map(|(first, height)| Move { from: first, len: height, to: first * depth, step: height });
        return spread(depths, |column| &a.data[column * a.column_stride + rows.start..], moves, buffer);
    }
    for (first, height) in slivers {
        some_rows(a, rows.start + first, height, depths.clone(), tiles, &mut buffer[first * depth..]);
    }
}

/// The tiles that the rows are split into: the number of rows above each, and its height.
fn slivers<T: 'static>(rows: Range<usize>, tiles: &Tiles<T>) -> impl Iterator<Item = (usize, usize)> + Clone {
    let all = rows.len();
    std::iter::successors(Some((0, 0)), move |(first, height)| {
        let first = first + height;
        (first < all).then(|| (first, tiles.of(all - first).0))
    })
    .skip(1)
}

/// Packs the rows of one tile. It may overwrite up to a vector less one element after them.
fn some_rows<T: Number>(
    a: &Matrix<T>,
    first: usize,
    height: usize,
    depths: Range<usize>,
    tiles: &Tiles<T>,
    to: &mut [T],
) {
    let (depth, lanes) = (depths.len(), tiles.lanes);
    // Whole vectors of rows are packed. The last may overlap the one before it, or reach beyond the rows of
    // the tile, where the next step and the next tile write later.
    let starts = (0..height.saturating_sub(lanes)).step_by(lanes).chain([height.saturating_sub(lanes)]);
    for start in starts {
        let from = &a.data[(first + start) * a.row_stride + depths.start * a.column_stride..];
        let inside = a.column_stride == 1 && from.len() >= (lanes - 1) * a.row_stride + depth;
        if depth > 0 && inside && height > lanes / 2 {
            let to = &mut to[start..];
            debug_assert!(to.len() >= (depth - 1) * height + lanes);
            // SAFETY: `from` has `lanes` rows of at least `depth` elements, and `to` has room for a vector at
            // each step.
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
