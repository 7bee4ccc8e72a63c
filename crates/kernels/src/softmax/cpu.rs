//! The loops of softmax over rows.

use std::mem::MaybeUninit;

use crate::cpu::lanes::{self, BLOCK, Chunk, Float, LANES};
use crate::cpu::malloc::room;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};

/// Softmax of each row, or its logarithm.
pub(super) fn values<T: Float>(level: SimdLevel, xs: &[T], width: usize, log: bool) -> Vec<T> {
    let part = lanes::rows_of_task(width) * width;
    let mut out = room(xs.len());
    parallel::for_each_part(&mut out.spare_capacity_mut()[..xs.len()], part, |task, out| {
        simd::run(level, Values { xs: &xs[task * part..][..out.len()], out, width, log });
    });
    // SAFETY: the parts are all of the memory, and `Values` writes each place of its own.
    unsafe { out.set_len(xs.len()) };
    out
}

/// The gradient with respect to the input, from the output and its gradient.
pub(super) fn gradients<T: Float>(level: SimdLevel, ys: &[T], gs: &[T], width: usize, log: bool) -> Vec<T> {
    let part = lanes::rows_of_task(width) * width;
    let mut out = room(ys.len());
    parallel::for_each_part(&mut out.spare_capacity_mut()[..ys.len()], part, |task, out| {
        let place = task * part..task * part + out.len();
        simd::run(level, Gradients { ys: &ys[place.clone()], gs: &gs[place], out, width, log });
    });
    // SAFETY: the parts are all of the memory, and `Gradients` writes each place of its own.
    unsafe { out.set_len(ys.len()) };
    out
}

struct Values<'a, T> {
    xs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
    width: usize,
    log: bool,
}

impl<T: Float> simd::Task for Values<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (xs, out) in self.xs.chunks_exact(self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let largest = lanes::largest(xs);
            if self.log {
                let log_sum = T::narrow(sum_of_exp(xs, largest).ln());
                for (out, &x) in out.iter_mut().zip(xs) {
                    out.write((x - largest) - log_sum);
                }
            } else {
                let scale = T::narrow(1.0 / exp_and_sum(xs, largest, out));
                // SAFETY: `exp_and_sum` has written every place.
                let out = unsafe { written(out) };
                for out in out {
                    *out *= scale;
                }
            }
        }
    }
}

/// The places as numbers.
///
/// # Safety
/// Every place has been written.
#[inline(always)]
pub(crate) unsafe fn written<T>(places: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: a place that has been written is a number of the same size and alignment.
    unsafe { &mut *(std::ptr::from_mut(places) as *mut [T]) }
}

/// `eˣ⁻ᵐ` of each number, and their sum.
#[inline(always)]
pub(crate) fn exp_and_sum<T: Float>(xs: &[T], largest: T, out: &mut [MaybeUninit<T>]) -> f64 {
    let mut all = 0.0;
    for (xs, out) in xs.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let mut sums = [T::ZERO; LANES];
        let ((whole, rest), (out, out_rest)) = (xs.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
        for (chunk, out) in whole.iter().zip(out) {
            for lane in 0..LANES {
                let value = (chunk[lane] - largest).exp_below_0();
                out[lane].write(value);
                sums[lane] += value;
            }
        }
        if !rest.is_empty() {
            let values = exp_of_rest(rest, largest);
            for lane in 0..LANES {
                sums[lane] += values[lane];
            }
            for (out, value) in out_rest.iter_mut().zip(values) {
                out.write(value);
            }
        }
        all += lanes::total(sums).widen();
    }
    all
}

/// The exponentials of the end of a row; 0 beyond it.
#[inline(always)]
fn exp_of_rest<T: Float>(rest: &[T], largest: T) -> Chunk<T> {
    let mut values = lanes::padded(rest, T::NEG_INFINITY);
    for value in &mut values {
        *value = (*value - largest).exp_below_0();
    }
    for value in &mut values[rest.len()..] {
        *value = T::ZERO; // Also if the largest number is -∞.
    }
    values
}

/// `Σ eˣ⁻ᵐ`.
#[inline(always)]
pub(crate) fn sum_of_exp<T: Float>(xs: &[T], largest: T) -> f64 {
    let mut all = 0.0;
    for xs in xs.chunks(BLOCK) {
        let mut sums = [T::ZERO; LANES];
        let (whole, rest) = xs.as_chunks::<LANES>();
        for chunk in whole {
            for lane in 0..LANES {
                sums[lane] += (chunk[lane] - largest).exp_below_0();
            }
        }
        if !rest.is_empty() {
            let values = exp_of_rest(rest, largest);
            for lane in 0..LANES {
                sums[lane] += values[lane];
            }
        }
        all += lanes::total(sums).widen();
    }
    all
}

struct Gradients<'a, T> {
    ys: &'a [T],
    gs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
    width: usize,
    log: bool,
}

impl<T: Float> simd::Task for Gradients<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.ys.chunks_exact(self.width).zip(self.gs.chunks_exact(self.width));
        for ((ys, gs), out) in rows.zip(self.out.chunks_exact_mut(self.width)) {
            if self.log {
                let sum = T::narrow(-lanes::sum(gs));
                for ((out, &y), &g) in out.iter_mut().zip(ys).zip(gs) {
                    out.write(y.exp_below_0().fused(sum, g));
                }
            } else {
                let product = T::narrow(lanes::dot(ys, gs));
                for ((out, &y), &g) in out.iter_mut().zip(ys).zip(gs) {
                    out.write(y * (g - product));
                }
            }
        }
    }
}
