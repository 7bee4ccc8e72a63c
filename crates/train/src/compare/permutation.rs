//! The probability of a statistic by permutation.

use rand::RngExt;
use wick_init::Key;

/// The ways to part the runs that are all looked at; beyond them, that many are drawn.
const MOST: usize = 20_000;

/// The probability of a statistic as far from 0 as that of `all`, or farther, if each of its runs were of the first
/// group or of the second by chance: the fraction of all ways to part them, or of 20,000 ways that the key draws.
/// `all` has each run with whether it is of the first group, in an order that the statistic takes.
pub(super) fn probability<T: Copy>(
    all: &[(T, bool)],
    statistic: impl Fn(&[(T, bool)]) -> f64,
    key: Key,
) -> f64 {
    let (n, k) = (all.len(), all.iter().filter(|(_, is_first)| *is_first).count());
    if k == 0 || k == n {
        return 1.0;
    }
    let observed = statistic(all).abs();
    // Sums in another order differ by rounding.
    let is_extreme = |all: &[(T, bool)]| statistic(all).abs() >= observed * (1.0 - 1e-9) - 1e-12;
    let mut parted = all.to_vec();
    if ways(n, k).is_some_and(|ways| ways <= MOST) {
        let (mut extreme, mut count) = (0u64, 0u64);
        let mut chosen: Vec<usize> = (0..k).collect();
        loop {
            parted.iter_mut().for_each(|(_, is_first)| *is_first = false);
            chosen.iter().for_each(|place| parted[*place].1 = true);
            extreme += u64::from(is_extreme(&parted));
            count += 1;
            if !next_choice(&mut chosen, n) {
                return extreme as f64 / count as f64;
            }
        }
    }
    let mut rng = key.rng();
    let mut extreme = 1u64;
    for _ in 0..MOST {
        // Fisher and Yates.
        for place in (1..n).rev() {
            let other = rng.random_range(0..=place);
            let (a, b) = (parted[place].1, parted[other].1);
            (parted[place].1, parted[other].1) = (b, a);
        }
        extreme += u64::from(is_extreme(&parted));
    }
    // The observed one is one of the ways.
    extreme as f64 / (MOST as u64 + 1) as f64
}

/// The least probability that a permutation test of two groups of these numbers of runs can have, two-sided and where no
/// two runs are equal: that of the two most extreme ways to part them, `2 / C(n, k)`, or where 20,000 ways are drawn
/// `1 / 20001`. With `m` comparisons, `m` times it is the least that [`holm`](crate::compare::holm()) leaves: where that is above the
/// level, no difference can be found, whatever the runs.
///
/// ```
/// use wick_train::compare::least_p;
///
/// assert_eq!((least_p(3, 3), least_p(5, 5)), (2.0 / 20.0, 2.0 / 252.0));
/// assert_eq!(least_p(10, 10), 1.0 / 20001.0);
/// assert_eq!(least_p(0, 5), 1.0);
/// ```
pub fn least_p(first: usize, second: usize) -> f64 {
    match ways(first + second, first) {
        Some(ways) if ways <= MOST => (2.0 / ways as f64).min(1.0),
        _ => 1.0 / (MOST as f64 + 1.0),
    }
}

/// The ways to choose `k` of `n`; `None` if they are too many to count.
fn ways(n: usize, k: usize) -> Option<usize> {
    (0..k.min(n - k)).try_fold(1usize, |ways, i| Some(ways.checked_mul(n - i)? / (i + 1)))
}

/// The next choice of places below `n` in the order of dictionaries; false after the last.
fn next_choice(chosen: &mut [usize], n: usize) -> bool {
    let k = chosen.len();
    let Some(place) = (0..k).rev().find(|place| chosen[*place] < n - k + place) else { return false };
    chosen[place] += 1;
    for later in place + 1..k {
        chosen[later] = chosen[later - 1] + 1;
    }
    true
}
