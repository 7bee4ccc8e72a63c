//! The split of a product into tasks: blocks of rows, or of columns where there are few rows.

use std::ops::Range;

use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::cpu::simd::SimdLevel;
use crate::linalg::gemm::buffer::with_buffer;
use crate::linalg::gemm::matrix::{Matrix, chunks};
use crate::linalg::gemm::pack;
use crate::linalg::gemm::tile::{self, Tiles};

/// About the number of rows of `C` that one task computes.
const ROWS: usize = 112;

/// The largest part of `k` that is summed before it is added to `C`.
const DEPTH: usize = 512;
/// The number of bytes of `B` that are packed at once, unless one block of `k` takes more.
const PACKED: usize = 3 << 20;
/// With fewer multiplications than this, threads cost more than they save.
const PARALLEL: usize = 1 << 19;
/// With at most this many rows, work is split by columns.
const FEW_ROWS: usize = 64;
/// With at most this many rows, `B` is not packed either, if its columns are contiguous.
const DIRECT_ROWS: usize = 7;

/// With as many blocks of rows for each thread, the last ones are made shorter.
const MANY: usize = 4;

/// What happens to the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// `C = A·B`.
    Set,
    /// `C = C + A·B`.
    Add,
    /// `C = C - A·B`.
    Subtract,
}

/// What is done with finished rows, while they are in the cache.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a, T> {
    /// Called with each block of rows, given the number of the first.
    pub(crate) call: &'a (dyn Fn(usize, &mut [T]) + Sync),
    /// Whether the blocks are those of [`rows_of_block`], with any number of threads. Otherwise all threads
    /// get the same number of tiles.
    pub(crate) fixed: bool,
}

/// The number of rows of a block whose results are the same with any number of threads: fewer for a small
/// batch, so that there is work for several threads.
pub(crate) fn rows_of_block(rows: usize) -> usize {
    match rows {
        0..224 => ROWS / 4,
        224..896 => ROWS / 2,
        _ => ROWS,
    }
}

/// The part of `k` that is summed at once: blocks of the same size, except the last.
pub(super) fn depth_of(k: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH).max(1)).max(1)
}

/// Computes the product into `c`. With [`Accumulate::Set`], `c` may be uninitialised memory. Only contiguous
/// rows can be finished.
pub(super) fn multiply<T: Number>(
    level: SimdLevel,
    a: Matrix<T>,
    b: Matrix<T>,
    c: Output<T>,
    accumulate: Accumulate,
    finish: Option<Finish<T>>,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if c.len == 0 {
        return;
    }
    let product = Product { a, b, c, accumulate, tiles: T::tiles(level), parallel: m * n * k >= PARALLEL };
    if k > 0 && m > FEW_ROWS {
        return product.by_rows(finish);
    }
    if k > 0 {
        product.by_columns();
    }
    if let Some(finish) = finish {
        debug_assert_eq!(c.row_stride, n);
        // SAFETY: all of `c` has been set, and nothing else refers to it.
        let c = unsafe { std::slice::from_raw_parts_mut(c.start, c.len) };
        let size = rows_of_block(m);
        for (block, rows) in c.chunks_mut(size * n).enumerate() {
            (finish.call)(block * size, rows);
        }
    }
}

/// Parts of `all`, of `most` first, and then each of half of what would be a thread's part of the rest.
fn falling(all: usize, most: usize, threads: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = all - start;
        let some = (rest / (2 * threads)).clamp(2, most.max(2)).min(rest);
        start += some;
        (some > 0).then(|| start - some..start)
    })
}

/// The destination of a product: rows that begin `row_stride` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Output<T> {
    pub(super) start: *mut T,
    pub(super) len: usize,
    pub(super) row_stride: usize,
}

// SAFETY: an output stands for a mutable slice, and each task writes to rows or columns of its own.
unsafe impl<T: Send> Sync for Output<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Output<T> {}

struct Product<'a, T: Number> {
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    c: Output<T>,
    accumulate: Accumulate,
    tiles: &'static Tiles<T>,
    parallel: bool,
}

