//! Counting with vectors of 256 bits, as [`wide`](super::wide) does with 512, but for the population counts,
//! which are looked up for each half of a byte (Muła, Kurz and Lemire 2018, *Faster population counts using
//! AVX2 instructions*) and stay in bytes until these might overflow.

use std::arch::x86_64::*;

use crate::stats::histogram::slots::table::{SLOTS, Table};

/// The number of numbers that are counted at once.
const SOME: usize = 256;
/// The number of times that bytes can be added to: each grows by at most 8.
const TIMES: usize = 31;

impl Table {
    /// The number of values in each slot.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn count_narrow(&self, values: &[f32]) -> [u64; SLOTS] {
        let mut counts = [0; SLOTS];
        for part in values.chunks(TIMES * SOME) {
            let mut sums = [_mm256_setzero_si256(); SLOTS];
            let (whole, rest) = part.as_chunks::<SOME>();
            for some in whole {
                self.add_narrow(some, &mut sums);
            }
            for (count, sum) in counts.iter_mut().zip(&sums) {
                *count += sum_of_bytes(*sum);
            }
            if !rest.is_empty() {
                // The block is filled up with numbers below the range.
                let mut some = [f32::NEG_INFINITY; SOME];
                some[..rest.len()].copy_from_slice(rest);
                let mut sums = [_mm256_setzero_si256(); SLOTS];
                self.add_narrow(&some, &mut sums);
                for (count, sum) in counts.iter_mut().zip(&sums) {
                    *count += sum_of_bytes(*sum);
                }
                counts[0] -= (SOME - rest.len()) as u64;
            }
        }
        counts
    }

    /// Adds the members of each slot, as bytes.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn add_narrow(&self, values: &[f32; SOME], sums: &mut [__m256i; SLOTS]) {
        let mut planes = [[0u32; SOME / 32]; 5];
        let (groups, _) = values.as_chunks::<32>();
        for (group, values) in groups.iter().enumerate().take(SOME / 32) {
            let bytes = self.bytes_narrow(values);
            // The upper bit of each byte is taken; the others move up by one, and by one more.
            let [p0, p1, p2, p3, p4] = &mut planes;
            p0[group] = _mm256_movemask_epi8(_mm256_slli_epi16::<7>(bytes)) as u32;
            p1[group] = _mm256_movemask_epi8(_mm256_slli_epi16::<6>(bytes)) as u32;
            p2[group] = _mm256_movemask_epi8(_mm256_slli_epi16::<5>(bytes)) as u32;
            p3[group] = _mm256_movemask_epi8(_mm256_slli_epi16::<4>(bytes)) as u32;
            p4[group] = _mm256_movemask_epi8(_mm256_slli_epi16::<3>(bytes)) as u32;
        }
        // SAFETY: a plane is 256 bits long.
        let planes = planes.map(|plane| unsafe { _mm256_loadu_si256(plane.as_ptr().cast()) });
        let [p0, p1, p2, p3, p4] = planes;
        let split = |of: __m256i, by: __m256i| [_mm256_andnot_si256(by, of), _mm256_and_si256(of, by)];
        let ones = _mm256_set1_epi64x(-1);
        let [a, b] = split(ones, p4);
        let [[u0, u1], [u2, u3]] = [split(a, p3), split(b, p3)];
        let [a, b] = split(ones, p2);
        let [[a, b], [c, d]] = [split(a, p1), split(b, p1)];
        let [[l0, l1], [l2, l3], [l4, l5], [l6, l7]] =
            [split(a, p0), split(b, p0), split(c, p0), split(d, p0)];
        let (upper, lower) = ([u0, u1, u2, u3], [l0, l1, l2, l3, l4, l5, l6, l7]);
        for (slot, sum) in sums.iter_mut().enumerate().take(self.bins + 2) {
            let members = _mm256_and_si256(upper[slot >> 3], lower[slot & 7]);
            *sum = _mm256_add_epi8(*sum, ones_in_bytes(members));
        }
    }

    /// The slots of thirty-two numbers, in an unspecified order. A number outside the range may be in either
    /// of the two slots for such numbers.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn bytes_narrow(&self, values: &[f32; 32]) -> __m256i {
        let (scale, offset) = (_mm256_set1_ps(self.scale), _mm256_set1_ps(self.offset));
        let (tables, _) = self.lows.as_chunks::<8>();
        // SAFETY: each quarter holds eight numbers.
        let table = |number: usize| unsafe { _mm256_loadu_ps(tables[number].as_ptr()) };
        let slots = |first: usize| {
            // SAFETY: each quarter holds eight numbers.
            let x = unsafe { _mm256_loadu_ps(values[first..first + 8].as_ptr()) };
            // What holds of numbers far outside the range, and of NaN, is said in `wide`.
            let guess = _mm256_cvttps_epi32(_mm256_fmadd_ps(x, scale, offset));
            let low = |number| _mm256_permutevar8x32_ps(table(number), guess);
            // A blend looks at the sign, where the fourth and the fifth bit of the guess are moved to.
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(guess));
            let fifth = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(guess));
            let low = _mm256_blendv_ps(
                _mm256_blendv_ps(low(0), low(1), fourth),
                _mm256_blendv_ps(low(2), low(3), fourth),
                fifth,
            );
            let too_high = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(x, low));
            _mm256_add_epi32(guess, too_high)
        };
        // Negative numbers become 0, as do those that 16 bits cannot hold.
        let first = _mm256_packus_epi32(slots(0), slots(8));
        let second = _mm256_packus_epi32(slots(16), slots(24));
        let last = _mm256_set1_epi8((self.bins + 1) as i8);
        _mm256_min_epu8(_mm256_packus_epi16(first, second), last)
    }
}

/// The number of ones in each byte.
#[target_feature(enable = "avx2")]
#[inline]
fn ones_in_bytes(bits: __m256i) -> __m256i {
    let ones = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    let half = _mm256_set1_epi8(15);
    let lower = _mm256_shuffle_epi8(ones, _mm256_and_si256(bits, half));
    let upper = _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16::<4>(bits), half));
    _mm256_add_epi8(lower, upper)
}

/// The sum of the bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn sum_of_bytes(bytes: __m256i) -> u64 {
    let sums = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
    let mut parts = [0u64; 4];
    // SAFETY: the array is 256 bits long.
    unsafe { _mm256_storeu_si256(parts.as_mut_ptr().cast(), sums) };
    parts.into_iter().sum()
}
