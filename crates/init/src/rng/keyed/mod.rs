//! Keyed, stateless streams of random numbers.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod fill;
pub(crate) mod math;
mod philox;
pub(crate) mod truncated;

use std::convert::Infallible;
use std::hash::Hasher;

use rand::TryRng;
use siphasher::sip::SipHasher24;
use wick_kernels::MaskKey;

/// The first version of the keyed stream. Its definition is fixed for ever: the same seed and name give the
/// same bits in every later release, and a stream with another definition will be another type.
///
/// The definition:
/// 1. `h` = SipHash-2-4 (64 bits, both keys 0) of the name's UTF-8 bytes.
/// 2. Block `b` = Philox4x32-10 (Salmon et al. 2011, *Parallel random numbers: as easy as 1, 2, 3*) with the
///    key `(h mod 2³², h div 2³²)` and the counter `(b mod 2³², b div 2³² + d·2²⁸, seed mod 2³²,
///    seed div 2³²)`, where the domain `d` is 0 for the words of the elements, 1 for the 32 further bits
///    that `f64` needs, 2 for [`Key::rng`], and 3 for a [`MaskKey`].
/// 3. Element `i` takes word `(i mod 64) div 16` of block `16·(i div 64) + i mod 16`: sixteen blocks make 64
///    elements, a vector register for each of the four words. In `f64`, the word of domain 1 is appended as
///    the low 32 bits. With `b` bits, 32 or 64, a word is `w` in `[0, 2^b)`, or `s` in `[-2^{b-1}, 2^{b-1})`
///    if read as two's complement; it is rounded to the type, and every step below is one operation of IEEE
///    754 in that type, none fused, in the order written. Parameters are rounded to the type first.
/// 4. Uniform: `m + h·(s·2^{1-b})` with the middle `m` and half the width `h` of the interval, computed in
///    `f64`, and then not below `low` and not above `high`.
/// 5. Normal, by Box and Muller 1958: elements `64g + l` and `64g + l + 16`, for `l` in 0..16 and in 32..48,
///    are a pair. With `u = (w + ½)·2^{-b}` of the first word and `t = s·2^{1-b}` of the second, `r = √(-2 ln
///    u)`, the first is `mean + std·(r cos πt)` and the second `mean + std·(r sin πt)`. `ln`, `sin` and `cos`
///    are polynomials: in `f32` those of Cephes' `logf` and `sinf`, in `f64` those of fdlibm's `e_log.c`,
///    `k_sin.c` and `k_cos.c`, with the reductions and the order of operations of this crate's
///    `rng/keyed/math.rs`.
/// 6. Truncated normal, `f32`, where the window holds the mean and reaches at most 4 std from it: `mean +
///    std·(√2·e)` with `e = erf⁻¹(m + h·(s·2^{1-b}))`, where `m` and `h` are the middle and half the width of
///    `erf(bound/√2)`, and `erf⁻¹` is by the polynomials of Giles 2010. Otherwise, and in `f64`: `mean +
///    std·z` with the quantile `z` of `p + (q - p)·u`, at most `1 - 2⁻⁵³`, by Wichura's algorithm AS 241,
///    where `p` and `q` are the distribution function at the bounds, `u = (w' + ½)·2⁻⁶⁴`, and `w'` is the
///    word with its top bit inverted; to a word of `f32`, `2³¹` is appended as the low 32 bits. Where the
///    window lies above the mean, all of that is mirrored. The result is then not below `low` and not above
///    `high`.
/// 7. `bf16` and `f16` are `f32` rounded.
/// 8. [`Key::rng`] gives the words of its blocks one after the other, and 64 bits as two of them, the low one
///    first.
///
/// Different seeds give different streams, and so do different names: two streams are the same only if the
/// seeds are equal and the names' hashes collide, which has a chance of 2⁻⁶⁴ for each pair of names.
///
/// ```
/// use wick_init::KeyedV1;
///
/// let stream = KeyedV1::new(42);
/// assert_eq!(stream.key("fc.weight"), stream.key("fc.weight"));
/// assert_ne!(stream.key("fc.weight"), stream.key("fc.bias"));
/// assert_ne!(stream.key("fc.weight"), KeyedV1::new(43).key("fc.weight"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyedV1 {
    seed: u64,
}

impl KeyedV1 {
    /// Makes the streams of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(self) -> u64 {
        self.seed
    }

    /// Makes the key of a tensor from its full name (`encoder.layers.0.attn.q.weight`).
    pub fn key(self, name: &str) -> Key {
        let mut hasher = SipHasher24::new();
        hasher.write(name.as_bytes());
        Key { seed: self.seed, name: hasher.finish() }
    }
}

/// The key of one tensor: the seed and the hash of the tensor's full name, which its numbers depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    name: u64,
}

/// The purpose of a block of words; the top four bits of the block's number.
#[derive(Clone, Copy)]
enum Domain {
    Elements = 0,
    Extension = 1,
    Generator = 2,
    Mask = 3,
}

impl Key {
    /// The seed.
    pub(crate) fn seed(self) -> u64 {
        self.seed
    }

