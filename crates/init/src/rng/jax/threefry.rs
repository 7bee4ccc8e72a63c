//! Threefry-2x32 with 20 rounds (Salmon et al. 2011, *Parallel random numbers: as easy as 1, 2, 3*).

/// The two words of a counter under a key.
#[inline(always)]
pub(super) fn block(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd1_1bda];
    let [mut x, mut y] = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x = x.wrapping_add(y);
            y = y.rotate_left(rotation) ^ x;
        }
        x = x.wrapping_add(keys[(group + 1) % 3]);
        y = y.wrapping_add(keys[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    [x, y]
}

/// The bits of element `index`: the words of its number are mixed to one.
#[inline(always)]
pub(super) fn bits(key: [u32; 2], index: u64) -> u32 {
    let [x, y] = block(key, [(index >> 32) as u32, index as u32]);
    x ^ y
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123 (`kat_vectors`, threefry2x32 20).
    #[test]
    fn known_answers() {
        assert_eq!(block([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(block([u32::MAX; 2], [u32::MAX; 2]), [0x1cb9_96fc, 0xbb00_2be7]);
        let (key, counter) = ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]);
        assert_eq!(block(key, counter), [0xc492_3a9c, 0x483d_f7a0]);
    }
}
