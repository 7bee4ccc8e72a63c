//! A step that was run again.

use serde::Serialize;
use wick_bins::output::{Report, Table, exact, short};
use wick_probe::{LayerReport, Verdict};
use wick_train::Replay;

#[derive(Debug, Serialize)]
pub(crate) struct Replayed {
    step: u64,
    epoch: u64,
    loss: f64,
    logged_loss: Option<f64>,
    /// The rows of the data that the step saw, from 0.
    samples: Vec<usize>,
    layers: Vec<Layer>,
    verdicts: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    mean: Option<f64>,
    std: f64,
    rms: f64,
    gradient_rms: Option<f64>,
}

impl Replayed {
    pub(crate) fn new(replay: Replay) -> Self {
        let layer = |report: LayerReport| Layer {
            name: report.name,
            mean: report.mean,
            std: report.std,
            rms: report.rms,
            gradient_rms: report.gradient_rms,
        };
        Self {
            step: replay.step,
            epoch: replay.epoch,
            loss: replay.loss,
            logged_loss: replay.logged_loss,
            samples: replay.samples,
            layers: replay.layers.into_iter().map(layer).collect(),
            verdicts: replay.verdicts,
        }
    }
}

impl Report for Replayed {
    fn tables(&self) -> Vec<Table> {
        let title = format!("step {} of epoch {}: loss {}", self.step, self.epoch, exact(self.loss));
        let mut table = Table::new(title, ["layer", "mean", "std", "rms", "gradient rms"]);
        let or_dash = |x: Option<f64>| x.map_or("–".to_owned(), short);
        for layer in &self.layers {
            let numbers =
                [or_dash(layer.mean), short(layer.std), short(layer.rms), or_dash(layer.gradient_rms)];
            table.row(std::iter::once(layer.name.clone()).chain(numbers));
        }
        let logged = match self.logged_loss {
            Some(loss) if loss.to_bits() == self.loss.to_bits() => {
                "the log has the same loss, to the bit".to_owned()
            }
            Some(loss) => {
                format!("the log has the loss {}: the run was of another machine or version", exact(loss))
            }
            None => "the log does not have this step".to_owned(),
        };
        let samples: Vec<String> = self.samples.iter().map(usize::to_string).collect();
        let verdicts = self.verdicts.iter().map(ToString::to_string);
        let rows = format!("rows of the data, from 0: {}", samples.join(", "));
        table.note = [logged].into_iter().chain(verdicts).chain([rows]).collect::<Vec<_>>().join("\n");
        vec![table]
    }

    fn csv(&self) -> Table {
        let mut table = Table::new("", ["step", "place", "row"]);
        for (place, row) in self.samples.iter().enumerate() {
            table.row([self.step.to_string(), place.to_string(), row.to_string()]);
        }
        table
    }
}
