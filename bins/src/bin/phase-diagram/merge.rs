//! Parts of a phase diagram, read and joined.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::options::{Grid, Range};
use crate::plane::{Cell, Experiment};

/// The JSON of a part.
#[derive(Debug, Deserialize)]
struct Part {
    experiment: Experiment,
    cells: Vec<Cell>,
}

impl Part {
    /// Refuses what this program cannot have written.
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
            let expected = self.experiment.sigmas(*at);
            if expected != [*sigma_w, *sigma_b] {
                bail!("the cell {at:?} is at σ_w {sigma_w} and σ_b {sigma_b}, and should be at {expected:?}");
            }
        }
        Ok(())
    }
}

/// Reads the parts of one experiment, and joins their cells in the order of the grid.
///
/// # Errors
/// Names the file that is no part of the experiment, and the cells that are missing or double.
pub(crate) fn merge(files: &[PathBuf]) -> Result<(Experiment, Vec<Cell>)> {
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
    Ok((experiment, cells))
}
