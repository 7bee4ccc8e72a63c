//! Steps to a threshold, and how they are distributed.

use rand::Rng;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use wick_init::Key;

/// The steps of a run to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The steps after which the threshold was reached, or all steps of a run that did not reach it.
    pub steps: u64,
    /// Whether it was reached. A run that did not reach it is *censored*: its steps are a lower bound.
    pub reached: bool,
}

impl Steps {
    /// A run that reached the threshold after these steps.
    pub fn reached(steps: u64) -> Self {
        Self { steps, reached: true }
    }

    /// A run of these steps that did not reach it.
    pub fn censored(steps: u64) -> Self {
        Self { steps, reached: false }
    }
}

/// The estimate of Kaplan and Meier (1958, *Nonparametric estimation from incomplete observations*, JASA 53) of the
/// fraction of runs that have not reached a threshold after `t` steps: `S(t) = Π (1 - d/n)` over the steps up to `t`
/// at which `d` of the `n` runs that were still on their way reached it.
///
/// ```
/// use wick_train::compare::{KaplanMeier, Steps};
///
/// // Two of four runs reach the threshold, one is stopped between, one never arrives.
/// let runs = [Steps::reached(10), Steps::censored(15), Steps::reached(20), Steps::censored(100)];
/// let estimate = KaplanMeier::new(&runs);
/// assert_eq!(estimate.points(), [(10, 0.75), (20, 0.375)]);
/// assert_eq!((estimate.at(9), estimate.at(15), estimate.median()), (1.0, 0.75, Some(20)));
/// assert_eq!(KaplanMeier::new(&[Steps::censored(5), Steps::reached(3)]).median(), Some(3));
/// assert_eq!(KaplanMeier::new(&[Steps::censored(5)]).median(), None); // more than 5, and nobody knows how many
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct KaplanMeier {
    points: Vec<(u64, f64)>,
}

/// An interval of steps; `None` is beyond all that was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: Option<u64>,
    /// The upper end.
    pub high: Option<u64>,
}

impl KaplanMeier {
    /// The estimate from some runs.
    pub fn new(runs: &[Steps]) -> Self {
        let mut sorted = runs.to_vec();
        // Runs that end at the same step are on their way until it.
        sorted.sort_by_key(|run| (run.steps, !run.reached));
        let (mut left, mut fraction, mut points) = (sorted.len(), 1.0, Vec::new());
        for at_once in sorted.chunk_by(|a, b| a.steps == b.steps) {
            let reached = at_once.iter().filter(|run| run.reached).count();
            if reached > 0 {
                fraction *= (left - reached) as f64 / left as f64;
                points.push((at_once[0].steps, fraction));
            }
            left -= at_once.len();
        }
        Self { points }
    }

    /// The steps at which the fraction falls, each with the fraction from there on.
    pub fn points(&self) -> &[(u64, f64)] {
        &self.points
    }

    /// The fraction of runs that have not reached the threshold after these steps.
    pub fn at(&self, steps: u64) -> f64 {
        self.points
            .iter()
            .take_while(|(step, _)| *step <= steps)
            .last()
            .map_or(1.0, |(_, fraction)| *fraction)
    }

    /// The steps after which half of the runs or more have reached the threshold; `None` if fewer ever did.
    pub fn median(&self) -> Option<u64> {
        // A product of fractions may be a rounding above one half.
        self.points.iter().find(|(_, fraction)| *fraction <= 0.5 * (1.0 + 1e-12)).map(|(step, _)| *step)
    }

    /// A bootstrap interval of the [median](Self::median) at the level `1 - alpha` (Efron 1981, *Censored data and the
    /// bootstrap*, JASA 76): runs are drawn with replacement, and the percentiles of the medians are the ends.
    ///
    /// ```
    /// use wick_init::KeyedV1;
    /// use wick_train::compare::{KaplanMeier, Steps};
    ///
    /// let runs: Vec<Steps> = (1..=20).map(|k| Steps::reached(100 + k)).collect();
    /// let interval = KaplanMeier::median_interval(&runs, 0.05, 2000, KeyedV1::new(1).key("bootstrap"));
    /// assert!(interval.low < Some(109) && interval.high > Some(112), "{interval:?}");
    /// ```
    pub fn median_interval(runs: &[Steps], alpha: f64, resamples: usize, key: Key) -> Interval {
        if runs.is_empty() || resamples == 0 {
            return Interval { low: None, high: None };
        }
        let mut rng = key.rng();
        let mut medians: Vec<u64> = (0..resamples)
            .map(|_| Self::new(&resampled(runs, &mut rng)).median().unwrap_or(u64::MAX))
            .collect();
        medians.sort_unstable();
        let at = |quantile: f64| {
            let place = (quantile * (resamples - 1) as f64).round() as usize;
            Some(medians[place.min(resamples - 1)]).filter(|steps| *steps < u64::MAX)
        };
        Interval { low: at(alpha / 2.0), high: at(1.0 - alpha / 2.0) }
    }
}

fn resampled(runs: &[Steps], rng: &mut impl Rng) -> Vec<Steps> {
    (0..runs.len()).map(|_| runs[rng.random_range(0..runs.len())]).collect()
}
