//! How a product is shared out: blocks of rows, or columns where there are few rows.

use std::ops::Range;

use super::tile::{self, Tiles};
use super::{Accumulate, Finish, Matrix, ROWS, Real, chunks, pack};
use crate::parallel;
use crate::simd::SimdLevel;

/// The most of `k` that is summed before it is added to `C`.
const DEPTH: usize = 512;
/// How many bytes of `B` are packed at once, if they are not more for one block of `k`.
const PACKED: usize = 3 << 20;
/// Below so many multiplications, threads cost more than they save.
const PARALLEL: usize = 1 << 18;
/// Up to so many rows, columns are shared out in place of rows.
const FEW_ROWS: usize = 64;
/// Up to so many, `B` is not even packed, if its columns lie one behind the other.
const HARDLY_ANY_ROWS: usize = 7;

/// How much of `k` is summed at once: blocks of the same size, but for the last.
pub(super) fn depth_of(k: usize) -> usize {
    k.div_ceil(k.div_ceil(DEPTH).max(1)).max(1)
}

/// The product into `c`. With [`Accumulate::Set`], memory that was never written to will do. Only rows that lie one behind the
/// other can be finished.
pub(super) fn multiply<T: Real>(
    level: SimdLevel,
    a: Matrix<T>,
    b: Matrix<T>,
    c: Output<T>,
    into: Accumulate,
    finish: Option<Finish<T>>,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if c.len == 0 {
        return;
    }
    let product = Product { a, b, c, into, tiles: T::tiles(level), parallel: m * n * k >= PARALLEL };
    if k > 0 && m > FEW_ROWS {
        return product.by_rows(finish);
    }
    if k > 0 {
        product.by_columns();
    }
    if let Some(finish) = finish {
        debug_assert_eq!(c.row_stride, n);
        // SAFETY: all of `c` is set by now, and nobody else has it.
        let c = unsafe { std::slice::from_raw_parts_mut(c.start, c.len) };
        for (block, rows) in c.chunks_mut(ROWS * n).enumerate() {
            finish(block * ROWS, rows);
        }
    }
}

/// Where the product goes: rows that begin `row_stride` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Output<T> {
    pub(super) start: *mut T,
    pub(super) len: usize,
    pub(super) row_stride: usize,
}

// SAFETY: it stands for a mutable slice, and tasks write to rows or columns of their own.
unsafe impl<T: Send> Sync for Output<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Output<T> {}

struct Product<'a, T: Real> {
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    c: Output<T>,
    into: Accumulate,
    tiles: &'static Tiles<T>,
    parallel: bool,
}

