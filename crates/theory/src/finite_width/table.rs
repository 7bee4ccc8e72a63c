//! What a layer does at many lengths, computed at some.

use super::batch::{Lengths, Pairs};
use super::{DRAWS, LONGEST};
use crate::nonlinearity::Nonlinearity;
use crate::response::Response;

/// What a layer does at the lengths that the draws have, by interpolation in `ln q`.
pub(super) struct Table {
    first: f64,
    step: f64,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Over the root of the mean square, as all that is said of the mean here.
    pub(super) mean: f64,
    pub(super) mean_square: f64,
    pub(super) slope_square: f64,
    /// Of the mean square, relative; to be divided by the units.
    pub(super) variance: f64,
    /// How the mean goes with the mean square, and the variance that it has beside that, to be divided by the
    /// units.
    pub(super) along: f64,
    pub(super) sideways: f64,
}

impl Table {
    pub(super) fn new(
        phi: &dyn Nonlinearity,
        lengths: &[f64],
        pairs: &Pairs,
        sizes: &Lengths,
        conserved: f64,
    ) -> Self {
        let mut sorted = lengths.to_vec();
        sorted.sort_by(f64::total_cmp);
        let high = sorted[DRAWS - 1 - DRAWS / 1000].min(LONGEST);
        let low = sorted[DRAWS / 1000].min(0.5 * LONGEST);
        if low <= 0.0 {
            return Self { first: 0.0, step: 1.0, rows: vec![Row::new(phi, high, pairs, sizes, conserved)] };
        }
        let (low, high) = (low.ln(), high.ln());
        let steps = (2.0 * (high - low)).ceil().clamp(2.0, 30.0);
        let step = ((high - low) / steps).max(1e-12);
        let row = |i: usize| Row::new(phi, (low + step * i as f64).exp(), pairs, sizes, conserved);
        Self { first: low, step, rows: (0..=steps as usize).map(row).collect() }
    }

    pub(super) fn at(&self, q: f64) -> Row {
        let [only] = self.rows[..] else {
            let place = (q.ln() - self.first) / self.step;
            let last = self.rows.len() - 1;
            if place > last as f64 + 1.0 {
                return self.beyond(place - last as f64);
            }
            let left = (place.max(0.0) as usize).min(last - 1);
            return Row::between(&self.rows[left], &self.rows[left + 1], place - left as f64);
        };
        only
    }

    /// So many steps beyond the last row, where squares go like a power of the length: of it, of its root, or
    /// not at all.
    fn beyond(&self, steps: f64) -> Row {
        let (before, last) = (&self.rows[self.rows.len() - 2], self.rows[self.rows.len() - 1]);
        let go = |f: fn(&Row) -> f64| {
            let power = (f(&last) / f(before)).ln() / self.step;
            let power = if power.is_finite() { (2.0 * power).round() / 2.0 } else { 0.0 };
            f(&last) * (power * steps * self.step).exp()
        };
        Row { mean_square: go(|row| row.mean_square), slope_square: go(|row| row.slope_square), ..last }
    }
}

impl Row {
    fn new(phi: &dyn Nonlinearity, q: f64, pairs: &Pairs, sizes: &Lengths, conserved: f64) -> Self {
        let at = Response::at(phi, q);
        let [mean, mean_square, slope_square] = Self::over_lengths(phi, q, &at, sizes);
        let root = if at.mean_square > 0.0 { at.mean_square.sqrt() } else { 1.0 };
        let variance = pairs.over(|c| at.squares(c, conserved)).max(0.0);
        let together = pairs.over(|c| at.values_and_squares(c, conserved)) / root.powi(3);
        let of_mean = pairs.over(|c| at.means(c, conserved)).max(0.0) / root.powi(2);
        let along = if variance > 0.0 { together / variance } else { 0.0 };
        Self {
            mean: if mean_square > 0.0 { mean / mean_square.sqrt() } else { 0.0 },
            mean_square,
            slope_square,
            variance,
            along,
            sideways: (of_mean - along * together).max(0.0),
        }
    }

    /// The means over samples of different lengths.
    fn over_lengths(phi: &dyn Nonlinearity, q: f64, at: &Response, sizes: &Lengths) -> [f64; 3] {
        if sizes.spread() < 1e-6 {
            return [at.mean, at.mean_square, at.slope_square];
        }
        let mut means = [0.0; 3];
        for size in &sizes.0 {
            for (mean, level) in means.iter_mut().zip(Response::levels(phi, (q * size).min(100.0 * LONGEST)))
            {
                *mean += level / sizes.0.len() as f64;
            }
        }
        means
    }

    /// Squares by their logarithms, which go straight where lengths are small or large, and beyond the table
    /// too.
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
            variance: line(|row| row.variance),
            along: line(|row| row.along),
            sideways: line(|row| row.sideways),
        }
    }
}
