//! The lengths of a batch's samples, `λ` in the equations of `docs/finite-width.md`.

use std::sync::LazyLock;

use crate::special::normal_cdf;

/// The mean squares of the samples over that of the batch, as
/// [`BatchGeometry::lengths`](super::BatchGeometry::lengths): at most [`GROUPS`] equal groups, rising; empty
/// where all are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Lengths(pub(super) Vec<f64>);

/// The largest number of groups.
const GROUPS: usize = 20;

/// The median of each group of a standard normal.
static NORMAL_GROUPS: LazyLock<[f64; GROUPS]> = LazyLock::new(|| {
    std::array::from_fn(|group| {
        let fraction = (group as f64 + 0.5) / GROUPS as f64;
        let (mut low, mut high) = (-4.0, 4.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if normal_cdf(middle) < fraction { low = middle } else { high = middle }
        }
        low
    })
});

impl Lengths {
    /// The groups of samples of these sums of squares, the mean of which is `mean`.
    pub(super) fn from_squares(mut squares: Vec<f64>, mean: f64) -> Self {
        if mean <= 0.0 || squares.len() < 2 {
            return Self::default();
        }
        squares.sort_unstable_by(f64::total_cmp);
        let groups = squares.len().min(GROUPS);
        let group = |g: usize| {
            let members = &squares[g * squares.len() / groups..(g + 1) * squares.len() / groups];
            members.iter().sum::<f64>() / (members.len() as f64 * mean)
        };
        Self((0..groups).map(group).collect())
    }

    /// `V_λ`, the variance of the lengths, the mean of which is 1.
    pub(super) fn variance(&self) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.iter().map(|&length| (length - 1.0).powi(2)).sum::<f64>() / self.0.len() as f64
    }

    /// The lengths as `groups` equal groups, rising, of the same variance; all 1 where they are equal.
    pub(super) fn resampled(&self, groups: usize) -> Vec<f64> {
        let count = self.0.len();
        if count == groups {
            return self.0.clone();
        }
        if count == 0 || groups <= 1 {
            return vec![1.0; groups];
        }
        // Group `g` has the part of the rising lengths from `g/groups` to `(g + 1)/groups`.
        let group = |g: usize| {
            let (from, to) = (g as f64 / groups as f64, (g + 1) as f64 / groups as f64);
            let part = |i: usize| {
                let (low, high) = (i as f64 / count as f64, (i + 1) as f64 / count as f64);
                (high.min(to) - low.max(from)).max(0.0)
            };
            (0..count).map(|i| part(i) * self.0[i]).sum::<f64>() * groups as f64
        };
        let merged = Self((0..groups).map(group).collect()).map(|length| length);
        let lost = (1.0 + self.variance()) / (1.0 + merged.variance()) - 1.0;
        merged.spread(lost).0
    }

    /// The lengths after `map`, with a mean of 1 again.
    pub(super) fn map(&self, map: impl Fn(f64) -> f64) -> Self {
        let mapped: Vec<f64> = self.0.iter().map(|&length| map(length)).collect();
        let mean = mapped.iter().sum::<f64>() / mapped.len().max(1) as f64;
        if mean > 0.0 {
            Self(mapped.into_iter().map(|length| length / mean).collect())
        } else {
            Self::default()
        }
    }

    /// The lengths after independent noise of this relative variance on each, equation (13): the logarithms
    /// are stretched about their mean and keep their shape.
    pub(super) fn spread(self, variance: f64) -> Self {
        if variance <= 1e-12 {
            return self;
        }
        let logs: Vec<f64> = self.0.iter().map(|length| length.max(1e-30).ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
        let before = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / logs.len().max(1) as f64;
        let added = variance.ln_1p();
        if before <= 1e-9 * added || logs.len() < 2 {
            return Self(NORMAL_GROUPS.to_vec()).map(|z| (z * added.sqrt()).exp());
        }
        let stretch = (1.0 + added / before).sqrt();
        Self(logs).map(|log| (mean + stretch * (log - mean)).exp())
    }
}
