//! Counting `f32`s in up to thirty bins with vectors of 512 bits, with the same result as one by one.
//!
//! Each number has a slot: 0 below the range, then the bins, then one slot above the range. The slot is
//! guessed in `f32`, at most one too high, and decremented if the number is below the slot's smallest `f32`,
//! which a table holds; so every number at an edge is counted in the right bin. Sixty-four slots make a
//! vector of bytes, whose bits are stored as bit planes. The members of a slot are then an intersection of
//! planes, and a population count counts them.

use std::arch::x86_64::*;

use crate::cpu::simd::{SimdLevel, Units};
use crate::stats::histogram::edges::Edges;

/// The number of slots, which fit five bits: thirty bins, and the slots below and above the range.
const SLOTS: usize = 32;
/// The number of numbers that are counted at once.
const SOME: usize = 512;

/// The slots of a range.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    edges: Edges,
    bins: usize,
    scale: f32,
    offset: f32,
    /// The smallest number of each slot.
    lows: [f32; SLOTS],
}

impl Slots {
    /// Returns `None` if the processor or the range do not allow it: too many bins, or edges too close for
    /// `f32`.
    pub(super) fn new(edges: &Edges) -> Option<Self> {
        let able = SimdLevel::best().units() == Units::Avx512 && is_x86_feature_detected!("avx512vpopcntdq");
        let Edges { low, high, bins, scale } = *edges;
        let largest = low.abs().max(high.abs());
        // Twice the largest error of the guess, in slots.
        let error = 2f64.powi(-22) * (largest * scale + (1.0 - low * scale).abs() + bins as f64 + 2.0);
        let fits = bins + 2 <= SLOTS
            && largest < 1e37
            && largest * scale < 1e37
            && (1e-37..1e37).contains(&scale)
            && error < 0.25;
        if !(able && fits) {
            return None;
        }
        let mut lows = [f32::INFINITY; SLOTS];
        lows[0] = f32::NEG_INFINITY;
        for (slot, place) in lows.iter_mut().enumerate().take(bins + 2).skip(1) {
            let reached = |x: f32| edges.slot(f64::from(x)) >= slot;
            *place = smallest(reached)?;
        }
        Some(Self {
            edges: *edges,
            bins,
            scale: scale as f32,
            offset: (1.0 - low * scale + error) as f32,
            lows,
        })
    }

    /// The edges of the bins.
    pub(super) fn edges(&self) -> &Edges {
        &self.edges
    }

    /// Adds to the counts of the bins; returns the number of values in no bin.
    pub(super) fn count(&self, values: &[f32], counts: &mut [u64]) -> u64 {
        // SAFETY: `new` has checked that the processor has the features that the function needs.
        let in_slots = unsafe { self.count_slots(values) };
        for (count, more) in counts.iter_mut().zip(&in_slots[1..=self.bins]) {
            *count += more;
        }
        in_slots[0] + in_slots[self.bins + 1]
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    fn count_slots(&self, values: &[f32]) -> [u64; SLOTS] {
        let mut sums = [_mm512_setzero_si512(); SLOTS];
        // Two blocks at a time, so that sums are read and written half as often.
        let (pairs, rest) = values.as_chunks::<{ 2 * SOME }>();
        for pair in pairs {
            let (first, second) = pair.split_at(SOME);
            self.add([first, second], &mut sums);
        }
        let (whole, rest) = rest.as_chunks::<SOME>();
        for some in whole {
            self.add([some], &mut sums);
        }
        if !rest.is_empty() {
            // The block is filled up with numbers below the range.
            let mut some = [f32::NEG_INFINITY; SOME];
            some[..rest.len()].copy_from_slice(rest);
            self.add([&some], &mut sums);
        }
        let mut counts = [0; SLOTS];
        for (count, sum) in counts.iter_mut().zip(sums) {
            *count = _mm512_reduce_add_epi64(sum) as u64;
        }
        if !rest.is_empty() {
            counts[0] -= (SOME - rest.len()) as u64;
        }
        counts
    }

    /// Adds the members of each slot among `N` times [`SOME`] values.
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    fn add<const N: usize>(&self, values: [&[f32]; N], sums: &mut [__m512i; SLOTS]) {
        let parts = values.map(|values| self.halves(values));
        for (slot, sum) in sums.iter_mut().enumerate().take(self.bins + 2) {
            for (upper, lower) in &parts {
                let members = _mm512_and_si512(upper[slot >> 3], lower[slot & 7]);
                *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(members));
            }
        }
    }

