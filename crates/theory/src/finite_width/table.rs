//! What a layer does at the `q` of every draw, tabulated at some and interpolated (section 8 of
//! `docs/finite-width.md`).

use super::layer::Orthogonal;
use super::lengths::Lengths;
use super::noise::DRAWS;
use super::pairs::Pairs;
use crate::nonlinearity::Nonlinearity;
use crate::response::Response;

/// Above this `q`, squares are continued as a power of it: every activation goes like one far out (the sine's
/// squares are constant). A saturated activation has come within 1e-7 of its limit there; the correction goes
/// like `1/√q`.
pub(super) const LONGEST: f64 = 1e16;

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
        orthogonal: Orthogonal,
    ) -> Self {
        let mut sorted = variances.to_vec();
        sorted.sort_by(f64::total_cmp);
        let high = sorted[DRAWS - 1 - DRAWS / 1000].min(LONGEST);
        let low = sorted[DRAWS / 1000].min(0.5 * LONGEST);
        if low <= 0.0 {
            return Self {
                first: 0.0,
                step: 1.0,
                rows: vec![Row::new(phi, high, pairs, lengths, orthogonal)],
            };
        }
        let (low, high) = (low.ln(), high.ln());
        let steps = (2.0 * (high - low)).ceil().clamp(2.0, 30.0);
        let step = ((high - low) / steps).max(1e-12);
        let row = |i: usize| Row::new(phi, (low + step * i as f64).exp(), pairs, lengths, orthogonal);
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
    fn new(
        phi: &dyn Nonlinearity,
        q: f64,
        pairs: &Pairs,
        lengths: &Lengths,
        Orthogonal { conserved, fourth }: Orthogonal,
    ) -> Self {
        let response = Response::new(phi, q);
        let [mean, mean_square, slope_square] = Self::mixture(phi, q, &response, lengths);
        let [mean, mean_square, slope_square] = response.shifted([mean, mean_square, slope_square], fourth);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::finite_width::BatchGeometry;

    /// Rows between the tabulated ones, and beyond the last one, are what the integrals are, for all
    /// activations and for `q` from 1e-4 to 1e20. The twin is a table that ends at `q` = 1e4.
    #[test]
    fn rows_agree_with_the_integrals_at_every_length() {
        let (pairs, lengths) = (Pairs::new(&BatchGeometry::normal(100, 100, 1.0)), Lengths::default());
        // The draws' q spread by a factor of e in both directions.
        let table = |phi: &Activation, q: f64| {
            let draws: Vec<f64> =
                (0..DRAWS).map(|i| q * (2.0 * i as f64 / DRAWS as f64 - 1.0).exp()).collect();
            Table::new(phi, &draws, &pairs, &lengths, Orthogonal::default())
        };
        let off = |row: Row, phi: &Activation, q: f64| {
            let [mean, square, slope] = Response::means(phi, q);
            let relative = |found: f64, expected: f64| (found - expected).abs() / expected.max(1e-30);
            let mean = (row.mean - mean / square.max(1e-300).sqrt()).abs();
            mean.max(relative(row.mean_square, square)).max(relative(row.slope_square, slope))
        };
        for phi in Activation::ALL {
            for exponent in (-4..=20).step_by(2) {
                let q = 10f64.powi(exponent);
                let found = off(table(&phi, q).at(1.1 * q), &phi, 1.1 * q);
                assert!(found < 0.01, "{phi} at q = {q:e}: {found}");
            }
        }
        let ends = table(&Activation::Tanh, 1e4).at(1e4);
        assert!(off(ends, &Activation::Tanh, 1e12) > 0.005, "the twin that must fail");
    }
}
