//! What matrix-product prints.

use std::f64::consts::{LOG10_2, LOG10_E};

use serde::Serialize;
use wick_bins::output::{Report, Table, apart, exact, rows_to_show, short};
use wick_theory::{log_norm_of_product, write_number};

#[derive(Debug, Serialize)]
pub(crate) struct MatrixProduct {
    pub(crate) n: usize,
    pub(crate) factors: usize,
    pub(crate) sigma: f64,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
    /// The first matrix of the first trial, and the product at its end.
    pub(crate) first: Scaled,
    pub(crate) product: Scaled,
    pub(crate) predicted: Predicted,
    /// The first factor of any trial after which an entry exceeds the type's largest number.
    pub(crate) overflow_at: Option<usize>,
    #[serde(skip)]
    pub(crate) largest_log10: f64,
    pub(crate) trials: Vec<Trial>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    /// log10 of the Frobenius norm after each factor.
    pub(crate) log10_norm: Vec<f64>,
    /// log10 of the length of the first row: a vector that all factors multiply, whose distribution theory
    /// knows.
    pub(crate) log10_row_norm: Vec<f64>,
    pub(crate) overflow_at: Option<usize>,
}

/// Predicts log10 of the length of a row after each factor: the exact mean, and the band that holds 95 %,
/// from the exact variance and the normal distribution, which a sum of many logarithms approaches.
#[derive(Debug, Serialize)]
pub(crate) struct Predicted {
    pub(crate) log10_row_norm: Vec<f64>,
    pub(crate) low: Vec<f64>,
    pub(crate) high: Vec<f64>,
}

impl Predicted {
    pub(crate) fn new(n: usize, factors: usize, sigma: f64) -> Self {
        let mut predicted = Self { log10_row_norm: Vec::new(), low: Vec::new(), high: Vec::new() };
        let Some((mean, variance)) = u32::try_from(n).ok().and_then(|n| log_norm_of_product(n, 1, sigma))
        else {
            return predicted;
        };
        for count in 1..=factors + 1 {
            // Each factor adds an independent logarithm.
            let (mean, reach) = (count as f64 * mean, 1.959_964 * (count as f64 * variance).sqrt());
            predicted.log10_row_norm.push(mean * LOG10_E);
            predicted.low.push((mean - reach) * LOG10_E);
            predicted.high.push((mean + reach) * LOG10_E);
        }
        predicted
    }
}

/// A matrix `10^exponent · matrix`, without the entries if it is too large to show.
#[derive(Debug, Serialize)]
pub(crate) struct Scaled {
    pub(crate) exponent: i64,
    pub(crate) matrix: Option<Vec<Vec<f64>>>,
}

const MOST_SHOWN: usize = 8;

impl Scaled {
    /// Scales the first `n·n` entries by `2^log2_scale`.
    pub(crate) fn of(entries: &[f64], n: usize, log2_scale: f64) -> Self {
        let entries = &entries[..n * n];
        let largest = entries.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let log = (largest.log2() + log2_scale) * LOG10_2;
        // Numbers near 1 need no exponent.
        let exponent = if log.abs() < 4.0 { 0 } else { log.floor() as i64 };
        let scale = 10f64.powf(log2_scale * LOG10_2 - exponent as f64);
        let matrix = (n <= MOST_SHOWN)
            .then(|| entries.chunks(n).map(|row| row.iter().map(|x| x * scale).collect()).collect());
        Self { exponent, matrix }
    }

    fn table(&self, title: &str) -> Option<Table> {
        let matrix = self.matrix.as_ref()?;
        let power = if self.exponent == 0 { String::new() } else { format!(", times 1e{}", self.exponent) };
        let header = (1..=matrix.len()).map(|column| column.to_string()).collect();
        let rows = matrix.iter().map(|row| row.iter().map(|x| short(*x)).collect()).collect();
        Some(Table { title: format!("{title}{power}"), header, rows, note: String::new() })
    }
}

impl Report for MatrixProduct {
    fn tables(&self) -> Vec<Table> {
        let (n, sigma) = (self.n, write_number(self.sigma));
        let title = format!(
            "Products of {n}×{n} matrices N(0, {sigma}²), {} on {}, seed {}",
            self.dtype, self.device, self.seed
        );
        let mut norms = Table::new(
            "log10 of the Frobenius norm after each factor, over the trials",
            ["factors", "first trial", "lowest", "mean", "highest"],
        );
        for index in rows_to_show(self.factors + 1) {
            let at = || self.trials.iter().map(|trial| trial.log10_norm[index]);
            let mean = at().sum::<f64>() / self.trials.len() as f64;
            let (low, high) = (at().fold(f64::INFINITY, f64::min), at().fold(f64::NEG_INFINITY, f64::max));
            let numbers = [self.trials[0].log10_norm[index], low, mean, high];
            norms.row(std::iter::once(index.to_string()).chain(numbers.map(short)));
        }
        norms.note = match self.overflow_at {
            Some(factor) => format!("{} would have overflowed at factor {factor}", self.dtype),
            None => format!("{} would not have overflowed", self.dtype),
        };
        let mut rows = Table::new(
            "log10 of the length of the product's first row, and what theory predicts",
            ["factors", "mean of the trials", "predicted", "95 % from", "to", "trials inside"],
        );
        for index in rows_to_show(self.predicted.low.len()) {
            let at = || self.trials.iter().map(|trial| trial.log10_row_norm[index]);
            let (low, high) = (self.predicted.low[index], self.predicted.high[index]);
            let inside = at().filter(|x| (low..=high).contains(x)).count();
            let mean = at().sum::<f64>() / self.trials.len() as f64;
            let numbers = apart([mean, self.predicted.log10_row_norm[index], low, high]);
            let inside = format!("{inside} of {}", self.trials.len());
            rows.row(std::iter::once(index.to_string()).chain(numbers).chain([inside]));
        }
        let matrices =
            [self.first.table("The first matrix"), self.product.table("The product of the first trial")];
        let title = Table { title, ..Table::default() };
        std::iter::once(title).chain(matrices.into_iter().flatten()).chain([norms, rows]).collect()
    }

    fn csv(&self) -> Table {
        let mut table = Table::new("", ["trial", "factor", "log10_norm", "log10_row_norm"]);
        for (number, trial) in self.trials.iter().enumerate() {
            for (factor, (norm, row)) in trial.log10_norm.iter().zip(&trial.log10_row_norm).enumerate() {
                table.row([number.to_string(), factor.to_string(), exact(*norm), exact(*row)]);
            }
        }
        table
    }
}
