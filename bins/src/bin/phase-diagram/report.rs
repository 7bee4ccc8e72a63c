//! What phase-diagram prints.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use wick_bins::output::{Report, Table, exact, short};
use wick_bins::progress;
use wick_model::Activation;
use wick_theory::{MeanField, Phase};

use crate::options::{Grid, Range};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Experiment {
    pub(crate) activation: String,
    pub(crate) sigma_w: [f64; 2],
    pub(crate) sigma_b: [f64; 2],
    /// How many σ_w and σ_b.
    pub(crate) grid: [usize; 2],
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) samples: usize,
    pub(crate) dtype: String,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

impl Experiment {
    /// Every place of the grid, σ_b by σ_b.
    pub(crate) fn cells(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [columns, rows] = self.grid;
        (0..rows).flat_map(move |b| (0..columns).map(move |w| [w, b]))
    }

    pub(crate) fn sigmas(&self, at: [usize; 2]) -> [f64; 2] {
        let on = |[low, high]: [f64; 2], place: usize, of: usize| {
            low + (high - low) * place as f64 / (of - 1) as f64
        };
        [on(self.sigma_w, at[0], self.grid[0]), on(self.sigma_b, at[1], self.grid[1])]
    }

    pub(crate) fn phi(&self) -> Result<Activation> {
        Ok(self.activation.parse()?)
    }
}

/// What one net did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Its place on the grid, of σ_w and of σ_b.
    pub(crate) at: [usize; 2],
    pub(crate) sigma_w: f64,
    pub(crate) sigma_b: f64,
    pub(crate) measured: Measured,
}

/// `None` where numbers overflowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The mean square of the last pre-activations.
    pub(crate) q: Option<f64>,
    /// The mean cosine of two samples there.
    pub(crate) c: Option<f64>,
    /// By how much the squared gradient changes from layer to layer.
    pub(crate) chi_1: Option<f64>,
}

/// What theory says of one point of the plane; nothing where lengths have no fixed point.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Predicted {
    pub(crate) q: f64,
    /// `None` where the length is 0.
    pub(crate) c: Option<f64>,
    pub(crate) chi_1: f64,
    /// Depth scales; `None` where they are infinite, and that of a correlation that there is not.
    pub(crate) xi_q: Option<f64>,
    pub(crate) xi_c: Option<f64>,
    pub(crate) xi_grad: Option<f64>,
}

impl From<Phase> for Predicted {
    fn from(Phase { q, c, chi_1, scales }: Phase) -> Self {
        // A rounding beyond the fixed point is one at it.
        let finite = |x: f64| (x.is_finite() && x >= 0.0).then_some(x);
        Self {
            q,
            c,
            chi_1,
            xi_q: finite(scales.length),
            xi_c: scales.correlation.and_then(finite),
            xi_grad: finite(scales.gradient),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct PhaseDiagram {
    pub(crate) experiment: Experiment,
    /// Points of the critical line, by rising σ_b.
    pub(crate) critical: Vec<CriticalPoint>,
    pub(crate) cells: Vec<Both>,
    #[serde(skip)]
    part: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CriticalPoint {
    pub(crate) sigma_w: f64,
    pub(crate) sigma_b: f64,
    pub(crate) q: f64,
}

/// A cell beside its prediction.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Both {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) predicted: Option<Predicted>,
}

/// A part, as it is read again.
#[derive(Debug, Deserialize)]
struct Part {
    experiment: Experiment,
    cells: Vec<Cell>,
}

impl Part {
    /// Whether it is what this program can have written.
    fn check(&self) -> Result<()> {
        let Experiment { sigma_w, sigma_b, grid, .. } = &self.experiment;
        self.experiment.phi()?;
        for (name, [low, high]) in [("sigma_w", sigma_w), ("sigma_b", sigma_b)] {
            if !Range::is_one(*low, *high) {
                bail!("{name} is [{low}, {high}]: {}", Range::WANTED);
            }
        }
        if !Grid::is_one(*grid) {
            bail!("grid is {grid:?}: {}", Grid::WANTED);
        }
        for Cell { at, sigma_w, sigma_b, .. } in &self.cells {
            if at[0] >= grid[0] || at[1] >= grid[1] {
                bail!("the cell {at:?} is not on a grid of {}x{}", grid[0], grid[1]);
            }
            let meant = self.experiment.sigmas(*at);
            if meant != [*sigma_w, *sigma_b] {
                bail!("the cell {at:?} is at σ_w {sigma_w} and σ_b {sigma_b}, and should be at {meant:?}");
            }
        }
        Ok(())
    }
}

/// How many points the critical line is drawn through.
const LINE: usize = 41;

pub(crate) fn predicted(phi: Activation, [sigma_w, sigma_b]: [f64; 2]) -> Option<Predicted> {
    let field = MeanField { phi, weight_variance: sigma_w * sigma_w, bias_variance: sigma_b * sigma_b };
    field.phase().map(Predicted::from)
}

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

    /// Joins parts of one experiment.
    pub(crate) fn merge(files: &[PathBuf]) -> Result<Self> {
        let mut whole: Option<Part> = None;
        for path in files {
            let name = path.display();
            let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
            let part: Part = serde_json::from_reader(BufReader::new(file))
                .with_context(|| format!("{name} is not the JSON of a phase-diagram"))?;
            part.check().with_context(|| format!("{name} is not the JSON of a phase-diagram"))?;
            match &mut whole {
                None => whole = Some(part),
                Some(whole) if whole.experiment == part.experiment => whole.cells.extend(part.cells),
                Some(_) => bail!(
                    "{name} is of another experiment than the files before it: the same options, seed and device make parts of one"
                ),
            }
        }
        let Some(Part { experiment, mut cells }) = whole else { bail!("--merge names no file") };
        cells.sort_by_key(|cell| [cell.at[1], cell.at[0]]);
        if let Some(twice) = cells.windows(2).find(|pair| pair[0].at == pair[1].at) {
            bail!("the cell {:?} is in two of the files: give each part once", twice[0].at);
        }
        let places: HashSet<[usize; 2]> = cells.iter().map(|cell| cell.at).collect();
        if let Some(missing) = experiment.cells().find(|at| !places.contains(at)) {
            let all = experiment.cells().count();
            bail!("{} of {all} cells are missing, {missing:?} first: give all parts", all - places.len());
        }
        Self::new(experiment, cells, false)
    }

    /// Relative errors of the measured χ₁, sorted.
    fn errors(&self) -> Vec<f64> {
        let error = |both: &Both| Some((both.cell.measured.chi_1? / both.predicted?.chi_1).ln().abs());
        let mut errors: Vec<f64> = self.cells.iter().filter_map(error).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }
}

/// A scale that is infinite where there is no number, or nothing at all without what it is the scale of.
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
        // About a dozen of them; all are in the JSON and the CSV.
        let step = |side: usize| (side - 1).div_ceil(4).max(1);
        let steps = e.grid.map(step);
        let shown = |both: &&Both| {
            self.part || both.cell.at.iter().zip(steps).all(|(place, step)| place.is_multiple_of(step))
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
            let at = |share: f64| 100.0 * errors[(share * (errors.len() - 1) as f64) as usize];
            cells.note = format!(
                "χ₁ of {} nets is off by {:.1} % in the median, {:.1} % in nine of ten, {:.1} % at most",
                errors.len(),
                at(0.5),
                at(0.9),
                100.0 * last
            );
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
