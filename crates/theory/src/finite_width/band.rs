//! Bands: a median with the interval that holds 95 % of the draws.

/// The distribution of a number over the draws of the weights: its median, and the interval that holds 95 %
/// of the draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// 2.5 % of the draws are below.
    pub low: f64,
    /// The median.
    pub middle: f64,
    /// 2.5 % of the draws are above.
    pub high: f64,
}

impl Band {
    /// Whether a number is in the band; the ends belong to it.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }

    /// The band of these draws.
    pub(super) fn from_draws(mut draws: Vec<f64>) -> Self {
        draws.sort_by(f64::total_cmp);
        let at = |fraction: f64| draws[(fraction * (draws.len() - 1) as f64).round() as usize];
        Self { low: at(0.025), middle: at(0.5), high: at(0.975) }
    }
}