    /// The hash of the name.
    pub(crate) fn name_hash(self) -> u64 {
        self.name
    }

    /// The key of Philox: the two halves of the name's hash.
    #[inline(always)]
    fn philox_key(self) -> [u32; 2] {
        [self.name as u32, (self.name >> 32) as u32]
    }

    /// The words of one block.
    fn block(self, domain: Domain, number: u64) -> [u32; 4] {
        let counter = [
            number as u32,
            (number >> 32) as u32 | (domain as u32) << 28,
            self.seed as u32,
            (self.seed >> 32) as u32,
        ];
        philox::block(counter, self.philox_key())
    }

    /// The words of elements `64·group` to `64·group + 63`, in their order.
    #[inline(always)]
    fn group(self, domain: Domain, group: u64) -> [[u32; 16]; 4] {
        let first = group * 16;
        let high = (first >> 32) as u32 | (domain as u32) << 28;
        philox::sixteen_blocks(
            [first as u32, high, self.seed as u32, (self.seed >> 32) as u32],
            self.philox_key(),
        )
    }

    /// Makes a generator that implements [`rand::Rng`], for shuffles, other distributions and tests. Its
    /// words are independent of those of the tensor of the same key.
    ///
    /// ```
    /// use rand::RngExt;
    /// use wick_init::KeyedV1;
    ///
    /// let mut rng = KeyedV1::new(42).key("shuffle").rng();
    /// let die = rng.random_range(1..=6);
    /// assert!((1..=6).contains(&die));
    /// ```
    pub fn rng(self) -> KeyRng {
        KeyRng { key: self, next_block: 0, words: [0; 4], used: 4 }
    }
}

/// The key as the key of a dropout layer's masks: the first two words of a block of domain 3. Another seed or another
/// name has other masks.
///
/// ```
/// use wick_init::KeyedV1;
/// use wick_kernels::MaskKey;
///
/// let key = |seed, name| MaskKey::from(KeyedV1::new(seed).key(name));
/// assert_eq!(key(42, "dropout"), key(42, "dropout"));
/// assert!(key(42, "dropout") != key(43, "dropout") && key(42, "dropout") != key(42, "dropout.1"));
/// ```
impl From<Key> for MaskKey {
    fn from(key: Key) -> Self {
        let [low, high, ..] = key.block(Domain::Mask, 0);
        Self::from(u64::from(low) | u64::from(high) << 32)
    }
}

/// A generator of the words of a key, which implements [`rand::Rng`]. Made by [`Key::rng`].
#[derive(Debug, Clone)]
pub struct KeyRng {
    key: Key,
    next_block: u64,
    words: [u32; 4],
    used: usize,
}

impl TryRng for KeyRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        if self.used == 4 {
            self.words = self.key.block(Domain::Generator, self.next_block);
            self.next_block += 1;
            self.used = 0;
        }
        self.used += 1;
        Ok(self.words[self.used - 1])
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = self.try_next_u32()?;
        let high = self.try_next_u32()?;
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.try_next_u32()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn sixteen_blocks_are_sixteen_blocks() {
        let key = KeyedV1::new(0x0123_4567_89ab_cdef).key("fc.weight");
        for group in [0, 1, 77, (1 << 28) - 1, 1 << 28] {
            let words = key.group(Domain::Extension, group);
            for lane in 0..16u8 {
                let one = key.block(Domain::Extension, group * 16 + u64::from(lane));
                assert_eq!(one, words.map(|word| word[usize::from(lane)]), "group {group}, lane {lane}");
            }
        }
    }

    #[test]
    fn the_hash_of_a_name_is_fixed() {
        // From the reference implementation of SipHash-2-4 with a key of zeros, over the bytes of the name.
        for (name, hash) in [
            ("", 0x1e92_4b9d_7377_00d7),
            ("w", 0x3abf_1912_6305_1e5d),
            ("weight", 0xb803_0bb7_91d5_fd3f),
            ("fc.bias", 0xaf14_b1aa_46f7_8732),
            ("fc1.bias", 0x2e28_0843_bf45_046f),
            ("encoder.layers.0.ättn.weight", 0x42c6_d5e0_1695_504e),
        ] {
            assert_eq!(KeyedV1::new(0).key(name).name, hash, "{name}");
        }
    }

    #[test]
    fn generator_words_are_not_element_words() {
        let key = KeyedV1::new(3).key("x");
        let mut rng = key.rng();
        let drawn: Vec<u32> = (0..8).map(|_| rng.next_u32()).collect();
        let elements = key.group(Domain::Elements, 0);
        assert!(drawn.iter().all(|word| !elements.as_flattened().contains(word)));
        assert_eq!(&drawn[4..], key.block(Domain::Generator, 1));

        let mut bytes = [0; 7];
        key.rng().fill_bytes(&mut bytes);
        assert_eq!(bytes[..4], drawn[0].to_le_bytes());
        assert_eq!(bytes[4..], drawn[1].to_le_bytes()[..3]);
    }
}