impl<T: Real> Product<'_, T> {
    /// Packs all of `B`, and shares out the rows of `C`.
    fn by_rows(&self, finish: Option<Finish<T>>) {
        let (n, k) = (self.b.columns, self.a.columns);
        let blocks = self.blocks(finish.is_some());
        let depth = depth_of(k);
        let deep = (PACKED / (n * size_of::<T>()) / depth).max(1) * depth;
        let most = pack::columns_size(n, k.min(deep), self.tiles);
        pack::with_buffer(most, |packed: &mut [T]| {
            for depths in chunks(0..k, deep) {
                let packed = &mut packed[..pack::columns_size(n, depths.len(), self.tiles)];
                let negate = self.into == Accumulate::Subtract;
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
                        // SAFETY: a block's rows are this task's alone, and lie one behind the other within `C`.
                        let rows_of_c = unsafe {
                            debug_assert!(rows.end * n <= self.c.len);
                            std::slice::from_raw_parts_mut(self.c.start.add(rows.start * n), rows.len() * n)
                        };
                        finish(rows.start, rows_of_c);
                    }
                });
            }
        });
    }

    /// The rows of each task: [`ROWS`] if they are finished, which makes the same blocks everywhere, and otherwise about as
    /// many, such that every thread gets as many tiles.
    fn blocks(&self, finished: bool) -> Vec<Range<usize>> {
        let m = self.a.rows;
        if finished {
            return chunks(0..m, ROWS).collect();
        }
        let threads = if self.parallel { rayon::current_num_threads() } else { 1 };
        let height = self.tiles.rows();
        let tiles = m.div_ceil(height);
        let blocks = m.div_ceil(ROWS).next_multiple_of(threads).min(tiles);
        let start = |block: usize| m.min(block * tiles / blocks * height);
        (0..blocks).map(|block| start(block)..start(block + 1)).collect()
    }

    /// Adds the product of some rows of `A` and some of `k` to these rows of `C`. `packed` begins with these rows of `B`;
    /// what is packed first is what the next block begins with.
    fn block(&self, rows: Range<usize>, depths: Range<usize>, packed: &[T], first: &[T]) {
        let (n, depth) = (self.b.columns, depths.len());
        let add = depths.start > 0 || self.into != Accumulate::Set;
        pack::with_buffer(pack::rows_size(rows.len(), depth, self.tiles), |a| {
            pack::rows(&self.a, rows.clone(), depths, self.tiles, a);
            for panel in pack::panels(n, depth, self.tiles) {
                let (b, next) = packed[panel.start..].split_at(panel.width * depth);
                let next = if next.is_empty() { first } else { next };
                self.panel(panel, rows.clone(), depth, a, b, next.as_ptr(), add);
            }
        });
    }

    /// Shares out the panels of `B`, each packed by whoever multiplies with it: for an `A` of few rows, where packing is
    /// much of the work.
    fn by_columns(&self) {
        let (m, k) = (self.a.rows, self.a.columns);
        let depth = depth_of(k);
        let all: Vec<_> = pack::panels(self.b.columns, 0, self.tiles).collect();
        let lies_well = self.a.column_stride == 1 && self.b.row_stride == 1;
        let directly = m <= HARDLY_ANY_ROWS && lies_well && self.into != Accumulate::Subtract;
        pack::with_buffer(pack::rows_size(m, k, self.tiles), |a| {
            for depths in chunks(0..k, depth) {
                pack::rows(&self.a, 0..m, depths.clone(), self.tiles, &mut a[m * depths.start..]);
            }
            let a = &*a;
            self.for_each(all.len(), |index| {
                let panel = all[index];
                if directly && panel.columns == panel.width {
                    return self.direct(panel, depth);
                }
                self.packing(panel, depth, a);
            });
        });
    }

    /// A panel's columns of `C`, of the packed rows of `A`.
    fn packing(&self, panel: pack::Panel, depth: usize, a: &[T]) {
        let (m, k) = (self.a.rows, self.a.columns);
        pack::with_buffer(panel.width * depth, |packed| {
            for depths in chunks(0..k, depth) {
                let (a, add) = (&a[m * depths.start..], depths.start > 0 || self.into != Accumulate::Set);
                let packed = &mut packed[..panel.width * depths.len()];
                let negate = self.into == Accumulate::Subtract;
                pack::some_panels(&self.b, &[panel], depths.clone(), self.tiles, negate, packed);
                self.panel(panel, 0..m, depths.len(), a, packed, packed.as_ptr(), add);
            }
        });
    }

    /// A panel's columns of `C` without packing, for hardly any rows: its `B` is read as it lies.
    fn direct(&self, panel: pack::Panel, depth: usize) {
        let (m, k) = (self.a.rows, self.a.columns);
        let mut scratch = [T::ZERO; tile::LARGEST];
        for depths in chunks(0..k, depth) {
            let (start, depth) = (depths.start, depths.len());
            let add = start > 0 || self.into != Accumulate::Set;
            let mut row = 0;
            while row < m {
                let height = 1 << (m - row).ilog2().min(2);
                let a = &self.a.data[row * self.a.row_stride + start..];
                let b = &self.b.data[panel.first * self.b.column_stride + start..];
                debug_assert!(a.len() >= (height - 1) * self.a.row_stride + depth);
                debug_assert!(b.len() >= (panel.width - 1) * self.b.column_stride + depth);
                let tile = self.tiles.direct(height, panel.width);
                // SAFETY: `a` has so many rows and `b` so many columns of `depth` elements, and the scratch tile is large
                // enough for any.
                unsafe {
                    let (a_row, b_row) = (self.a.row_stride, self.b.column_stride);
                    tile(depth, a.as_ptr(), a_row, b.as_ptr(), b_row, scratch.as_mut_ptr());
                }
                for (i, sums) in scratch.chunks_exact(panel.width).take(height).enumerate() {
                    let at = (row + i) * self.c.row_stride + panel.first;
                    debug_assert!(at + panel.width <= self.c.len);
                    for (j, &x) in sums.iter().enumerate() {
                        // SAFETY: these columns of `C` are this task's alone.
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

    /// Some rows of a panel's columns of `C`, of packed rows of `A` and a packed panel.
    #[allow(clippy::too_many_arguments)] // As many as a tile has sides.
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
            // Each tile asks for its share of what comes next.
            let next = next.wrapping_add(depth * panel.width * done / rows.len());
            // SAFETY: `a` has `height` rows and `depth` columns from there on, the panel is `depth × width`, and what is
            // written lies in rows and columns of this task: the tile where it is whole, else the scratch tile, of which
            // the part that `C` has is copied.
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
