//! The forward pass on a CPU, block by block with a running softmax.
//!
//! Milakov and Gimelshein 2018 (*Online normalizer calculation for softmax*) have the running softmax, Dao, Fu,
//! Ermon, Rudra and Ré 2022 (*FlashAttention*) the blocks. Here a block of scores has keys as its rows and queries as
//! its columns: largest scores and sums are vectors of queries, no operand but the queries is transposed, and no sum
//! runs across a vector.

use std::marker::PhantomData;

use crate::attention::block::{
    KEYS, Place, Problem, QUERIES, Vectors, Work, add_weighted, gather, mask_scores, scatter, scores,
    vectors_of,
};
use crate::attention::real::Real;
use crate::attention::view::{Heads, HeadsMut, MaskView, Rows};
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::linalg::gemm::buffer::with_buffer;
use crate::linalg::gemm::vector::Vector;

/// The operands of a forward pass.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a, T> {
    pub(crate) problem: Problem,
    pub(crate) q: Heads<'a, T>,
    pub(crate) k: Heads<'a, T>,
    pub(crate) v: Heads<'a, T>,
    pub(crate) mask: Option<MaskView<'a, T>>,
    pub(crate) output: HeadsMut<T>,
    /// `ln Σ eˢ` of each row of scores, `[batch, heads, queries]`; +∞ where no key takes part.
    pub(crate) log_sums: HeadsMut<T>,
}

impl<T: Vectors> Forward<'_, T> {
    /// Computes every row of the output.
    pub(crate) fn run(&self, level: SimdLevel) {
        T::with(level, self);
    }
}

impl<T: Vectors> Work<T> for Forward<'_, T> {
    fn run<V: Vector<Element = T>, const R: usize>(&self) {
        let problem = &self.problem;
        let blocks = problem.queries.div_ceil(QUERIES);
        let heads = problem.batch * problem.heads;
        // Tasks are whole heads, or parts of them if there are few: each row is computed alike in any of them.
        let parts = (4 * rayon::current_num_threads()).div_ceil(heads.max(1)).clamp(1, blocks.max(1));
        parallel::for_each(heads * parts, |task| {
            let (head, part) = (task / parts, task % parts);
            let (batch, head) = (head / problem.heads, head % problem.heads);
            let (first, end) = (part * blocks / parts, (part + 1) * blocks / parts);
            let kv_head = head / problem.group();
            let (k, v) = (self.k.rows(batch, kv_head), self.v.rows(batch, kv_head));
            with_contiguous(k, problem.keys, problem.width, end - first > 1, |k| {
                with_contiguous(v, problem.keys, problem.value_width, end - first > 1, |v| {
                    with_buffer(
                        QUERIES * (problem.width + problem.value_width + KEYS),
                        |scratch: &mut [T]| {
                            for block in first..end {
                                let first_query = block * QUERIES;
                                let queries = QUERIES.min(problem.queries - first_query);
                                let place =
                                    Place { batch, head, first_query, queries, first_key: 0, keys: 0 };
                                let body = Block::<T, V, R> {
                                    pass: self,
                                    place,
                                    k,
                                    v,
                                    scratch,
                                    vector: PhantomData,
                                };
                                // SAFETY: the level has the vector.
                                unsafe { V::run(body) };
                            }
                        },
                    );
                });
            });
        });
    }
}

/// Calls `f` with the rows, or with a contiguous copy of them if they lie apart and are `used_again`: rows that are a
/// power of two apart fall into few places of a cache.
pub(super) fn with_contiguous<T: Real, O>(
    rows: Rows<T>,
    count: usize,
    width: usize,
    used_again: bool,
    f: impl FnOnce(Rows<T>) -> O,
) -> O {
    if rows.stride == width || !used_again {
        return f(rows);
    }
    with_buffer(count * width, |copy: &mut [T]| {
        for (row, copy) in copy.chunks_exact_mut(width.max(1)).enumerate() {
            copy.copy_from_slice(&rows.data[row * rows.stride..][..width]);
        }
        f(Rows { data: copy, stride: width })
    })
}

