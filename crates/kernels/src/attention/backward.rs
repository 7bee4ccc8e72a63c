//! The backward pass on a CPU, which computes the scores of each block anew from the kept `ln Σ eˢ`.

use std::marker::PhantomData;

use crate::attention::block::{
    KEYS, Place, Problem, QUERIES, Vectors, Work, add_weighted, gather, mask_scores, scatter, scores,
    vectors_of,
};
use crate::attention::forward::with_contiguous;
use crate::attention::real::Real;
use crate::attention::tile::{Left, Sizes, product};
use crate::attention::view::{Heads, HeadsMut, MaskView, Rows};
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::linalg::gemm::buffer::with_buffer;
use crate::linalg::gemm::vector::Vector;

/// The fewest tasks that a backward pass is split into, if there are keys enough.
const TASKS: usize = 8;
/// The fewest keys of a task.
const TASK_KEYS: usize = 4 * KEYS;

/// The operands of a backward pass. Gradients that nobody wants are `None`.
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a, T> {
    pub(crate) problem: Problem,
    pub(crate) q: Heads<'a, T>,
    pub(crate) k: Heads<'a, T>,
    pub(crate) v: Heads<'a, T>,
    pub(crate) mask: Option<MaskView<'a, T>>,
    pub(crate) output: Heads<'a, T>,
    pub(crate) gradient: Heads<'a, T>,
    /// Of the forward pass.
    pub(crate) log_sums: Heads<'a, T>,
    pub(crate) of_q: Option<HeadsMut<T>>,
    pub(crate) of_k: Option<HeadsMut<T>>,
    pub(crate) of_v: Option<HeadsMut<T>>,
}

/// The number of tasks that the keys of a head are split into: it depends on the sizes alone, since the gradient of
/// the queries is summed over them.
fn parts(problem: &Problem) -> usize {
    let heads = (problem.batch * problem.kv_heads).max(1);
    (TASKS / heads).clamp(1, (problem.keys / TASK_KEYS).max(1))
}

impl<T: Vectors> Backward<'_, T> {
    /// Computes every gradient that is wanted.
    pub(crate) fn run(&self, level: SimdLevel) {
        let parts = parts(&self.problem);
        let Problem { batch, heads, queries, width, .. } = self.problem;
        match self.of_q {
            // The sums of each part of the keys, which are added in order.
            Some(of_q) if parts > 1 => {
                let size = batch * heads * queries * width;
                let mut partial = vec![T::ZERO; parts * size];
                // SAFETY: as the tensor [parts·batch, heads, queries, width], it has these elements.
                let views = unsafe {
                    HeadsMut::new(partial.as_mut_ptr(), [heads * queries * width, queries * width, width])
                };
                T::with(level, &Pass { operands: self, parts, of_q: Some(views) });
                parallel::for_each(batch * heads, |task| {
                    for query in 0..queries {
                        let from = (task * queries + query) * width;
                        // SAFETY: the row belongs to this task alone.
                        let to = unsafe {
                            let row = of_q.at(task / heads, task % heads, query);
                            std::slice::from_raw_parts_mut(row, width)
                        };
                        to.copy_from_slice(&partial[from..from + width]);
                        for part in 1..parts {
                            for (to, x) in to.iter_mut().zip(&partial[part * size + from..]) {
                                *to += *x;
                            }
                        }
                    }
                });
            }
            of_q => T::with(level, &Pass { operands: self, parts, of_q }),
        }
    }
}

struct Pass<'a, T> {
    operands: &'a Backward<'a, T>,
    parts: usize,
    /// The gradient of the queries, `[parts·batch, heads, queries, width]`.
    of_q: Option<HeadsMut<T>>,
}

impl<T: Vectors> Work<T> for Pass<'_, T> {
    fn run<V: Vector<Element = T>, const R: usize>(&self) {
        let (problem, operands) = (&self.operands.problem, self.operands);
        let blocks = problem.keys.div_ceil(KEYS);
        parallel::for_each(problem.batch * problem.kv_heads * self.parts, |task| {
            let (head, part) = (task / self.parts, task % self.parts);
            let (batch, kv_head) = (head / problem.kv_heads, head % problem.kv_heads);
            let (first, end) = (part * blocks / self.parts, (part + 1) * blocks / self.parts);
            let keys = first * KEYS..(end * KEYS).min(problem.keys);
            let (k, v) = (operands.k.rows(batch, kv_head), operands.v.rows(batch, kv_head));
            let (width, value_width) = (padded(problem.width), padded(problem.value_width));
            with_contiguous(k, problem.keys, problem.width, true, |k| {
                with_contiguous(v, problem.keys, problem.value_width, true, |v| {
                    with_buffer(keys.len() * (width + value_width), |sums: &mut [T]| {
                        sums.fill(T::ZERO);
                        let (of_k, of_v) = sums.split_at_mut(keys.len() * width);
                        let size = QUERIES * 2 * (width + value_width + KEYS) + QUERIES * width;
                        with_buffer(size, |scratch: &mut [T]| {
                            let vector = PhantomData::<V>;
                            let (pass, keys) = (self, keys.clone());
                            #[rustfmt::skip]
                            let head = Head::<T, V, R> {
                                pass, batch, kv_head, part, keys, k, v, of_k, of_v, scratch, vector,
                            };
                            // SAFETY: the level has the vector.
                            unsafe { V::run(head) };
                        });
                    });
                });
            });
        });
    }
}

