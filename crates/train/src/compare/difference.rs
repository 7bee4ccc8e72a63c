//! Whether differences are real.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use wick_init::KeyedV1;

use super::survival::Steps;

/// The ways to part the runs that are all looked at; beyond them, that many are drawn.
const MOST: usize = 20_000;

/// The statistic of the log-rank test (Mantel 1966) of two groups of runs: over the steps at which runs reach the
/// threshold, the number of those of the first group minus what the fraction of runs on their way lets expect, and the
/// variance of the sum (hypergeometric). Positive if the first group gets there sooner.
///
/// ```
/// use wick_train::compare::{Steps, log_rank};
///
/// let (soon, late) = ([3, 5, 7].map(Steps::reached), [8, 9, 9].map(Steps::reached));
/// let (difference, variance) = log_rank(&soon, &late);
/// assert!(difference > 0.0 && difference * difference / variance > 3.84); // χ² of one degree of freedom, 5 %
/// assert_eq!(log_rank(&late, &soon).0, -difference);
/// ```
pub fn log_rank(first: &[Steps], second: &[Steps]) -> (f64, f64) {
    let mut all: Vec<(Steps, bool)> =
        first.iter().map(|run| (*run, true)).chain(second.iter().map(|run| (*run, false))).collect();
    all.sort_by_key(|(run, _)| run.steps);
    statistic(&all)
}

/// The statistic of runs in the order of their steps, each with whether it is of the first group.
fn statistic(all: &[(Steps, bool)]) -> (f64, f64) {
    let mut left = all.len() as f64;
    let mut of_first = all.iter().filter(|(_, is_first)| *is_first).count() as f64;
    let (mut difference, mut variance) = (0.0, 0.0);
    for at_once in all.chunk_by(|a, b| a.0.steps == b.0.steps) {
        let reached = at_once.iter().filter(|(run, _)| run.reached).count() as f64;
        let by_first = at_once.iter().filter(|(run, is_first)| run.reached && *is_first).count() as f64;
        let fraction = of_first / left;
        difference += by_first - reached * fraction;
        if left > 1.0 {
            variance += reached * fraction * (1.0 - fraction) * (left - reached) / (left - 1.0);
        }
        of_first -= at_once.iter().filter(|(_, is_first)| *is_first).count() as f64;
        left -= at_once.len() as f64;
    }
    (difference, variance)
}

/// Two ways to train, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The numbers of the groups, the sooner one first.
    pub groups: [usize; 2],
    /// The probability of a difference as large or larger between groups that do not differ: by permutation of the runs,
    /// of the log-rank statistic, two-sided.
    pub p: f64,
    /// The same, corrected for the number of comparisons (Holm 1979, *A simple sequentially rejective multiple test
    /// procedure*).
    pub corrected_p: f64,
}

/// Compares each group of runs with each other: permutation tests of the log-rank statistic, corrected by Holm's
/// procedure. All ways to part two groups are looked at where they are at most 20,000, else as many are drawn by the key
/// `compare` of the seed. "No difference" is a `corrected_p` above the level that one has chosen before.
///
/// ```
/// use wick_train::compare::{Steps, differences};
///
/// let soon = [3, 4, 5, 5, 6].map(Steps::reached).to_vec();
/// let late = [40, 60, 90, 95].map(Steps::reached).into_iter().chain([Steps::censored(100)]).collect();
/// let found = differences(&[late, soon.clone(), soon], 42);
/// assert_eq!(found.len(), 3);
/// assert_eq!(found[0].groups, [1, 0]); // the second group is sooner than the first
/// assert!((found[0].p - 2.0 / 252.0).abs() < 1e-12); // the two most extreme of 252 ways to part ten runs
/// assert_eq!(found[2].corrected_p, 1.0); // two equal groups
/// ```
pub fn differences(groups: &[Vec<Steps>], seed: u64) -> Vec<Difference> {
    let mut found = Vec::new();
    for first in 0..groups.len() {
        for second in first + 1..groups.len() {
            let (difference, p) = permutation(&groups[first], &groups[second], seed, [first, second]);
            let order = if difference < 0.0 { [second, first] } else { [first, second] };
            found.push(Difference { groups: order, p, corrected_p: p });
        }
    }
    let mut places: Vec<usize> = (0..found.len()).collect();
    places.sort_by(|a, b| found[*a].p.total_cmp(&found[*b].p));
    let mut largest: f64 = 0.0;
    for (rank, place) in places.into_iter().enumerate() {
        let of = found.len() - rank;
        largest = largest.max(found[place].p * of as f64).min(1.0);
        found[place].corrected_p = largest;
    }
    found
}

/// The log-rank statistic of two groups, and its probability by permutation.
fn permutation(first: &[Steps], second: &[Steps], seed: u64, names: [usize; 2]) -> (f64, f64) {
    let mut all: Vec<(Steps, bool)> =
        first.iter().map(|run| (*run, true)).chain(second.iter().map(|run| (*run, false))).collect();
    all.sort_by_key(|(run, _)| run.steps);
    let (observed, _) = statistic(&all);
    if first.is_empty() || second.is_empty() {
        return (0.0, 1.0);
    }
    // Sums in another order differ by rounding.
    let is_extreme = |all: &[(Steps, bool)]| statistic(all).0.abs() >= observed.abs() * (1.0 - 1e-9) - 1e-12;
    let (n, k) = (all.len(), first.len());
    let mut parted = all.clone();
    if ways(n, k).is_some_and(|ways| ways <= MOST) {
        let (mut extreme, mut count) = (0u64, 0u64);
        let mut chosen: Vec<usize> = (0..k).collect();
        loop {
            parted.iter_mut().for_each(|(_, is_first)| *is_first = false);
            chosen.iter().for_each(|place| parted[*place].1 = true);
            extreme += u64::from(is_extreme(&parted));
            count += 1;
            if !next_choice(&mut chosen, n) {
                return (observed, extreme as f64 / count as f64);
            }
        }
    }
    let mut rng = KeyedV1::new(seed).key(&format!("compare/{}/{}", names[0], names[1])).rng();
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
    (observed, extreme as f64 / (MOST as u64 + 1) as f64)
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
