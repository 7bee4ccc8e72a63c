//! What phase-diagram prints.

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use wick_bins::output::{Report, Table, exact, percent, short};
use wick_bins::progress;
use wick_theory::MeanField;

use crate::plane::{Both, Cell, CriticalPoint, Experiment, Measured, predicted};

#[derive(Debug, Serialize)]
pub(crate) struct PhaseDiagram {
    pub(crate) experiment: Experiment,
    /// Points of the critical line, by rising σ_b.
    pub(crate) critical: Vec<CriticalPoint>,
    pub(crate) cells: Vec<Both>,
    #[serde(skip)]
    part: bool,
}

/// Fewer nets have no nine of ten.
const MIN_NETS: usize = 10;

/// The number of points of the critical line.
const LINE: usize = 41;

impl PhaseDiagram {
    pub(crate) fn new(experiment: Experiment, cells: Vec<Cell>, part: bool) -> Result<Self> {
        let phi = experiment.phi()?;
        let [low, high] = experiment.sigma_b;
        let bar = progress::bar(LINE + cells.len(), "theory");
        let critical = (0..LINE).into_par_iter().filter_map(|i| {
            bar.inc(1);
            let sigma_b = low + (high - low) * i as f64 / (LINE - 1) as f64;
            let found =
                MeanField { phi, weight_variance: 0.0, bias_variance: sigma_b * sigma_b }.critical()?;
            Some(CriticalPoint { sigma_w: found.weight_variance.sqrt(), sigma_b, q: found.q })
        });
        let critical = critical.collect();
        let cells = cells.into_par_iter().map(|cell| {
            bar.inc(1);
            Both { cell, predicted: predicted(phi, [cell.sigma_w, cell.sigma_b]) }
        });
        let cells = cells.collect();
        bar.finish_and_clear();
        Ok(Self { experiment, critical, cells, part })
    }

    /// Returns the relative errors of the measured χ₁, sorted.
    fn errors(&self) -> Vec<f64> {
        let error = |both: &Both| Some((both.cell.measured.chi_1? / both.predicted?.chi_1).ln().abs());
        let mut errors: Vec<f64> = self.cells.iter().filter_map(error).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }
}

/// Returns a depth scale for people: ∞ if it has no value, or a dash if the quantity that it belongs to has
/// none.
fn scale(x: Option<f64>, of: Option<f64>) -> String {
    match (x, of) {
        (_, None) => "–".into(),
        (None, _) => "∞".into(),
        (Some(x), _) => short(x),
    }
}

fn known(x: Option<f64>) -> String {
    x.map_or_else(|| "–".into(), short)
}

impl Report for PhaseDiagram {
    fn tables(&self) -> Vec<Table> {
        let e = &self.experiment;
        let title = format!(
            "{} nets of {} layers of {} units, {} samples, {} on {}, seed {}",
            e.activation, e.depth, e.width, e.samples, e.dtype, e.device, e.seed
        );
        let mut line = Table::new("critical line", ["σ_b", "σ_w", "σ_w²", "q*"]);
        for point in self.critical.iter().step_by((LINE - 1) / 10) {
            line.row([
                short(point.sigma_b),
                short(point.sigma_w),
                short(point.sigma_w * point.sigma_w),
                short(point.q),
            ]);
        }
        if self.critical.is_empty() {
            line.note = "none in this range of σ_b".into();
        }
        let header = ["σ_w", "σ_b", "q*", "measured", "c*", "measured ", "χ₁", "measured  ", "ξ_c", "ξ_∇"];
        let mut cells = Table::new("predicted and measured", header);
        // The table has about a dozen cells; the JSON and the CSV have all.
        let step = |side: usize| (side - 1).div_ceil(4).max(1);
        let steps = e.grid.map(step);
        let shown = |both: &&Both| {
            self.part || both.cell.at.iter().zip(steps).all(|(index, step)| index.is_multiple_of(step))
        };
        for both in self.cells.iter().filter(shown) {
            let Measured { q, c, chi_1 } = both.cell.measured;
            let p = both.predicted;
            cells.row([
                short(both.cell.sigma_w),
                short(both.cell.sigma_b),
                known(p.map(|p| p.q)),
                known(q),
                known(p.and_then(|p| p.c)),
                known(c),
                known(p.map(|p| p.chi_1)),
                known(chi_1),
                scale(p.and_then(|p| p.xi_c), p.and_then(|p| p.c)),
                scale(p.and_then(|p| p.xi_grad), p.map(|p| p.chi_1)),
            ]);
        }
        let errors = self.errors();
        if let Some(last) = errors.last() {
            let at = |fraction: f64| percent(errors[(fraction * (errors.len() - 1) as f64) as usize], 1);
            let (nets, most) = (errors.len(), percent(*last, 1));
            cells.note = if nets < MIN_NETS {
                format!("χ₁ of {nets} nets is off by {most} at most")
            } else {
                let (half, nine) = (at(0.5), at(0.9));
                format!(
                    "χ₁ of {nets} nets is off by {half} in the median, {nine} in nine of ten, {most} at most"
                )
            };
        }
        vec![Table { title, ..Table::default() }, line, cells]
    }

    fn csv(&self) -> Table {
        let mut table = Table::new(
            "",
            [
                "sigma_w",
                "sigma_b",
                "predicted_q",
                "predicted_c",
                "predicted_chi_1",
                "predicted_xi_q",
                "predicted_xi_c",
                "predicted_xi_grad",
                "measured_q",
                "measured_c",
                "measured_chi_1",
            ],
        );
        for Both { cell, predicted } in &self.cells {
            let p = predicted.as_ref();
            let Measured { q, c, chi_1 } = cell.measured;
            let numbers = [
                Some(cell.sigma_w),
                Some(cell.sigma_b),
                p.map(|p| p.q),
                p.and_then(|p| p.c),
                p.map(|p| p.chi_1),
                p.and_then(|p| p.xi_q),
                p.and_then(|p| p.xi_c),
                p.and_then(|p| p.xi_grad),
                q,
                c,
                chi_1,
            ];
            table.row(numbers.map(|x| x.map(exact).unwrap_or_default()));
        }
        table
    }
}
