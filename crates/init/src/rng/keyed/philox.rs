//! Philox4x32-10: Salmon, Moraes, Dror and Shaw 2011, *Parallel random numbers: as easy as 1, 2, 3*.

/// The number of rounds; `ROUNDS` in `stream.cu`.
pub(super) const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// The golden ratio and √3 - 1, as 32-bit fractions: the key grows by these in each round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The key of a round, from the key of the first one.
#[inline(always)]
pub(super) fn round_key(key: [u32; 2], round: usize) -> [u32; 2] {
    let step = |half: usize| key[half].wrapping_add(WEYL[half].wrapping_mul(round as u32));
    [step(0), step(1)]
}

/// Computes one block of four words.
pub(super) fn block(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    lanes(counter.map(|word| [word]), key).map(|[word]| word)
}

/// Computes the blocks of sixteen counters that differ in the first word, which counts up from `counter[0]`,
/// a multiple of sixteen.
#[inline(always)]
pub(super) fn sixteen_blocks(counter: [u32; 4], key: [u32; 2]) -> [[u32; 16]; 4] {
    let mut counters = counter.map(|word| [word; 16]);
    for (lane, word) in counters[0].iter_mut().enumerate() {
        *word += lane as u32;
    }
    lanes(counters, key)
}

/// Runs ten rounds over `N` counters at once, written so that the loop over the lanes is vectorized: each
/// word stays in the lower half of 64 bits, where its products are made, and the upper half is never read.
#[inline(always)]
fn lanes<const N: usize>(counters: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    const WORD: u64 = 0xFFFF_FFFF;
    let mut wide = [[0u64; N]; 4];
    for (wide, words) in wide.iter_mut().zip(&counters) {
        for (wide, &word) in wide.iter_mut().zip(words) {
            *wide = u64::from(word);
        }
    }
    let [mut a, mut b, mut c, mut d] = wide;
    for round in 0..ROUNDS {
        let key = round_key(key, round);
        for lane in 0..N {
            let p = u64::from(MULTIPLIERS[0]) * (a[lane] & WORD);
            let q = u64::from(MULTIPLIERS[1]) * (c[lane] & WORD);
            a[lane] = (q >> 32) ^ b[lane] ^ u64::from(key[0]);
            b[lane] = q;
            c[lane] = (p >> 32) ^ d[lane] ^ u64::from(key[1]);
            d[lane] = p;
        }
    }
    let mut words = counters;
    for (words, wide) in words.iter_mut().zip([a, b, c, d]) {
        for (word, wide) in words.iter_mut().zip(wide) {
            *word = wide as u32;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123 library (kat_vectors, philox4x32 10).
    #[test]
    fn known_answers() {
        let all = u32::MAX;
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([all; 4], [all; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(block(counter, key), expected);
        }
    }
}