/// A block of queries.
struct Block<'a, T, V, const R: usize> {
    pass: &'a Forward<'a, T>,
    place: Place,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    scratch: &'a mut [T],
    vector: PhantomData<V>,
}

impl<T: Vectors, V: Vector<Element = T>, const R: usize> simd::Task for Block<'_, T, V, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { pass, place, k, v, scratch, .. } = self;
        let problem = &pass.problem;
        let (width, value_width) = (problem.width, problem.value_width);
        let (gathered, rest) = scratch.split_at_mut(width * QUERIES);
        let (sums, block) = rest.split_at_mut(value_width * QUERIES);
        let lanes = vectors_of::<V>(place.queries) * V::LANES;
        let queries = place.first_query..place.first_query + place.queries;
        let (mut largest, mut totals) = ([T::NEG_INFINITY; QUERIES], [T::ZERO; QUERIES]);
        // SAFETY: the tensors have these batches, heads, queries and keys, the scratch memory has room for the block,
        // and the rows of the output belong to this task alone.
        unsafe {
            let rows = pass.q.rows(place.batch, place.head);
            gather::<T, V>(rows, queries.clone(), width, T::narrow(problem.scale), gathered.as_mut_ptr());
            sums.fill(T::ZERO);
            let visible = problem.visible(queries.end);
            for first_key in (0..visible).step_by(KEYS) {
                let place = Place { first_key, keys: KEYS.min(visible - first_key), ..place };
                let block = &mut block[..place.keys * QUERIES];
                scores::<T, V, R>(place, k, width, gathered.as_ptr(), block.as_mut_ptr());
                mask_scores(problem, pass.mask, place, block.as_mut_ptr());
                soften(block, lanes, &mut largest, &mut totals, if first_key == 0 { &mut [] } else { sums });
                add_weighted::<T, V, R>(place, v, value_width, block.as_ptr(), sums.as_mut_ptr());
            }
            for (m, total) in totals.iter_mut().enumerate().take(place.queries) {
                let empty = *total == T::ZERO;
                let log_sum =
                    if empty { T::INFINITY } else { T::narrow(largest[m].widen() + total.widen().ln()) };
                *pass.log_sums.at(place.batch, place.head, queries.start + m) = log_sum;
                *total = if empty { T::ZERO } else { T::narrow(1.0) / *total };
            }
            for row in sums.chunks_exact_mut(QUERIES) {
                for (sum, factor) in row[..lanes].iter_mut().zip(&totals) {
                    *sum *= *factor;
                }
            }
            let output = pass.output.at(place.batch, place.head, queries.start);
            let stride = pass.output.row_stride();
            scatter::<T, V>(sums.as_ptr(), place.queries, value_width, output, stride);
        }
    }
}

/// Replaces the scores of a block by `eˢ⁻ᵐ` with the largest score `m` so far, adds these up, and rescales the sums of
/// the blocks before.
#[inline(always)]
fn soften<T: Real>(
    block: &mut [T],
    lanes: usize,
    largest: &mut [T; QUERIES],
    totals: &mut [T; QUERIES],
    sums: &mut [T],
) {
    let before = *largest;
    for row in block.chunks_exact(QUERIES) {
        for (largest, score) in largest[..lanes].iter_mut().zip(row) {
            *largest = if *score > *largest { *score } else { *largest };
        }
    }
    // A row without a key so far is shifted by 0, since -∞ - (-∞) is NaN.
    let mut shift = [T::ZERO; QUERIES];
    for m in 0..lanes {
        shift[m] = if largest[m] > T::NEG_INFINITY { largest[m] } else { T::ZERO };
    }
    let mut factors = [T::ZERO; QUERIES];
    for m in 0..lanes {
        factors[m] = T::exp_below_0(before[m] - shift[m]);
        totals[m] *= factors[m];
    }
    for row in block.chunks_exact_mut(QUERIES) {
        for ((score, shift), total) in row[..lanes].iter_mut().zip(&shift).zip(&mut *totals) {
            *score = T::exp_below_0(*score - *shift);
            *total += *score;
        }
    }
    for row in sums.chunks_exact_mut(QUERIES) {
        for (sum, factor) in row[..lanes].iter_mut().zip(&factors) {
            *sum *= *factor;
        }
    }
}
