//! The Mersenne Twister (Matsumoto and Nishimura 1998), with the seeding that PyTorch uses.

const N: usize = 624;
const M: usize = 397;

#[derive(Debug, Clone)]
pub(super) struct Mt19937 {
    state: [u32; N],
    next: usize,
}

impl Mt19937 {
    /// `init_genrand`: Knuth's multiplier over the state.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let previous = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(previous ^ previous >> 30).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    #[inline(always)]
    fn refill(&mut self) {
        let twist = |a: u32, b: u32| {
            let y = (a & 0x8000_0000) | (b & 0x7fff_ffff);
            (y >> 1) ^ ((b & 1).wrapping_neg() & 0x9908_b0df)
        };
        let s = &mut self.state;
        for i in 0..N - M {
            s[i] = s[i + M] ^ twist(s[i], s[i + 1]);
        }
        for i in N - M..N - 1 {
            s[i] = s[i + M - N] ^ twist(s[i], s[i + 1]);
        }
        s[N - 1] = s[M - 1] ^ twist(s[N - 1], s[0]);
        self.next = 0;
    }

    #[inline]
    pub(super) fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        self.next += 1;
        tempered(self.state[self.next - 1])
    }

    /// Fills `out` with `map` of the next words, a whole state at a time.
    #[inline(always)]
    pub(super) fn fill<T>(&mut self, mut out: &mut [T], map: impl Fn(u32) -> T) {
        while !out.is_empty() {
            if self.next == N {
                self.refill();
            }
            let count = out.len().min(N - self.next);
            let (now, later) = out.split_at_mut(count);
            for (x, word) in now.iter_mut().zip(&self.state[self.next..]) {
                *x = map(tempered(*word));
            }
            self.next += count;
            out = later;
        }
    }
}

#[inline(always)]
fn tempered(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 10000th word of the default seed, as the C++ standard fixes it for `std::mt19937`.
    #[test]
    fn the_ten_thousandth_word() {
        let mut engine = Mt19937::new(5489);
        let last = (0..10_000).map(|_| engine.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn many_at_once_are_the_same_words() {
        let (mut one_by_one, mut filled) = (Mt19937::new(7), Mt19937::new(7));
        for count in [1, 0, 700, 623, 624, 2000] {
            let mut words = vec![0; count];
            filled.fill(&mut words, |word| word);
            assert!(words.into_iter().all(|word| word == one_by_one.next_u32()), "{count}");
        }
    }
}
