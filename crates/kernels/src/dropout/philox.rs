//! Philox4x32 with seven rounds: Salmon, Moraes, Dror and Shaw 2011, *Parallel random numbers: as easy as 1, 2, 3*.

/// The least number of rounds with which the generator passes BigCrush (their table 2); 10 are their default.
const ROUNDS: usize = 7;
const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// The golden ratio and √3 - 1, as 32-bit fractions: the key grows by these in each round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The number of blocks of four words that are drawn at once.
pub(super) const BLOCKS: usize = 16;

/// The four words of each of sixteen blocks, from `first` on, which is a multiple of sixteen.
#[inline(always)]
pub(super) fn sixteen_blocks(first: u64, mask: u64, key: u64) -> [[u32; BLOCKS]; 4] {
    rounds::<ROUNDS>([first as u32, (first >> 32) as u32, mask as u32, (mask >> 32) as u32], key)
}

/// Each word stays in the lower half of 64 bits, where its products are made, and the upper half is never read, so
/// that the loops over the lanes are vectorised.
#[inline(always)]
fn rounds<const ROUNDS: usize>(counter: [u32; 4], key: u64) -> [[u32; BLOCKS]; 4] {
    const WORD: u64 = 0xFFFF_FFFF;
    let [mut a, mut b, mut c, mut d] = counter.map(|word| [u64::from(word); BLOCKS]);
    for (lane, word) in a.iter_mut().enumerate() {
        *word += lane as u64;
    }
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..ROUNDS {
        let (left, right) = (u64::from(key[0]), u64::from(key[1]));
        for lane in 0..BLOCKS {
            let p = MULTIPLIERS[0] * (a[lane] & WORD);
            let q = MULTIPLIERS[1] * (c[lane] & WORD);
            a[lane] = (q >> 32) ^ b[lane] ^ left;
            b[lane] = q;
            c[lane] = (p >> 32) ^ d[lane] ^ right;
            d[lane] = p;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    [a, b, c, d].map(|wide| wide.map(|word| word as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123 library (kat_vectors, philox4x32 7 and 10).
    #[test]
    fn known_answers() {
        let lane = |words: [[u32; BLOCKS]; 4]| words.map(|word| word[0]);
        let zeros = lane(rounds::<7>([0; 4], 0));
        assert_eq!(zeros, [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]);
        let zeros = lane(rounds::<10>([0; 4], 0));
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let key = 0x299f_31d0_a409_3822;
        let pi = lane(rounds::<10>([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], key));
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }
}
