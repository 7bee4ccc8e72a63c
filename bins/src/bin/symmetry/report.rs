//! What symmetry prints.

use serde::Serialize;
use wick_bins::output::{Report, Table, exact, percent, rows_to_show, short};
use wick_model::Activation;
use wick_theory::write_number;

#[derive(Debug, Serialize)]
pub(crate) struct Symmetry {
    pub(crate) experiment: Experiment,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Experiment {
    pub(crate) samples: usize,
    pub(crate) features: usize,
    pub(crate) hidden: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: Activation,
    pub(crate) steps: usize,
    pub(crate) learning_rate: f64,
    pub(crate) dtype: &'static str,
    pub(crate) device: String,
    pub(crate) seed: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) init: String,
    /// The loss before each step, and after the last one.
    pub(crate) loss: Vec<f64>,
    /// The spread of the hidden units, at the same times.
    pub(crate) spread: Vec<f64>,
    /// The fraction of the digits that the trained net classifies correctly.
    pub(crate) accuracy: f64,
}

impl Report for Symmetry {
    fn tables(&self) -> Vec<Table> {
        let e = &self.experiment;
        let title = format!(
            "{} digits through {} hidden {} units, cross entropy, learning rate {}, {} on {}, seed {}",
            e.samples,
            e.hidden,
            e.activation,
            write_number(e.learning_rate),
            e.dtype,
            e.device,
            e.seed
        );
        let mut table = Table { title, header: vec!["step".into()], ..Table::default() };
        for run in &self.runs {
            table.header.extend([format!("loss, {}", run.init), "spread of units".into()]);
        }
        for step in rows_to_show(e.steps + 1) {
            let cells = self.runs.iter().flat_map(|run| [short(run.loss[step]), short(run.spread[step])]);
            table.row(std::iter::once(step.to_string()).chain(cells));
        }
        let notes = self.runs.iter().map(|run| {
            let units = match run.spread.iter().position(|&spread| spread != 0.0) {
                _ if e.hidden == 1 => "there is one hidden unit".to_owned(),
                None => "the hidden units are equal to the bit at every step".to_owned(),
                Some(step) => format!("the hidden units differ from step {step} on"),
            };
            format!("{}: {units}; {} of the digits are read right", run.init, percent(run.accuracy, 1))
        });
        table.note = notes.collect::<Vec<_>>().join("\n");
        vec![table]
    }

    fn csv(&self) -> Table {
        let mut table = Table::new("", ["init", "step", "loss", "spread"]);
        for run in &self.runs {
            for (step, (loss, spread)) in run.loss.iter().zip(&run.spread).enumerate() {
                table.row([run.init.clone(), step.to_string(), exact(*loss), exact(*spread)]);
            }
        }
        table
    }
}
