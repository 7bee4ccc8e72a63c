//! Products of small blocks, which stay in the registers and the first-level cache.
//!
//! Every sum runs over the depth in rising order by fused multiply-adds, whatever the width of the vectors.

use crate::cpu::simd::Task;
use crate::linalg::gemm::vector::Vector;

/// The sizes of a product `C = A·B`, or `C = C + A·B` with `add`.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    /// The width in whole vectors.
    pub(super) vectors: usize,
    pub(super) depth: usize,
    pub(super) add: bool,
}

/// The left operand, whose element of row `i` and step `k` is `start[i·stride + k]`, or `start[k·stride + i]` if it lies
/// `ACROSS`.
#[derive(Clone, Copy)]
pub(super) struct Left<T, const ACROSS: bool> {
    pub(super) start: *const T,
    pub(super) stride: usize,
}

impl<T, const ACROSS: bool> Left<T, ACROSS> {
    /// The elements from a row to the next, and from a step to the next.
    #[inline(always)]
    fn strides(self) -> (usize, usize) {
        if ACROSS { (1, self.stride) } else { (self.stride, 1) }
    }
}

/// Computes a product in tiles of `R` rows by two vectors, and smaller ones at the ends. `b` has rows of contiguous
/// elements `b_row` apart, and `c` rows `c_row` apart.
///
/// # Safety
/// The pointers must be valid for the sizes, and the processor must have the instructions of the vectors.
pub(super) unsafe fn product<V: Vector, const R: usize, const ACROSS: bool>(
    sizes: Sizes,
    a: Left<V::Element, ACROSS>,
    b: (*const V::Element, usize),
    c: (*mut V::Element, usize),
    zero: V::Element,
) {
    // SAFETY: the caller's promise.
    unsafe { V::run(Product::<V, R, ACROSS> { sizes, a, b, c, zero }) }
}

/// A product, as a function that all callers call.
struct Product<V: Vector, const R: usize, const ACROSS: bool> {
    sizes: Sizes,
    a: Left<V::Element, ACROSS>,
    b: (*const V::Element, usize),
    c: (*mut V::Element, usize),
    zero: V::Element,
}

impl<V: Vector, const R: usize, const ACROSS: bool> Task for Product<V, R, ACROSS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { sizes, a, b: (b, b_row), c: (c, c_row), zero } = self;
        let mut vector = 0;
        while vector < sizes.vectors {
            // SAFETY: `product`'s caller promises it.
            unsafe {
                let (b, c) = ((b.add(vector * V::LANES), b_row), (c.add(vector * V::LANES), c_row));
                if vector + 2 <= sizes.vectors {
                    column::<V, R, 2, ACROSS>(sizes, a, b, c, zero);
                } else {
                    column::<V, R, 1, ACROSS>(sizes, a, b, c, zero);
                }
            }
            vector += 2;
        }
    }
}

/// The rows of `C` in a column of tiles.
#[inline(always)]
unsafe fn column<V: Vector, const R: usize, const C: usize, const ACROSS: bool>(
    sizes: Sizes,
    a: Left<V::Element, ACROSS>,
    b: (*const V::Element, usize),
    (c, c_row): (*mut V::Element, usize),
    zero: V::Element,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = 0;
        while row < sizes.rows {
            let a = Left { start: a.start.add(row * a.strides().0), ..a };
            let c = (c.add(row * c_row), c_row);
            row += match sizes.rows - row {
                left if left >= R => tile::<V, R, C, ACROSS>(sizes, a, b, c, zero),
                4.. => tile::<V, 4, C, ACROSS>(sizes, a, b, c, zero),
                2.. => tile::<V, 2, C, ACROSS>(sizes, a, b, c, zero),
                _ => tile::<V, 1, C, ACROSS>(sizes, a, b, c, zero),
            };
        }
    }
}

/// Computes one tile, and returns its height.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize, const ACROSS: bool>(
    sizes: Sizes,
    a: Left<V::Element, ACROSS>,
    (b, b_row): (*const V::Element, usize),
    (c, c_row): (*mut V::Element, usize),
    zero: V::Element,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(zero); C]; R];
        let (mut from, mut b, (to_row, to_step)) = (a.start, b, a.strides());
        for _ in 0..sizes.depth {
            let row: [V; C] = std::array::from_fn(|j| V::load(b.add(j * V::LANES)));
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = V::splat(*from.add(i * to_row));
                for (sum, b) in sums.iter_mut().zip(row) {
                    *sum = a.multiply_add(b, *sum);
                }
            }
            (from, b) = (from.add(to_step), b.add(b_row));
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let c = c.add(i * c_row + j * V::LANES);
                if sizes.add { V::add(sum, V::load(c)).store(c) } else { sum.store(c) }
            }
        }
    }
    R
}