impl<T: Number> Product<'_, T> {
    /// Packs all of `B`, and gives each task a block of rows of `C`.
    fn by_rows(&self, finish: Option<Finish<T>>) {
        let (n, k) = (self.b.columns, self.a.columns);
        let blocks = self.blocks(finish.is_some_and(|finish| finish.fixed));
        let depth = depth_of(k);
        let deep = (PACKED / (n * size_of::<T>()) / depth).max(1) * depth;
        let most = pack::columns_size(n, k.min(deep), self.tiles);
        with_buffer(most, |packed: &mut [T]| {
            for depths in chunks(0..k, deep) {
                let packed = &mut packed[..pack::columns_size(n, depths.len(), self.tiles)];
                let negate = self.accumulate == Accumulate::Subtract;
                pack::columns(&self.b, depths.clone(), depth, self.tiles, negate, self.parallel, packed);
                let packed = &*packed;
                self.for_each(blocks.len(), |block| {
                    let rows = blocks[block].clone();
                    let mut from = 0;
                    for depths in chunks(depths.clone(), depth) {
                        self.block(rows.clone(), depths.clone(), &packed[from..], packed);
                        from += pack::columns_size(n, depths.len(), self.tiles);
                    }
                    if let (Some(finish), true) = (finish, depths.end == k) {
                        // SAFETY: a block's rows belong to this task alone, and are contiguous within `C`.
                        let rows_of_c = unsafe {
                            debug_assert!(rows.end * n <= self.c.len);
                            std::slice::from_raw_parts_mut(self.c.start.add(rows.start * n), rows.len() * n)
                        };
                        (finish.call)(rows.start, rows_of_c);
                    }
                });
            }
        });
    }

    /// The rows of each task: those of [`rows_of_block`], or about [`ROWS`], chosen such that all threads get
    /// the same number of tiles, or of rows if the longest task is shorter then. Where there are many tasks, the last
    /// ones are shorter, since all wait for the one that ends last.
    fn blocks(&self, fixed: bool) -> Vec<Range<usize>> {
        let m = self.a.rows;
        if fixed {
            return chunks(0..m, rows_of_block(m)).collect();
        }
        let threads = if self.parallel { rayon::current_num_threads() } else { 1 };
        let height = self.tiles.rows();
        let tiles = m.div_ceil(height);
        let blocks = m.div_ceil(ROWS).next_multiple_of(threads).min(tiles);
        if threads > 1 && blocks >= MANY * threads {
            return falling(tiles, tiles.div_ceil(blocks), threads)
                .map(|tiles| tiles.start * height..m.min(tiles.end * height))
                .collect();
        }
        let split = |start: &dyn Fn(usize) -> usize| -> Vec<Range<usize>> {
            (0..blocks).map(|block| start(block)..start(block + 1)).collect()
        };
        let longest = |blocks: &[Range<usize>]| blocks.iter().map(|rows| self.tiles.cost(rows.len())).max();
        let by_tiles = split(&|block| m.min(block * tiles / blocks * height));
        let by_rows = split(&|block| block * m / blocks);
        if longest(&by_rows) < longest(&by_tiles) { by_rows } else { by_tiles }
    }

    /// Adds the product of some rows of `A` and a part of `k` to the same rows of `C`. `packed` begins with
    /// that part of `B`; `first` is the panel that the next block begins with.
    fn block(&self, rows: Range<usize>, depths: Range<usize>, packed: &[T], first: &[T]) {
        let (n, depth) = (self.b.columns, depths.len());
        let add = depths.start > 0 || self.accumulate != Accumulate::Set;
        with_buffer(pack::rows_size(rows.len(), depth, self.tiles), |a| {
            pack::rows(&self.a, rows.clone(), depths, self.tiles, a);
            for panel in pack::panels(n, depth, self.tiles) {
                let (b, next) = packed[panel.start..].split_at(panel.width * depth);
                let next = if next.is_empty() { first } else { next };
                self.panel(panel, rows.clone(), depth, a, b, next.as_ptr(), add);
            }
        });
    }

    /// Gives each task some panels of `B`, which it packs itself: for an `A` of few rows, where packing is
    /// much of the work.
    fn by_columns(&self) {
        let (m, k) = (self.a.rows, self.a.columns);
        let depth = depth_of(k);
        let lies_well = self.a.column_stride == 1 && self.b.row_stride == 1;
        let directly = m <= DIRECT_ROWS && lies_well && self.accumulate != Accumulate::Subtract;
        with_buffer(pack::rows_size(m, k, self.tiles), |a| {
            for depths in chunks(0..k, depth) {
                pack::rows(&self.a, 0..m, depths.clone(), self.tiles, &mut a[m * depths.start..]);
            }
            let a = &*a;
            self.for_each(pack::groups(self.b.columns, self.tiles), |index| {
                let group = pack::group(self.b.columns, index, self.tiles);
                let whole = |panel: &pack::Panel| directly && panel.columns == panel.width;
                let direct = group.iter().take_while(|panel| whole(panel)).count();
                let (direct, packed) = group.split_at(direct);
                direct.iter().for_each(|panel| self.direct(*panel, depth));
                if !packed.is_empty() {
                    self.packing(packed, depth, a);
                }
            });
        });
    }

    /// Computes the columns of `C` of consecutive panels from the packed rows of `A`.
    fn packing(&self, panels: &[pack::Panel], depth: usize, a: &[T]) {
        let (m, k) = (self.a.rows, self.a.columns);
        let width: usize = panels.iter().map(|panel| panel.width).sum();
        with_buffer(width * depth, |packed| {
            for depths in chunks(0..k, depth) {
                let (a, add) =
                    (&a[m * depths.start..], depths.start > 0 || self.accumulate != Accumulate::Set);
                let packed = &mut packed[..width * depths.len()];
                let negate = self.accumulate == Accumulate::Subtract;
                let placed = pack::placed(panels, depths.len());
                pack::some_panels(&self.b, &placed, depths.clone(), self.tiles, negate, packed);
                for panel in placed.iter() {
                    let b = &packed[panel.start..];
                    self.panel(*panel, 0..m, depths.len(), a, b, packed.as_ptr(), add);
                }
            }
        });
    }

    /// Computes a panel's columns of `C` without packing, for very few rows: `B` is read in place.
    fn direct(&self, panel: pack::Panel, depth: usize) {
        let (m, k) = (self.a.rows, self.a.columns);
        let mut scratch = [T::ZERO; tile::LARGEST];
        for depths in chunks(0..k, depth) {
            let (start, depth) = (depths.start, depths.len());
            let add = start > 0 || self.accumulate != Accumulate::Set;
            let mut row = 0;
            while row < m {
                let height = 1 << (m - row).ilog2().min(2);
                let a = &self.a.data[row * self.a.row_stride + start..];
                let b = &self.b.data[panel.first * self.b.column_stride + start..];
                debug_assert!(a.len() >= (height - 1) * self.a.row_stride + depth);
                debug_assert!(b.len() >= (panel.width - 1) * self.b.column_stride + depth);
                let tile = self.tiles.direct(height, panel.width);
                // SAFETY: `a` has `height` rows and `b` has `width` columns of `depth` elements, and the
                // scratch tile has room for the largest tile.
                unsafe {
                    let (a_row, b_row) = (self.a.row_stride, self.b.column_stride);
                    tile(depth, a.as_ptr(), a_row, b.as_ptr(), b_row, scratch.as_mut_ptr());
                }
                for (i, sums) in scratch.chunks_exact(panel.width).take(height).enumerate() {
                    let at = (row + i) * self.c.row_stride + panel.first;
                    debug_assert!(at + panel.width <= self.c.len);
                    for (j, &x) in sums.iter().enumerate() {
                        // SAFETY: these columns of `C` belong to this task alone.
                        unsafe {
                            let c = self.c.start.add(at + j);
                            *c = if add { *c + x } else { x };
                        }
                    }
                }
                row += height;
            }
        }
    }

    fn for_each(&self, count: usize, task: impl Fn(usize) + Sync) {
        if self.parallel {
            parallel::for_each(count, task);
        } else {
            (0..count).for_each(task);
        }
    }

    /// Computes some rows of a panel's columns of `C` from packed rows of `A` and a packed panel.
    #[allow(clippy::too_many_arguments)] // A tile has as many sides.
    fn panel(
        &self,
        panel: pack::Panel,
        rows: Range<usize>,
        depth: usize,
        a: &[T],
        b: &[T],
        next: *const T,
        add: bool,
    ) {
        let mut scratch = [T::ZERO; tile::LARGEST];
        let whole = panel.columns == panel.width;
        debug_assert!(a.len() >= rows.len() * depth && b.len() >= depth * panel.width);
        let mut row = rows.start;
        while row < rows.end {
            let (height, tiles) = self.tiles.of(rows.end - row);
            let tile = tiles[panel.width / self.tiles.lanes - 1];
            let done = row - rows.start;
            // Each tile prefetches its part of the next panel.
            let next = next.wrapping_add(depth * panel.width * done / rows.len());
            // SAFETY: `a` has `height` rows and `depth` columns from `done` on, the panel is `depth × width`,
            // and only rows and columns of this task are written: those of the tile if the panel is whole,
            // else those of the part of the scratch tile that `C` has.
            unsafe {
                let (a, b) = (a[done * depth..].as_ptr(), b.as_ptr());
                let at = row * self.c.row_stride + panel.first;
                let c = self.c.start.add(at);
                if whole {
                    debug_assert!(at + (height - 1) * self.c.row_stride + panel.width <= self.c.len);
                    tile(depth, a, b, c, self.c.row_stride, add, next);
                } else {
                    let scratch = scratch.as_mut_ptr();
                    tile(depth, a, b, scratch, panel.width, false, next);
                    for i in 0..height {
                        for j in 0..panel.columns {
                            let c = c.add(i * self.c.row_stride + j);
                            let x = *scratch.add(i * panel.width + j);
                            *c = if add { *c + x } else { x };
                        }
                    }
                }
            }
            row += height;
        }
    }
}

