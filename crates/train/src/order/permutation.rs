//! A keyed permutation of `0..n`, another one in each epoch, computed a place at a time.

use std::hash::Hasher;
use std::ops::Range;

use rand::Rng;
use siphasher::sip::SipHasher24;
use wick_init::Key;

/// The number of rounds of the network.
const ROUNDS: usize = 16;

/// The first version of the keyed permutation of `0..n`. Its definition is fixed for ever: the same key, `n`
/// and epoch give the same order in every later release, and a permutation with another definition will be
/// another type.
///
/// The definition, an unbalanced Feistel network with cycle walking (Black and Rogaway 2002, *Ciphers with
/// arbitrary finite domains*):
/// 1. `k` = the first two words of 64 bits of [`Key::rng`].
/// 2. `a` is the smallest even number with `a² ≥ n`, and `b = ⌈n/a⌉`. A number `x` below `a·b` is the pair
///    `(l, r)` with `x = l + a·r`. (`a` is even so that odd permutations come too.)
/// 3. The key `K` of round `i` in epoch `e` is SipHash-2-4 with the key `k` of 16 bytes: `e` and `i`, each as
///    64 bits, low byte first.
/// 4. `F(v, m) = ⌊m·mix(v + K)/2⁶⁴⌋`, where `mix` is the finalizer of SplitMix64 (Steele, Lea and Flood 2014,
///    with Stafford's variant 13): `z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27;
///    z *= 0x94D049BB133111EB; z ^= z >> 31`, modulo 2⁶⁴.
/// 5. In the 16 rounds, from 0, the even ones replace `l` by `(l + F(r, a)) mod a`, and the odd ones replace
///    `r` by `(r + F(l, b)) mod b`.
/// 6. The rounds are repeated while the result is `n` or more: `a·b` is below `n + a`, so that this is rare
///    for large `n`.
///
/// It takes constant memory and constant time for any place of any epoch. It is no cipher: the key may be
/// found from many orders.
///
/// ```
/// use wick_init::KeyedV1;
/// use wick_train::PermutationV1;
///
/// let permutation = PermutationV1::new(10, KeyedV1::new(42).key("order")).epoch(3);
/// let mut order: Vec<u64> = (0..10).map(|place| permutation.at(place)).collect();
/// order.sort();
/// assert_eq!(order, (0..10).collect::<Vec<u64>>());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermutationV1 {
    n: u64,
    /// The sizes of the two halves of a number.
    sides: (u64, u64),
    key: (u64, u64),
}

impl PermutationV1 {
    /// The largest `n`.
    pub const LARGEST: u64 = 1 << 62;

    /// Makes the permutations of `0..n` of a key; an `n` above [`PermutationV1::LARGEST`] is taken as that.
    pub fn new(n: u64, key: Key) -> Self {
        let n = n.min(Self::LARGEST);
        let mut rng = key.rng();
        let key = (rng.next_u64(), rng.next_u64());
        let root = n.isqrt();
        let root = if root * root < n { root + 1 } else { root };
        let a = (root + root % 2).max(2);
        Self { n, sides: (a, n.div_ceil(a).max(1)), key }
    }

    /// Makes the permutation of one epoch, from 0.
    pub fn epoch(self, epoch: u64) -> Epoch {
        let keys = std::array::from_fn(|round| {
            let mut hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
            hasher.write(&epoch.to_le_bytes());
            hasher.write(&(round as u64).to_le_bytes());
            hasher.finish()
        });
        Epoch { n: self.n, sides: self.sides, keys }
    }
}

/// The permutation of one epoch, made by [`PermutationV1::epoch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    n: u64,
    sides: (u64, u64),
    keys: [u64; ROUNDS],
}

impl Epoch {
    /// The number at a place. Both are below `n`; a place beyond is its own number.
    ///
    /// ```
    /// use wick_init::KeyedV1;
    /// use wick_train::PermutationV1;
    ///
    /// let permutation = PermutationV1::new(1 << 40, KeyedV1::new(1).key("order")).epoch(7);
    /// assert!(permutation.at(1_000_000_007) < 1 << 40);
    /// assert_eq!(permutation.at(1 << 41), 1 << 41);
    /// ```
    pub fn at(&self, place: u64) -> u64 {
        if place >= self.n {
            return place;
        }
        let [x] = self.network([place]);
        self.walk(x)
    }

    /// The numbers at the places of a range, which ends at `n` at most. It takes less time than one by one: a round
    /// waits for the round before it, and several places wait together.
    pub(super) fn of_range(&self, places: Range<u64>) -> Vec<usize> {
        const TOGETHER: u64 = 8;
        let mut numbers = Vec::with_capacity((places.end - places.start) as usize);
        let mut first = places.start;
        while places.end - first >= TOGETHER {
            let some: [u64; TOGETHER as usize] = std::array::from_fn(|place| first + place as u64);
            numbers.extend(self.network(some).map(|x| self.walk(x) as usize));
            first += TOGETHER;
        }
        numbers.extend((first..places.end).map(|place| self.at(place) as usize));
        numbers
    }

    /// A permutation of the larger range: the walk along the circle of a place comes back below `n`.
    fn walk(&self, mut x: u64) -> u64 {
        while x >= self.n {
            [x] = self.network([x]);
        }
        x
    }

    fn network<const N: usize>(&self, xs: [u64; N]) -> [u64; N] {
        let (a, b) = self.sides;
        let (mut l, mut r) = (xs.map(|x| x % a), xs.map(|x| x / a));
        for keys in self.keys.chunks_exact(2) {
            for (l, r) in l.iter_mut().zip(&r) {
                *l = add(*l, shift(*r, keys[0], a), a);
            }
            for (r, l) in r.iter_mut().zip(&l) {
                *r = add(*r, shift(*l, keys[1], b), b);
            }
        }
        std::array::from_fn(|place| l[place] + a * r[place])
    }
}

/// `(x + y) mod m` for `x` and `y` below `m`.
fn add(x: u64, y: u64, m: u64) -> u64 {
    let sum = x + y;
    if sum >= m { sum - m } else { sum }
}

/// What a round adds to one half: a number below `m` that depends on the other half and on the round's key.
fn shift(v: u64, key: u64, m: u64) -> u64 {
    ((u128::from(mix(v.wrapping_add(key))) * u128::from(m)) >> 64) as u64
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
impl Epoch {
    /// The same network with fewer rounds, a twin that tests of the order must refuse.
    pub(super) fn at_with_rounds(&self, place: u64, rounds: usize) -> u64 {
        let (a, b) = self.sides;
        let mut x = place;
        loop {
            let (mut l, mut r) = (x % a, x / a);
            for (round, &key) in self.keys[..rounds].iter().enumerate() {
                match round % 2 {
                    0 => l = add(l, shift(r, key, a), a),
                    _ => r = add(r, shift(l, key, b), b),
                }
            }
            x = l + a * r;
            if x < self.n {
                return x;
            }
        }
    }
}
