//! What a layer does at the `q` of every draw, tabulated at some and interpolated (section 8 of
//! `docs/finite-width.md`).

use super::lengths::Lengths;
use super::noise::DRAWS;
use super::pairs::Pairs;
use crate::nonlinearity::Nonlinearity;
use crate::response::Response;

/// Above this `q`, squares are continued as a power of it: every activation goes like one far out (the sine's
/// squares are constant).
pub(super) const LONGEST: f64 = 1e4;

/// Rows at equal steps of `ln q`.
pub(super) struct Table {
    first: f64,
    step: f64,
    rows: Vec<Row>,
}

/// What is interpolated. Means are in units of the root of the mean square; variances are those of one unit,
/// to be divided by the number of units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// `E φ/√(E φ²)`.
    pub(super) mean: f64,
    /// `E φ²`, equation (4).
    pub(super) mean_square: f64,
    /// `E φ'²`.
    pub(super) slope_square: f64,
    /// `v`, the relative variance of the mean square, equation (8).
    pub(super) mean_square_variance: f64,
    /// `β`, the regression of the mean on the mean square, equation (11).
    pub(super) mean_slope: f64,
    /// `r`, the variance of the mean that the mean square does not explain, equation (11).
    pub(super) residual_mean_variance: f64,
}

impl Table {
    /// The table for draws of these variances `q`.
    pub(super) fn new(
        phi: &dyn Nonlinearity,
        variances: &[f64],
        pairs: &Pairs,
        lengths: &Lengths,
        conserved: f64,
    ) -> Self {
        let mut sorted = variances.to_vec();
        sorted.sort_by(f64::total_cmp);
        let high = sorted[DRAWS - 1 - DRAWS / 1000].min(LONGEST);
        let low = sorted[DRAWS / 1000].min(0.5 * LONGEST);
        if low <= 0.0 {
            return Self {
                first: 0.0,
                step: 1.0,
                rows: vec![Row::new(phi, high, pairs, lengths, conserved)],
            };
        }
        let (low, high) = (low.ln(), high.ln());
        let steps = (2.0 * (high - low)).ceil().clamp(2.0, 30.0);
        let step = ((high - low) / steps).max(1e-12);
        let row = |i: usize| Row::new(phi, (low + step * i as f64).exp(), pairs, lengths, conserved);
        Self { first: low, step, rows: (0..=steps as usize).map(row).collect() }
    }

    /// The row at `q`, by interpolation.
    pub(super) fn at(&self, q: f64) -> Row {
        let [only] = self.rows[..] else {
            let position = (q.ln() - self.first) / self.step;
            let last = self.rows.len() - 1;
            if position > last as f64 + 1.0 {
                return self.beyond(position - last as f64);
            }
            let left = (position.max(0.0) as usize).min(last - 1);
            return Row::between(&self.rows[left], &self.rows[left + 1], position - left as f64);
        };
        only
    }

    /// The row that lies `steps` beyond the last one. Squares go like a power of `q`, a multiple of 1/2: `q`,
    /// its root, or a constant.
    fn beyond(&self, steps: f64) -> Row {
        let (before, last) = (&self.rows[self.rows.len() - 2], self.rows[self.rows.len() - 1]);
        let continued = |f: fn(&Row) -> f64| {
            let power = (f(&last) / f(before)).ln() / self.step;
            let power = if power.is_finite() { (2.0 * power).round() / 2.0 } else { 0.0 };
            if power == 0.0 { f(&last) } else { f(&last) * (power * steps * self.step).exp() }
        };
        Row {
            mean_square: continued(|row| row.mean_square),
            slope_square: continued(|row| row.slope_square),
            ..last
        }
    }
}

impl Row {
    fn new(phi: &dyn Nonlinearity, q: f64, pairs: &Pairs, lengths: &Lengths, conserved: f64) -> Self {
        let response = Response::new(phi, q);
        let [mean, mean_square, slope_square] = Self::mixture(phi, q, &response, lengths);
        let root = if response.mean_square > 0.0 { response.mean_square.sqrt() } else { 1.0 };
        let mean_square_variance = pairs.mean_over_all(|c| response.cov_squares(c, conserved)).max(0.0);
        let covariance =
            pairs.mean_over_all(|c| response.cov_values_and_squares(c, conserved)) / root.powi(3);
        let mean_variance =
            pairs.mean_over_all(|c| response.cov_values(c, conserved)).max(0.0) / root.powi(2);
        let mean_slope = if mean_square_variance > 0.0 { covariance / mean_square_variance } else { 0.0 };
        Self {
            mean: if mean_square > 0.0 { mean / mean_square.sqrt() } else { 0.0 },
            mean_square,
            slope_square,
            mean_square_variance,
            mean_slope,
            residual_mean_variance: (mean_variance - mean_slope * covariance).max(0.0),
        }
    }

    /// `E φ`, `E φ²` and `E φ'²`, averaged over samples of different lengths, equation (4).
    fn mixture(phi: &dyn Nonlinearity, q: f64, response: &Response, lengths: &Lengths) -> [f64; 3] {
        if lengths.variance() < 1e-6 {
            return [response.mean, response.mean_square, response.slope_square];
        }
        let mut mixture = [0.0; 3];
        for length in &lengths.0 {
            let means = Response::means(phi, (q * length).min(100.0 * LONGEST));
            for (total, mean) in mixture.iter_mut().zip(means) {
                *total += mean / lengths.0.len() as f64;
            }
        }
        mixture
    }

    /// Interpolates at the fraction `t` from `a` to `b`, or beyond. The logarithms of squares are straight in
    /// `ln q` where `q` is small or large, beyond the table too.
    fn between(a: &Self, b: &Self, t: f64) -> Self {
        let line = |f: fn(&Self) -> f64| f(a) + t.clamp(0.0, 1.0) * (f(b) - f(a));
        let log = |f: fn(&Self) -> f64| {
            let (low, high) = (f(a), f(b));
            if low > 0.0 && high > 0.0 { low * (high / low).powf(t) } else { low + t * (high - low) }
        };
        Self {
            mean: line(|row| row.mean),
            mean_square: log(|row| row.mean_square),
            slope_square: log(|row| row.slope_square),
            mean_square_variance: line(|row| row.mean_square_variance),
            mean_slope: line(|row| row.mean_slope),
            residual_mean_variance: line(|row| row.residual_mean_variance),
        }
    }
}
