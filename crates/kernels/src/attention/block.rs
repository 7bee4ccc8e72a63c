//! What the forward and the backward pass do alike with a block of keys and queries.

use std::ops::Range;

use crate::attention::real::Real;
use crate::attention::tile::{Left, Sizes, product};
use crate::attention::view::{MaskValues, MaskView, Rows};
use crate::cpu::simd::SimdLevel;
#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::Units;
use crate::linalg::gemm::tile::transpose;
use crate::linalg::gemm::vector::{Four, Vector};

/// The number of queries in a block: one lies beside the other, so that each is a lane of a vector.
pub(super) const QUERIES: usize = 64;
/// The number of keys in a block. Sums over keys run within a block, then over blocks.
pub(super) const KEYS: usize = 64;

/// The sizes of a problem and its scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Problem {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    /// `heads` is a multiple of it.
    pub(crate) kv_heads: usize,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    /// The width of queries and keys.
    pub(crate) width: usize,
    /// The width of values.
    pub(crate) value_width: usize,
    pub(crate) scale: f64,
    /// Query `i` sees the keys up to `i + offset`.
    pub(crate) causal: Option<usize>,
}

impl Problem {
    /// The number of keys that the queries before `end` see.
    pub(super) fn visible(&self, end: usize) -> usize {
        self.causal.map_or(self.keys, |offset| self.keys.min(end.saturating_add(offset)))
    }

    /// The number of queries that use a head of keys and values.
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads.max(1)
    }

    /// The first block of queries of which one sees this key.
    pub(super) fn first_block(&self, key: usize) -> usize {
        self.causal.map_or(0, |offset| key.saturating_sub(offset) / QUERIES)
    }
}

/// What is done with vectors of a kind, in tiles of `R` rows.
pub(super) trait Work<T: Real> {
    fn run<V: Vector<Element = T>, const R: usize>(&self);
}

/// The vectors of a level for a type.
pub(super) trait Vectors: Real {
    fn with(level: SimdLevel, work: &impl Work<Self>);
}

