//! Intervals of means.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use wick_init::Key;

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end of its interval.
    pub high: f64,
}

impl Mean {
    /// The mean of some numbers with a bootstrap interval at the level `1 - alpha` (Efron 1979, *Bootstrap methods*, Ann.
    /// Statist. 7): the numbers are drawn with replacement, and the percentiles of the means are the ends. The level is
    /// nominal: of 6 to 10 numbers, an interval of 95 % holds the mean in 86 to 90 % of cases, and of one number both ends
    /// are the number. `None` without numbers.
    ///
    /// ```
    /// use wick_init::KeyedV1;
    /// use wick_train::compare::Mean;
    ///
    /// let numbers: Vec<f64> = (1..=20).map(f64::from).collect();
    /// let mean = Mean::of(&numbers, 0.05, 2000, KeyedV1::new(1).key("bootstrap")).unwrap();
    /// // The standard error of the mean is 1.3.
    /// assert!(mean.mean == 10.5 && (7.3..8.6).contains(&mean.low) && (12.4..13.7).contains(&mean.high));
    /// assert!(Mean::of(&[], 0.05, 2000, KeyedV1::new(1).key("bootstrap")).is_none());
    /// ```
    pub fn of(numbers: &[f64], alpha: f64, resamples: usize, key: Key) -> Option<Self> {
        let n = numbers.len();
        if n == 0 || resamples == 0 {
            return None;
        }
        let mean = numbers.iter().sum::<f64>() / n as f64;
        let mut rng = key.rng();
        let mut means: Vec<f64> = (0..resamples)
            .map(|_| (0..n).map(|_| numbers[rng.random_range(0..n)]).sum::<f64>() / n as f64)
            .collect();
        means.sort_by(f64::total_cmp);
        let at = |quantile: f64| means[(quantile * (resamples - 1) as f64).round() as usize];
        Some(Self { mean, low: at(alpha / 2.0), high: at(1.0 - alpha / 2.0) })
    }
}
