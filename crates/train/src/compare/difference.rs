//! Whether differences are real.

use serde::{Deserialize, Serialize};
use wick_init::{Key, KeyedV1};

use super::holm::holm;
use super::permutation::probability;
use super::survival::Steps;

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
            let key = KeyedV1::new(seed).key(&format!("compare/{first}/{second}"));
            let (difference, p) = by_log_rank(&groups[first], &groups[second], key);
            let order = if difference < 0.0 { [second, first] } else { [first, second] };
            found.push(Difference { groups: order, p, corrected_p: p });
        }
    }
    let corrected = holm(&found.iter().map(|difference| difference.p).collect::<Vec<_>>());
    for (difference, p) in found.iter_mut().zip(corrected) {
        difference.corrected_p = p;
    }
    found
}

/// The log-rank statistic of two groups, and its probability by permutation.
fn by_log_rank(first: &[Steps], second: &[Steps], key: Key) -> (f64, f64) {
    let mut all: Vec<(Steps, bool)> =
        first.iter().map(|run| (*run, true)).chain(second.iter().map(|run| (*run, false))).collect();
    all.sort_by_key(|(run, _)| run.steps);
    if first.is_empty() || second.is_empty() {
        return (0.0, 1.0);
    }
    (statistic(&all).0, probability(&all, |all| statistic(all).0, key))
}

/// Compares two groups of runs by Gehan's generalization of the sum of ranks (Gehan 1965, Biometrika 52; Mantel 1967,
/// Biometrics 23): over all pairs of a run of the first group and one of the second, the fraction in which the first is
/// surely sooner less that in which it is surely later; and its two-sided probability by permutation of the runs. A run
/// that never arrives is later than all that do. The key draws the ways to part the runs where these are more than 20,000.
///
/// Where most runs arrive and some of either group never do, this finds differences that [`log_rank`] does not: there the
/// last runs on their way have the weight of all that are long there.
///
/// ```
/// use wick_init::KeyedV1;
/// use wick_train::compare::{Steps, sooner};
///
/// let soon = [Steps::reached(3), Steps::reached(4), Steps::censored(100)];
/// let late = [Steps::reached(7), Steps::reached(8), Steps::censored(100)];
/// let key = KeyedV1::new(1).key("compare");
/// // Of nine pairs the first is sooner in six, later in two, and one is not known.
/// assert_eq!(sooner(&soon, &late, key).0, 4.0 / 9.0);
/// assert_eq!(sooner(&soon[..2], &late[..2], key), (1.0, 2.0 / 6.0)); // the most extreme of 6 ways to part four runs
/// ```
pub fn sooner(first: &[Steps], second: &[Steps], key: Key) -> (f64, f64) {
    if first.is_empty() || second.is_empty() {
        return (0.0, 1.0);
    }
    let is_sooner =
        |a: &Steps, b: &Steps| a.reached && (a.steps < b.steps || !b.reached && a.steps <= b.steps);
    let all = || first.iter().chain(second);
    // The runs that are surely later, less those that are surely sooner: within a group they cancel.
    let score = |run: &Steps| -> f64 {
        all().map(|other| f64::from(i8::from(is_sooner(run, other)) - i8::from(is_sooner(other, run)))).sum()
    };
    let scored: Vec<(f64, bool)> =
        all().enumerate().map(|(number, run)| (score(run), number < first.len())).collect();
    let pairs = (first.len() * second.len()) as f64;
    let difference = |all: &[(f64, bool)]| -> f64 {
        all.iter().filter(|(_, is_first)| *is_first).map(|(score, _)| score).sum::<f64>() / pairs
    };
    (difference(&scored), probability(&scored, difference, key))
}

/// Compares two groups of numbers, of which none is NaN, by the sum of ranks (Wilcoxon 1945; equal numbers have the
/// mean of their ranks): the mean rank of the first group less that of the second, above 0 if its numbers are larger,
/// and its two-sided probability by permutation. A run without a result can stand as `-∞` or `∞`, so that it counts
/// as the worst.
///
/// ```
/// use wick_init::KeyedV1;
/// use wick_train::compare::larger;
///
/// let (difference, p) = larger(&[0.9, 0.8, 0.7], &[0.6, 0.5, f64::NEG_INFINITY], KeyedV1::new(1).key("compare"));
/// assert_eq!((difference, p), (3.0, 2.0 / 20.0));
/// ```
pub fn larger(first: &[f64], second: &[f64], key: Key) -> (f64, f64) {
    if first.is_empty() || second.is_empty() {
        return (0.0, 1.0);
    }
    let mut all: Vec<(f64, bool)> =
        first.iter().map(|x| (*x, true)).chain(second.iter().map(|x| (*x, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranked = Vec::with_capacity(all.len());
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let rank = ranked.len() as f64 + (equal.len() as f64 + 1.0) / 2.0;
        ranked.extend(equal.iter().map(|(_, is_first)| (rank, *is_first)));
    }
    let (n, m) = (first.len() as f64, second.len() as f64);
    let difference = |all: &[(f64, bool)]| -> f64 {
        all.iter().map(|(rank, is_first)| if *is_first { rank / n } else { -rank / m }).sum()
    };
    (difference(&ranked), probability(&ranked, difference, key))
}