macro_rules! vectors {
    ($element:ty, $wide:ty, $narrow:ty) => {
        impl Vectors for $element {
            fn with(level: SimdLevel, work: &impl Work<Self>) {
                match level.units() {
                    // Of the 32 registers, 16 hold sums; with tiles of 8 rows, a block has no smaller ones.
                    #[cfg(target_arch = "x86_64")]
                    Units::Avx512 => work.run::<$wide, 8>(),
                    // Of the 16 registers, 12 hold sums.
                    #[cfg(target_arch = "x86_64")]
                    Units::Avx2 => work.run::<$narrow, 6>(),
                    _ => work.run::<Four<$element>, 4>(),
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod of_x86 {
    use super::*;
    use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
    vectors!(f32, __m512, __m256);
    vectors!(f64, __m512d, __m256d);
}
#[cfg(not(target_arch = "x86_64"))]
mod of_others {
    use super::*;
    vectors!(f32, (), ());
    vectors!(f64, (), ());
}

/// A block of queries and one of keys.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) first_query: usize,
    pub(super) queries: usize,
    pub(super) first_key: usize,
    pub(super) keys: usize,
}

/// The number of whole vectors that the queries fill.
#[inline(always)]
pub(super) fn vectors_of<V: Vector>(queries: usize) -> usize {
    queries.div_ceil(V::LANES)
}

/// `to[i·QUERIES + m] = scale·row m[i]`, and 0 for the lanes behind the last query.
///
/// # Safety
/// `to` must be valid for `width·QUERIES` elements, `rows` for these queries.
#[inline(always)]
pub(super) unsafe fn gather<T: Real, V: Vector<Element = T>>(
    rows: Rows<T>,
    queries: Range<usize>,
    width: usize,
    scale: T,
    to: *mut T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let count = queries.len();
        let whole = count - count % V::LANES;
        for lane in (0..whole).step_by(V::LANES) {
            transpose::<V>(rows.at(queries.start + lane), rows.stride, width, to.add(lane), QUERIES);
        }
        for lane in whole..vectors_of::<V>(count) * V::LANES {
            for i in 0..width {
                let inside = lane < count;
                *to.add(i * QUERIES + lane) =
                    if inside { *rows.at(queries.start + lane).add(i) } else { T::ZERO };
            }
        }
        if scale.widen() != 1.0 {
            let to = std::slice::from_raw_parts_mut(to, width * QUERIES);
            for row in to.chunks_exact_mut(QUERIES) {
                for x in &mut row[..vectors_of::<V>(count) * V::LANES] {
                    *x *= scale;
                }
            }
        }
    }
}

/// `row m[i] = from[i·QUERIES + m]`: the inverse of [`gather`] without its scale.
///
/// # Safety
/// `from` must be valid for `width·QUERIES` elements, `to` for `queries` rows, `stride` apart.
#[inline(always)]
pub(super) unsafe fn scatter<T: Real, V: Vector<Element = T>>(
    from: *const T,
    queries: usize,
    width: usize,
    to: *mut T,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let whole = width - width % V::LANES;
        for i in (0..whole).step_by(V::LANES) {
            transpose::<V>(from.add(i * QUERIES), QUERIES, queries, to.add(i), stride);
        }
        for m in 0..queries {
            for i in whole..width {
                *to.add(m * stride + i) = *from.add(i * QUERIES + m);
            }
        }
    }
}

/// The product of the rows of some keys (or values) with gathered queries (or gradients): `to[n·QUERIES + m]`.
///
/// # Safety
/// The pointers must be valid for the block.
#[inline(always)]
pub(super) unsafe fn scores<T: Real, V: Vector<Element = T>, const R: usize>(
    place: Place,
    keys: Rows<T>,
    width: usize,
    gathered: *const T,
    to: *mut T,
) {
    let sizes = Sizes { rows: place.keys, vectors: vectors_of::<V>(place.queries), depth: width, add: false };
    let a = Left { start: keys.at(place.first_key), stride: keys.stride };
    // SAFETY: the caller's promise.
    unsafe { product::<V, R, false>(sizes, a, (gathered, QUERIES), (to, QUERIES), T::ZERO) }
}

/// `to[i·QUERIES + m] += Σ_n rows n[i]·block[n·QUERIES + m]`.
///
/// # Safety
/// The pointers must be valid for the block.
#[inline(always)]
pub(super) unsafe fn add_weighted<T: Real, V: Vector<Element = T>, const R: usize>(
    place: Place,
    rows: Rows<T>,
    width: usize,
    block: *const T,
    to: *mut T,
) {
    let sizes = Sizes { rows: width, vectors: vectors_of::<V>(place.queries), depth: place.keys, add: true };
    let a = Left { start: rows.at(place.first_key), stride: rows.stride };
    // SAFETY: the caller's promise.
    unsafe { product::<V, R, true>(sizes, a, (block, QUERIES), (to, QUERIES), T::ZERO) }
}

/// Applies the masks to a block of scores: -∞ for the keys that do not take part.
///
/// # Safety
/// `scores` must be valid for the block, and the mask for all batches, heads, queries and keys.
#[inline(always)]
pub(super) unsafe fn mask_scores<T: Real>(
    problem: &Problem,
    mask: Option<MaskView<T>>,
    place: Place,
    scores: *mut T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(offset) = problem.causal {
            // Key n is hidden from the queries before n - offset.
            for n in 0..place.keys {
                let first = (place.first_key + n).saturating_sub(offset);
                for m in 0..first.saturating_sub(place.first_query).min(place.queries) {
                    *scores.add(n * QUERIES + m) = T::NEG_INFINITY;
                }
            }
        }
        let Some(mask) = mask else { return };
        let [of_batch, of_head, of_query, of_key] = mask.strides;
        let start = place.batch * of_batch
            + place.head * of_head
            + place.first_query * of_query
            + place.first_key * of_key;
        for m in 0..place.queries {
            let start = start + m * of_query;
            match mask.values {
                MaskValues::Added(values) => {
                    let values = values.as_ptr().add(start);
                    for n in 0..place.keys {
                        *scores.add(n * QUERIES + m) += *values.add(n * of_key);
                    }
                }
                MaskValues::Kept(kept) => {
                    let kept = kept.as_ptr().add(start);
                    for n in 0..place.keys {
                        if *kept.add(n * of_key) == 0 {
                            *scores.add(n * QUERIES + m) = T::NEG_INFINITY;
                        }
                    }
                }
            }
        }
    }
}