/// A width in whole vectors of any level, which the gradients of keys and values are summed in.
fn padded(width: usize) -> usize {
    width.next_multiple_of(16)
}

/// A head of keys and values, or a part of its keys, with all queries that use it.
struct Head<'a, T, V, const R: usize> {
    pass: &'a Pass<'a, T>,
    batch: usize,
    kv_head: usize,
    part: usize,
    keys: std::ops::Range<usize>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    of_k: &'a mut [T],
    of_v: &'a mut [T],
    scratch: &'a mut [T],
    vector: PhantomData<V>,
}

impl<T: Vectors, V: Vector<Element = T>, const R: usize> simd::Task for Head<'_, T, V, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { pass, batch, kv_head, part, keys, k, v, of_k, of_v, mut scratch, .. } = self;
        let (problem, operands) = (&pass.operands.problem, pass.operands);
        let (width, value_width) = (padded(problem.width), padded(problem.value_width));
        let mut cut = |size: usize| {
            let (piece, rest) = std::mem::take(&mut scratch).split_at_mut(size);
            scratch = rest;
            piece
        };
        let mut buffers = Buffers {
            queries: cut(QUERIES * width),
            gradients: cut(QUERIES * value_width),
            queries_across: cut(QUERIES * width),
            gradients_across: cut(QUERIES * value_width),
            softmax: cut(QUERIES * KEYS),
            of_scores: cut(QUERIES * KEYS),
            of_queries: cut(QUERIES * width),
            log_sums: [T::INFINITY; QUERIES],
            products: [T::ZERO; QUERIES],
        };
        let blocks = problem.queries.div_ceil(QUERIES);
        // SAFETY: the tensors have these batches, heads, queries and keys, the scratch memory has room for a block,
        // and the rows of the gradients belong to this task alone.
        unsafe {
            for head in kv_head * problem.group()..(kv_head + 1) * problem.group() {
                if let (Some(of_q), true) = (pass.of_q, problem.first_block(keys.start) > 0) {
                    // Queries that see none of these keys.
                    for query in 0..(problem.first_block(keys.start) * QUERIES).min(problem.queries) {
                        let row = of_q.at(part * problem.batch + batch, head, query);
                        std::slice::from_raw_parts_mut(row, problem.width).fill(T::ZERO);
                    }
                }
                for block in problem.first_block(keys.start)..blocks {
                    let first_query = block * QUERIES;
                    let queries = QUERIES.min(problem.queries - first_query);
                    let place = Place { batch, head, first_query, queries, first_key: 0, keys: 0 };
                    buffers.prepare::<V>(operands, place);
                    let end = problem.visible(first_query + queries).min(keys.end);
                    for first_key in (keys.start..end).step_by(KEYS) {
                        let place = Place { first_key, keys: KEYS.min(end - first_key), ..place };
                        let row = first_key - keys.start;
                        let of_k = of_k.as_mut_ptr().add(row * width);
                        let of_v = of_v.as_mut_ptr().add(row * value_width);
                        buffers.block::<V, R>(pass, place, k, v, of_k, of_v);
                    }
                    if let Some(of_q) = pass.of_q {
                        let scale = T::narrow(problem.scale);
                        for x in &mut buffers.of_queries[..problem.width * QUERIES] {
                            *x *= scale;
                        }
                        let to = of_q.at(part * problem.batch + batch, head, first_query);
                        let from = buffers.of_queries.as_ptr();
                        scatter::<T, V>(from, queries, problem.width, to, of_q.row_stride());
                    }
                }
            }
            let scale = T::narrow(problem.scale);
            for (row, key) in keys.enumerate() {
                if let Some(to) = operands.of_k {
                    let to = std::slice::from_raw_parts_mut(to.at(batch, kv_head, key), problem.width);
                    for (to, x) in to.iter_mut().zip(&of_k[row * width..]) {
                        *to = *x * scale;
                    }
                }
                if let Some(to) = operands.of_v {
                    let to = std::slice::from_raw_parts_mut(to.at(batch, kv_head, key), problem.value_width);
                    to.copy_from_slice(&of_v[row * value_width..][..problem.value_width]);
                }
            }
        }
    }
}

/// What belongs to a block of queries.
struct Buffers<'a, T> {
    /// `[queries, width]`, with zeros behind the width.
    queries: &'a mut [T],
    /// The gradient of the output, `[queries, value width]`, with zeros behind the width.
    gradients: &'a mut [T],
    /// `[width, queries]`, times the scale.
    queries_across: &'a mut [T],
    /// `[value width, queries]`.
    gradients_across: &'a mut [T],
    /// `[keys, queries]` of a block.
    softmax: &'a mut [T],
    /// `[keys, queries]` of a block.
    of_scores: &'a mut [T],
    /// `[width, queries]`, without the scale.
    of_queries: &'a mut [T],
    log_sums: [T; QUERIES],
    /// `Σ g·o` of each query, which is `Σ_n p_n ∂p_n`.
    products: [T; QUERIES],
}