    /// The members by the upper two bits of their slot, and by the lower three.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn halves(&self, values: &[f32]) -> ([__m512i; 4], [__m512i; 8]) {
        let mut planes = [[0u64; SOME / 64]; 5];
        let (groups, _) = values.as_chunks::<64>();
        for (group, values) in groups.iter().enumerate().take(SOME / 64) {
            let bytes = self.bytes(values);
            for (bit, plane) in planes.iter_mut().enumerate() {
                plane[group] = _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(1 << bit));
            }
        }
        // SAFETY: a plane is 512 bits long.
        let planes = planes.map(|plane| unsafe { _mm512_loadu_si512(plane.as_ptr().cast()) });
        let [p0, p1, p2, p3, p4] = planes;
        let split = |of: __m512i, by: __m512i| [_mm512_andnot_si512(by, of), _mm512_and_si512(of, by)];
        let ones = _mm512_set1_epi64(-1);
        let [a, b] = split(ones, p4);
        let [[u0, u1], [u2, u3]] = [split(a, p3), split(b, p3)];
        let [a, b] = split(ones, p2);
        let [[a, b], [c, d]] = [split(a, p1), split(b, p1)];
        let [[l0, l1], [l2, l3], [l4, l5], [l6, l7]] =
            [split(a, p0), split(b, p0), split(c, p0), split(d, p0)];
        ([u0, u1, u2, u3], [l0, l1, l2, l3, l4, l5, l6, l7])
    }

    /// The slots of sixty-four numbers, in an unspecified order. A number outside the range may be in either
    /// of the two slots for such numbers.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn bytes(&self, values: &[f32; 64]) -> __m512i {
        let (scale, offset) = (_mm512_set1_ps(self.scale), _mm512_set1_ps(self.offset));
        let one = _mm512_set1_epi32(1);
        let (lows, more_lows) = self.lows.split_at(16);
        // SAFETY: each half holds sixteen numbers.
        let (lows, more_lows) =
            unsafe { (_mm512_loadu_ps(lows.as_ptr()), _mm512_loadu_ps(more_lows.as_ptr())) };
        let slots = |first: usize| {
            // SAFETY: each quarter holds sixteen numbers.
            let x = unsafe { _mm512_loadu_ps(values[first..first + 16].as_ptr()) };
            // A NaN, or a number beyond all whole numbers, becomes the smallest whole number. Far outside the
            // range, the table is read at another slot, and the guess may go down by one, but it stays
            // outside.
            let guess = _mm512_cvttps_epi32(_mm512_fmadd_ps(x, scale, offset));
            let low = _mm512_permutex2var_ps(lows, guess, more_lows);
            let too_high = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, low);
            _mm512_mask_sub_epi32(guess, too_high, guess, one)
        };
        // Negative numbers become 0, as do those that 16 bits cannot hold.
        let first = _mm512_packus_epi32(slots(0), slots(16));
        let second = _mm512_packus_epi32(slots(32), slots(48));
        let last = _mm512_set1_epi8((self.bins + 1) as i8);
        _mm512_min_epu8(_mm512_packus_epi16(first, second), last)
    }
}

/// The smallest number for which `holds` is true, if it is true for all larger numbers.
fn smallest(holds: impl Fn(f32) -> bool) -> Option<f32> {
    // The search runs over the ranks of the numbers: rounding moves an edge at 0 by many ranks.
    let ranked = |rank: i32| f32::from_bits(if rank < 0 { !rank as u32 | 1 << 31 } else { rank as u32 });
    let (lowest, highest) = (!(f32::MAX.to_bits() as i32), f32::MAX.to_bits() as i32);
    let (mut below, mut from) = (lowest, highest);
    if holds(ranked(below)) || !holds(ranked(from)) {
        return None;
    }
    while from - 1 > below {
        let middle = i32::midpoint(below, from);
        if holds(ranked(middle)) {
            from = middle;
        } else {
            below = middle;
        }
    }
    Some(ranked(from))
}
