//! A step of a run, run again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use wick_probe::{LayerReport, Verdict};

/// A step that was run again, under a probe.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The step, from 0.
    pub step: u64,
    /// Its epoch, from 0.
    pub epoch: u64,
    /// The samples that it saw, by their numbers in the whole data ([`Dataset::row`](crate::data::Dataset::row)), in
    /// the order of the batch.
    pub samples: Vec<usize>,
    /// The loss.
    pub loss: f64,
    /// The loss that the log has of the step; the same number, if the log has the step.
    pub logged_loss: Option<f64>,
    /// What the layers with taps did.
    pub layers: Vec<LayerReport>,
    /// What is wrong with them.
    pub verdicts: Vec<Verdict>,
    /// What the user should know: a damaged checkpoint, for example.
    pub notices: Vec<String>,
}

/// The loss of a step in a log; `None` if the log does not have it.
pub(crate) fn logged_loss(log: &Path, step: u64) -> Option<f64> {
    let lines = BufReader::new(File::open(log).ok()?).lines();
    for line in lines.map_while(Result::ok) {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if line["kind"] == "step" && line["step"] == step {
            return line["loss"].as_f64();
        }
    }
    None
}

/// The losses of the first `steps` steps in a log; `None` if the log does not have them all.
pub(crate) fn logged_losses(log: &Path, steps: u64) -> Option<Vec<f64>> {
    let mut losses = Vec::new();
    for line in BufReader::new(File::open(log).ok()?).lines().map_while(Result::ok) {
        if losses.len() as u64 == steps {
            break;
        }
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if line["kind"] == "step" && line["step"] == losses.len() as u64 {
            losses.push(line["loss"].as_f64()?);
        }
    }
    (losses.len() as u64 == steps).then_some(losses)
}

/// The first line of a log; `None` without one that is ended. What is no text is cut.
pub(crate) fn first_line(log: &Path) -> Option<String> {
    /// A line of settings is shorter.
    const MOST: u64 = 1 << 24;
    let mut first = Vec::new();
    BufReader::new(File::open(log).ok()?).take(MOST).read_until(b'\n', &mut first).ok()?;
    first.ends_with(b"\n").then(|| String::from_utf8_lossy(&first).into_owned())
}

/// The settings that a log begins with; `None` if it has none.
pub(crate) fn logged_settings(log: &Path) -> Option<BTreeMap<String, String>> {
    let line: serde_json::Value = serde_json::from_str(&first_line(log)?).ok()?;
    serde_json::from_value(line.get("settings")?.clone()).ok()
}