impl<T: Vectors> Buffers<'_, T> {
    /// Reads a block of queries.
    #[inline(always)]
    unsafe fn prepare<V: Vector<Element = T>>(&mut self, operands: &Backward<'_, T>, place: Place) {
        let problem = &operands.problem;
        let (q, g) =
            (operands.q.rows(place.batch, place.head), operands.gradient.rows(place.batch, place.head));
        let output = operands.output.rows(place.batch, place.head);
        let log_sums = operands.log_sums.rows(place.batch, place.head);
        let queries = place.first_query..place.first_query + place.queries;
        // SAFETY: the caller's promise.
        unsafe {
            for m in 0..place.queries {
                let query = place.first_query + m;
                copy_row(q.at(query), problem.width, &mut self.queries[m * padded(problem.width)..]);
                let row = &mut self.gradients[m * padded(problem.value_width)..];
                copy_row(g.at(query), problem.value_width, row);
                let output = std::slice::from_raw_parts(output.at(query), problem.value_width);
                self.products[m] = dot(&row[..problem.value_width], output);
                self.log_sums[m] = *log_sums.at(query);
            }
            for m in place.queries..QUERIES {
                (self.products[m], self.log_sums[m]) = (T::ZERO, T::INFINITY);
            }
            let to = self.queries_across.as_mut_ptr();
            gather::<T, V>(q, queries.clone(), problem.width, T::narrow(problem.scale), to);
            let to = self.gradients_across.as_mut_ptr();
            gather::<T, V>(g, queries, problem.value_width, T::narrow(1.0), to);
        }
        self.of_queries.fill(T::ZERO);
    }

    /// Adds what a block of keys and queries contributes to the gradients of both and of the values.
    #[inline(always)]
    unsafe fn block<V: Vector<Element = T>, const R: usize>(
        &mut self,
        pass: &Pass<'_, T>,
        place: Place,
        k: Rows<T>,
        v: Rows<T>,
        of_k: *mut T,
        of_v: *mut T,
    ) {
        let (problem, operands) = (&pass.operands.problem, pass.operands);
        let (softmax, of_scores) = (self.softmax.as_mut_ptr(), self.of_scores.as_mut_ptr());
        let lanes = vectors_of::<V>(place.queries) * V::LANES;
        let (width, value_width) = (padded(problem.width), padded(problem.value_width));
        // SAFETY: the caller's promise.
        unsafe {
            scores::<T, V, R>(place, k, problem.width, self.queries_across.as_ptr(), softmax);
            mask_scores(problem, operands.mask, place, softmax);
            let with_scores = operands.of_k.is_some() || pass.of_q.is_some();
            if with_scores {
                let gradients = self.gradients_across.as_ptr();
                scores::<T, V, R>(place, v, problem.value_width, gradients, of_scores);
            }
            let blocks = self.softmax.chunks_exact_mut(QUERIES).zip(self.of_scores.chunks_exact_mut(QUERIES));
            for (softmax, of_scores) in blocks.take(place.keys) {
                let places = softmax[..lanes].iter_mut().zip(&mut of_scores[..lanes]);
                for ((p, of_score), (log_sum, product)) in
                    places.zip(self.log_sums.iter().zip(&self.products))
                {
                    *p = T::exp_below_0(*p - *log_sum);
                    *of_score = *p * (*of_score - *product);
                }
            }
            // Over the queries in rising order.
            let sizes = |width: usize| Sizes {
                rows: place.keys,
                vectors: width / V::LANES,
                depth: place.queries,
                add: true,
            };
            let a = |start: *const T| Left::<T, false> { start, stride: QUERIES };
            if operands.of_v.is_some() {
                let b = (self.gradients.as_ptr(), value_width);
                product::<V, R, false>(sizes(value_width), a(softmax), b, (of_v, value_width), T::ZERO);
            }
            if operands.of_k.is_some() {
                let b = (self.queries.as_ptr(), width);
                product::<V, R, false>(sizes(width), a(of_scores), b, (of_k, width), T::ZERO);
            }
            if pass.of_q.is_some() {
                let to = self.of_queries.as_mut_ptr();
                add_weighted::<T, V, R>(place, k, problem.width, of_scores, to);
            }
        }
    }
}

/// Copies a row, and sets what is behind it up to the padded width to 0.
#[inline(always)]
unsafe fn copy_row<T: Real>(from: *const T, width: usize, to: &mut [T]) {
    // SAFETY: the caller's promise.
    to[..width].copy_from_slice(unsafe { std::slice::from_raw_parts(from, width) });
    to[width..padded(width)].fill(T::ZERO);
}

/// `Σ aᵢbᵢ` in 16 sums, so that the bits do not depend on the width of the vectors.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *sum = a.multiply_add(*b, *sum);
        }
    }
    for ((sum, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *sum = a.multiply_add(*b, *sum);
    }
    let mut sum = T::ZERO;
    for lane in lanes {
        sum += lane;
    }
    sum
}
