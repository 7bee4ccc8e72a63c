//! Parts of a comparison, read and joined.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use wick_train::compare::{Part, Record, Trial};

use crate::experiment::{Experiment, are_rates};
use crate::options::{MOST_RATES, MOST_RUNS, MOST_STEPS, MOST_TUNING_RUNS};
use crate::predict::Prediction;

/// The JSON of a part.
#[derive(Debug, Deserialize)]
struct Parts {
    experiment: Experiment,
    cases: Vec<Predicted>,
    runs: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Predicted {
    prediction: Prediction,
}

/// Reads the parts of one experiment, and joins their runs in the order of the design.
///
/// # Errors
/// Names the file that is no part of the experiment, and the runs that are missing or double.
pub(crate) fn merge(files: &[PathBuf]) -> Result<(Experiment, Vec<Prediction>, Vec<Record>)> {
    let mut whole: Option<Parts> = None;
    for path in files {
        let name = path.display();
        let part = read(path).with_context(|| format!("{name} is not the JSON of a comparison"))?;
        match &mut whole {
            None => whole = Some(part),
            Some(whole) if whole.experiment == part.experiment => whole.runs.extend(part.runs),
            Some(_) => bail!(
                "{name} is of another experiment than the files before it: the same options, data and seed make parts of \
                 one"
            ),
        }
    }
    let Some(Parts { experiment, cases, mut runs }) = whole else { bail!("--merge names no file") };
    runs.sort_by_key(|record| record.trial);
    let design = &experiment.design;
    let describe = |trial: &Trial| {
        let (start, net) = (&design.starts[trial.start], &design.nets[trial.net]);
        format!("run {} of {start} in the net {net}", trial.run)
    };
    if let Some(twice) = runs.windows(2).find(|pair| pair[0].trial == pair[1].trial) {
        bail!("{} is in two of the files: give each part once", describe(&twice[0].trial));
    }
    let rates = |case, run| design.best_rate(case, run, &runs).unwrap_or(0);
    let wanted: Vec<Trial> =
        design.tuning(Part::WHOLE).into_iter().chain(design.finals(Part::WHOLE, rates)).collect();
    let found: HashSet<Trial> = runs.iter().map(|record| record.trial).collect();
    if let Some(missing) = wanted.iter().find(|trial| !found.contains(trial)) {
        let count = wanted.iter().filter(|trial| !found.contains(trial)).count();
        bail!("{count} of {} runs are missing, {} first: give all parts", wanted.len(), describe(missing));
    }
    ensure!(
        runs.len() == wanted.len(),
        "the files have {} runs and the experiment {}: some are at a rate that the tuning did not choose",
        runs.len(),
        wanted.len()
    );
    let predictions = cases.into_iter().map(|case| case.prediction).collect();
    Ok((experiment, predictions, runs))
}

/// Reads a part, and refuses what this program cannot have written.
fn read(path: &Path) -> Result<Parts> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let part: Parts = serde_json::from_reader(BufReader::new(file))?;
    let Parts { experiment, cases, runs } = &part;
    let design = &experiment.design;
    ensure!(experiment.widths.len() == design.nets.len(), "its nets and their widths differ in number");
    ensure!(experiment.widths.iter().all(|net| !net.is_empty()), "it has a net without hidden layers");
    ensure!(cases.len() == design.cases().len(), "it has {} cases", cases.len());
    ensure!(!design.rates.is_empty() && design.runs > 0, "it has no learning rates or no runs");
    let counts = [
        ("learning rates", design.rates.len(), MOST_RATES),
        ("tuning runs", design.tuning_runs, MOST_TUNING_RUNS),
        ("runs", design.runs, MOST_RUNS),
    ];
    for (what, count, most) in counts {
        ensure!(
            count <= usize::from(most),
            "it asks for {count} {what} of each start, and {most} is the most"
        );
    }
    ensure!(are_rates(&design.rates), "its learning rates are not all above 0, finite and rising");
    let steps = experiment.steps;
    ensure!(steps <= MOST_STEPS, "its runs have {steps} steps, and {MOST_STEPS} is the most");
    for Record { trial, course } in runs {
        ensure!(
            course.reached.is_none_or(|reached| reached <= steps),
            "a run reached the threshold after its end"
        );
        let is_known = trial.net < design.nets.len()
            && trial.start < design.starts.len()
            && trial.rate < design.rates.len();
        ensure!(is_known, "it has a run of no net, start or learning rate that it names");
    }
    Ok(part)
}
