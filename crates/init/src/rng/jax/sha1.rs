//! SHA-1 (FIPS 180-4), by which Flax hashes the path of a parameter. It protects nothing here.

/// The first 32 bits of the digest, the most significant first.
pub(super) fn first_word(message: &[u8]) -> u32 {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(8 * message.len() as u64).to_be_bytes());
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let (blocks, _) = padded.as_chunks::<64>();
    for block in blocks {
        state = compressed(state, block);
    }
    state[0]
}

fn compressed(state: [u32; 5], block: &[u8; 64]) -> [u32; 5] {
    let mut words = [0u32; 80];
    let (bytes, _) = block.as_chunks::<4>();
    for (word, bytes) in words.iter_mut().zip(bytes) {
        *word = u32::from_be_bytes(*bytes);
    }
    for t in 16..80 {
        words[t] = (words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for (t, word) in words.iter().enumerate() {
        let (mixed, constant) = match t {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6u32),
        };
        let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant);
        (a, b, c, d, e) = (next.wrapping_add(*word), a, b.rotate_left(30), c, d);
    }
    let mut sums = state;
    for (sum, word) in sums.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of FIPS 180-4, and messages of a block's length and one less than the padding needs.
    #[test]
    fn digests_of_the_standard() {
        assert_eq!(first_word(b"abc"), 0xa999_3e36);
        assert_eq!(first_word(b""), 0xda39_a3ee);
        let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(first_word(two), 0x8498_3e44);
        assert_eq!(first_word(&[b'a'; 1_000_000]), 0x34aa_973c);
    }
}