/// Computes the columns of `c` of one panel from packed operands: some rows of `A`, and the panel.
pub(super) fn panel_of<T: Number>(
    tiles: &'static Tiles<T>,
    c: Output<T>,
    panel: pack::Panel,
    rows: usize,
    depth: usize,
    (a, b): (&[T], &[T]),
    add: bool,
) {
    let (empty, accumulate) = (Matrix::empty(), Accumulate::Set);
    let product = Product { a: empty, b: empty, c, accumulate, tiles, parallel: false };
    product.panel(panel, 0..rows, depth, a, b, b.as_ptr(), add);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_parts_are_short_and_all_is_covered() {
        let sizes = |all, most, threads| -> Vec<usize> {
            let parts: Vec<_> = falling(all, most, threads).collect();
            let ends = parts.iter().map(|part| part.end);
            assert!(std::iter::once(0).chain(ends).eq(parts.iter().map(|part| part.start).chain([all])));
            parts.iter().map(Range::len).collect()
        };
        assert_eq!(sizes(40, 8, 2), [8, 8, 6, 4, 3, 2, 2, 2, 2, 2, 1]);
        assert_eq!(sizes(9, 1, 2), [2, 2, 2, 2, 1]);
        assert_eq!(sizes(0, 8, 2), [0usize; 0]);
    }

    /// The longest task of a product of `rows` rows for two threads, in rows.
    #[test]
    fn two_threads_get_the_same_number_of_rows() {
        let Some(pool) = rayon::ThreadPoolBuilder::new().num_threads(2).build().ok() else { return };
        for rows in [65, 100, 128, 150, 200] {
            let a = vec![0f32; rows];
            let a = Matrix::new(&a, rows, 1).unwrap_or(Matrix::empty());
            let c = Output { start: std::ptr::null_mut(), len: 0, row_stride: 1 };
            let tiles = f32::tiles(SimdLevel::best());
            let (b, accumulate) = (Matrix::empty(), Accumulate::Set);
            let product = Product { a, b, c, accumulate, tiles, parallel: true };
            let blocks = pool.install(|| product.blocks(false));
            let longest = blocks.iter().map(|rows| tiles.cost(rows.len())).max();
            assert!(longest.is_some_and(|cost| cost <= rows.div_ceil(2) + 6), "{rows}: {blocks:?}");
        }
    }
}
