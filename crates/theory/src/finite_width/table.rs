//! What a layer does at the `q` of every draw and sample, tabulated and interpolated (section 8 of
//! `docs/finite-width.md`).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::layer::Orthogonal;
use super::pairs::Pairs;
use crate::nonlinearity::Nonlinearity;
use crate::response::Response;

/// Above this `q`, squares are continued as a power of it: every activation goes like one far out (the sine's
/// squares are constant). A saturated activation has come within 1e-7 of its limit there; the correction goes
/// like `1/√q`.
pub(super) const LONGEST: f64 = 1e16;
/// Below this `q` likewise: every activation is a constant or linear near zero.
const SHORTEST: f64 = 1e-12;

/// Rows lie at multiples of this step of `ln q`, the same for all layers, so that their integrals are kept.
const STEP: f64 = 0.25;

/// The integrals of an activation at a row: its [`identity`](Nonlinearity::identity), and the number of the row.
type Key = ((&'static str, u64), i32);

/// Integrals that were needed before. They are numbers of the activation alone.
static KEPT: LazyLock<Mutex<HashMap<Key, Arc<Response>>>> = LazyLock::new(Mutex::default);
/// More are dropped: 1.5 kB each.
const MOST_KEPT: usize = 4096;

fn response(phi: &dyn Nonlinearity, row: i32) -> Arc<Response> {
    let new = || Arc::new(Response::new(phi, (STEP * f64::from(row)).exp()));
    let Some(identity) = phi.identity() else { return new() };
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(response) = kept().get(&(identity, row)) {
        return Arc::clone(response);
    }
    let response = new();
    let mut kept = kept();
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert((identity, row), Arc::clone(&response));
    response
}

/// Rows at equal steps of `ln q`.
pub(super) struct Table {
    first: i32,
    rows: Vec<[f64; FIELDS]>,
}

/// Those of a [`Row`], and the third: `E φ/√(E φ²)`.
const FIELDS: usize = 13;

/// What is interpolated. Means are in units of the root of the mean square; variances are those of one unit,
/// to be divided by the number of units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// `E φ²`, equation (4).
    pub(super) mean_square: f64,
    /// `E φ'²`.
    pub(super) slope_square: f64,
    /// `⟨κ(c)⟩`: the relative covariance of the mean squares of two samples, equation (6).
    pub(super) pair_variance: f64,
    /// `κ(1)`.
    pub(super) self_variance: f64,
    /// `β`, the regression of the mean on the mean square, equation (11).
    pub(super) mean_slope: f64,
    /// `r`, the variance of the mean that the mean square does not explain, equation (11).
    pub(super) residual_mean_variance: f64,
    /// `⟨χ(c)⟩ - 1`, equation (17).
    pub(super) pair_gates: f64,
    /// `χ(1) - 1`.
    pub(super) self_gates: f64,
    /// The relative covariance of `φ'²` and `φ²` of two samples.
    pub(super) pair_covariance: f64,
    /// That of one sample.
    pub(super) self_covariance: f64,
    /// `⟨ν(c)⟩`: the part of the gates' variance that the norm has, equation (17).
    pub(super) pair_norm: f64,
    /// `ν(1)`.
    pub(super) self_norm: f64,
}

impl Table {
    /// The table for `q` from `low` to `high`.
    pub(super) fn new(
        phi: &dyn Nonlinearity,
        [low, high]: [f64; 2],
        pairs: &Pairs,
        orthogonal: Orthogonal,
    ) -> Self {
        let at = |q: f64| (q.clamp(SHORTEST, LONGEST).ln() / STEP).floor() as i32;
        let (first, last) = (at(low) - 1, at(high) + 2);
        let row = |row: i32| row_of(&response(phi, row), pairs, orthogonal);
        Self { first, rows: (first..=last).map(row).collect() }
    }

    /// The row at `q`, by cubic interpolation (Lagrange's) in `ln q`; the squares by their logarithms.
    pub(super) fn at(&self, q: f64) -> Row {
        let position = self.position(q);
        let fields = self.interpolated::<FIELDS>(position);
        let [ln_square, ln_slope] = [0, 1].map(|field| self.logarithm(field, position, fields[field]));
        Row {
            mean_square: ln_square.exp(),
            slope_square: ln_slope.exp(),
            pair_variance: fields[3].max(0.0),
            self_variance: fields[4].max(0.0),
            mean_slope: fields[5],
            residual_mean_variance: fields[6].max(0.0),
            pair_gates: fields[7].max(0.0),
            self_gates: fields[8].max(0.0),
            pair_covariance: fields[9],
            self_covariance: fields[10],
            pair_norm: fields[11].max(0.0),
            self_norm: fields[12].max(0.0),
        }
    }

    /// `E φ²`, `E φ'²` and `E φ/√(E φ²)` alone.
    pub(super) fn means(&self, q: f64) -> [f64; 3] {
        let position = self.position(q);
        let fields = self.interpolated::<3>(position);
        let [square, slope] = [0, 1].map(|field| self.logarithm(field, position, fields[field]).exp());
        [square, slope, fields[2]]
    }

    fn position(&self, q: f64) -> f64 {
        q.ln() / STEP - f64::from(self.first)
    }

    /// The first fields at a position, or at the nearest that the table has.
    fn interpolated<const N: usize>(&self, position: f64) -> [f64; N] {
        let last = self.rows.len() - 2;
        let position = position.clamp(1.0, last as f64);
        let left = (position as usize).min(last - 1);
        let t = position - left as f64;
        let weights = [
            -t * (t - 1.0) * (t - 2.0) / 6.0,
            (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
            -(t + 1.0) * t * (t - 2.0) / 2.0,
            (t + 1.0) * t * (t - 1.0) / 6.0,
        ];
        let mut fields = [0.0; N];
        for (row, weight) in self.rows[left - 1..].iter().zip(weights) {
            for (field, value) in fields.iter_mut().zip(row) {
                *field += weight * value;
            }
        }
        fields
    }

    /// The logarithm of a square, which goes on beyond the table like a power of `q`, a multiple of 1/2: `q`, its root,
    /// or a constant.
    fn logarithm(&self, field: usize, position: f64, inside: f64) -> f64 {
        let last = self.rows.len() - 2;
        let (beyond, [before, after]) = if position > last as f64 {
            (position - last as f64, [last - 1, last])
        } else if position < 1.0 {
            (position - 1.0, [1, 2])
        } else {
            return inside;
        };
        let power = (self.rows[after][field] - self.rows[before][field]) / STEP;
        let power = (2.0 * power).round() / 2.0;
        if power == 0.0 { inside } else { inside + power * beyond * STEP }
    }
}

/// The fields of a [`Row`], the squares as logarithms.
fn row_of(response: &Response, pairs: &Pairs, Orthogonal { conserved, fourth }: Orthogonal) -> [f64; FIELDS] {
    let means = [response.mean, response.mean_square, response.slope_square];
    let [mean, mean_square, slope_square] = response.shifted(means, fourth);
    let root = if response.mean_square > 0.0 { response.mean_square.sqrt() } else { 1.0 };
    let logarithm = |square: f64| square.max(1e-300).ln();
    let both = |f: &dyn Fn(f64) -> f64| (pairs.mean_of(f), f(1.0));
    let p = pairs.self_pair_fraction(pairs.length_variance);
    let over_all = |(pair, own): (f64, f64)| (1.0 - p) * pair + p * own;
    let squares = both(&|c| response.cov_squares(c, conserved));
    let gates = both(&|c| response.product_of_squared_slopes(c) - 1.0);
    let covariances = both(&|c| response.cov_squared_slopes_and_squares(c, conserved));
    let norms = both(&|c| response.squared_slopes_by_norm(c, conserved));
    let covariance = over_all(both(&|c| response.cov_values_and_squares(c, conserved))) / root.powi(3);
    let mean_variance = over_all(both(&|c| response.cov_values(c, conserved))).max(0.0) / root.powi(2);
    let variance = over_all(squares).max(0.0);
    let mean_slope = if variance > 0.0 { covariance / variance } else { 0.0 };
    [
        logarithm(mean_square),
        logarithm(slope_square),
        if mean_square > 0.0 { mean / mean_square.sqrt() } else { 0.0 },
        squares.0.max(0.0),
        squares.1.max(0.0),
        mean_slope,
        (mean_variance - mean_slope * covariance).max(0.0),
        gates.0.max(0.0),
        gates.1.max(0.0),
        covariances.0,
        covariances.1,
        norms.0,
        norms.1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::finite_width::BatchGeometry;

    /// Rows between the tabulated ones, and beyond the last one, are what the integrals are, for all
    /// activations and for `q` from 1e-16 to 1e20. The twin is a table that ends at `q` = 1e4.
    #[test]
    fn rows_agree_with_the_integrals_at_every_length() {
        let pairs = Pairs::new(&BatchGeometry::normal(100, 100, 1.0));
        let table = |phi: &Activation, q: f64| Table::new(phi, [q, q], &pairs, Orthogonal::default());
        let off = |[square, slope, mean]: [f64; 3], phi: &Activation, q: f64| {
            let expected = Response::new(phi, q);
            let relative = |found: f64, expected: f64| (found - expected).abs() / expected.max(1e-30);
            let mean = (mean - expected.mean / expected.mean_square.max(1e-300).sqrt()).abs();
            mean.max(relative(square, expected.mean_square)).max(relative(slope, expected.slope_square))
        };
        for phi in Activation::ALL {
            for exponent in (-16..=20).step_by(2) {
                let q = 1.1 * 10f64.powi(exponent);
                let found = off(table(&phi, q).means(q), &phi, q);
                // The sine's slopes at large q are a constant but for rounding.
                assert!(found < 1e-4, "{phi} at q = {q:e}: {found}");
            }
        }
        let ends = table(&Activation::Tanh, 1e4).means(1e4);
        assert!(off(ends, &Activation::Tanh, 1e12) > 0.005, "the twin that must fail");
    }

    /// What is kept of one activation is not taken for another.
    #[test]
    fn integrals_are_kept_by_activation_and_parameter() {
        let slope = |slope: f64| response(&Activation::LeakyRelu { slope }, 0).slope_square;
        assert!((slope(0.5) - 0.625).abs() < 1e-9 && (slope(0.1) - 0.505).abs() < 1e-9);
        assert_eq!(slope(0.5), slope(0.5));
    }
}
