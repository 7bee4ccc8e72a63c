//! Sums over images and places, in an order that neither threads nor vectors change.

use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};

/// The number of sums that run side by side within a row.
pub(super) const LANES: usize = 16;

/// The elements that one task adds.
const PART: usize = 1 << 13;

/// Adds the parts of `len` elements to the first one, in order, and keeps that one alone.
pub(super) fn merge<T: Number>(parts: &mut Vec<T>, len: usize) {
    let (first, rest) = parts.split_at_mut(len);
    if !rest.is_empty() {
        let rest = &*rest;
        parallel::for_each_part(first, PART, |index, first| {
            for part in rest.chunks_exact(len) {
                let part = &part[index * PART..][..first.len()];
                simd::run(SimdLevel::best(), AddTo { from: part, to: first });
            }
        });
    }
    parts.truncate(len);
}

struct AddTo<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Number> simd::Task for AddTo<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to += *from;
        }
    }
}

/// The sum of each channel, of `[batch, channels, area]`: over places in [`LANES`] sums of `f64`, then over images.
pub(super) fn of_channels<T: Number>(xs: &[T], channels: usize, area: usize) -> Vec<T> {
    let planes = xs.len().checked_div(area).unwrap_or(0);
    let mut sums = vec![0.0; planes];
    let some = (PART / area.max(1)).max(1);
    parallel::for_each_part(&mut sums, some, |part, sums| {
        for (index, sum) in sums.iter_mut().enumerate() {
            let plane = &xs[(part * some + index) * area..][..area];
            *sum = simd::run(SimdLevel::best(), Sum(plane));
        }
    });
    let mut totals = vec![0.0; channels];
    for image in sums.chunks_exact(channels.max(1)) {
        for (total, sum) in totals.iter_mut().zip(image) {
            *total += sum;
        }
    }
    totals.into_iter().map(T::narrow).collect()
}

struct Sum<'a, T>(&'a [T]);

impl<T: Number> simd::Task for Sum<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (whole, rest) = self.0.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for xs in whole {
            for (lane, x) in lanes.iter_mut().zip(xs) {
                *lane += x.widen();
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += x.widen();
        }
        let mut sum = 0.0;
        for lane in lanes {
            sum += lane;
        }
        sum
    }
}
