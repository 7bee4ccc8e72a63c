//! Counting with vectors of 512 bits. Sixty-four slots make a vector of bytes, whose bits are stored as bit
//! planes. The members of a slot are then an intersection of planes, and a population count counts them.

use std::arch::x86_64::*;

use crate::stats::histogram::slots::table::{SLOTS, Table};

/// The number of numbers that are counted at once.
const SOME: usize = 512;

impl Table {
    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub(super) fn count_wide(&self, values: &[f32]) -> [u64; SLOTS] {
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
