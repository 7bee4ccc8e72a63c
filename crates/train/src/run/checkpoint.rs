//! A checkpoint: one safetensors file with all that a run needs to go on to the bit.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use wick_init::TensorFile;

use super::hash;
use super::log::LogState;
use crate::error::Error;
use crate::metrics::Evaluation;
use crate::trainer::outcome::{Best, Ended, Point};

/// The version of the format. A later one is refused by name.
const FORMAT: &str = "1";

/// The keys of the string map.
const FORMAT_KEY: &str = "wick.checkpoint";
const RUN_KEY: &str = "wick.run";
const STATE_KEY: &str = "wick.state";

/// The numbers of a run beside its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The steps that are done.
    pub(crate) step: u64,
    /// The log after them.
    pub(crate) log: LogState,
    /// The numbers of the optimizer and of the averaged weights.
    pub(crate) optimizer: Vec<(String, f64)>,
    pub(crate) ema: Vec<(String, f64)>,
    /// The loss of the last step.
    pub(crate) loss: Option<f64>,
    pub(crate) best: Option<Best>,
    /// The last validation.
    pub(crate) validation: Option<Evaluation>,
    /// The validations since the best one.
    pub(crate) waited: u64,
    /// The course of the run so far.
    pub(crate) history: Vec<Point>,
    /// The sum of the losses since the last point.
    pub(crate) loss_sum: f64,
    /// How the run ended, if it did.
    pub(crate) ended: Option<Ended>,
}

/// What a checkpoint has.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    /// What decides the bits of the run, by name.
    pub(crate) run: BTreeMap<String, String>,
    pub(crate) state: State,
    /// The variables under their names, the optimizer's state as `optimizer/…`, and the averaged weights as
    /// `ema/…`.
    pub(crate) tensors: Vec<(String, Tensor)>,
}

impl Checkpoint {
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = |value: serde_json::Result<String>| value.map_err(|error| Error::Write(error.into()));
        let mut metadata = BTreeMap::from([
            (FORMAT_KEY.to_owned(), FORMAT.to_owned()),
            (RUN_KEY.to_owned(), text(serde_json::to_string(&self.run))?),
            (STATE_KEY.to_owned(), text(serde_json::to_string(&self.state))?),
        ]);
        metadata.insert(hash::KEY.to_owned(), hash::of(&metadata, &self.tensors)?);
        Ok(TensorFile::write(path, &self.tensors, &metadata)?)
    }

    /// Reads a checkpoint and checks its hash.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let damaged = |reason: String| Error::File { path: path.to_owned(), reason };
        let file = TensorFile::open(path)?;
        let mut metadata = file.metadata().clone();
        match metadata.get(FORMAT_KEY).map(String::as_str) {
            Some(FORMAT) => (),
            Some(other) => {
                return Err(damaged(format!("its format is {other}, and this version reads {FORMAT}")));
            }
            None => return Err(damaged("it is no checkpoint of a run".to_owned())),
        }
        let mut tensors = Vec::with_capacity(file.tensors().len());
        for stored in file.tensors() {
            tensors.push((stored.name().to_owned(), file.tensor(stored.name())?));
        }
        let stored = metadata.remove(hash::KEY);
        if stored != Some(hash::of(&metadata, &tensors)?) {
            return Err(damaged("its contents do not have its hash: the file is damaged".to_owned()));
        }
        let part = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
        let run = serde_json::from_str(part(RUN_KEY)).map_err(|error| damaged(error.to_string()))?;
        let state = serde_json::from_str(part(STATE_KEY)).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { run, state, tensors })
    }

    /// The tensors whose names begin with a prefix, without it.
    pub(crate) fn under(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let all = self.tensors.iter();
        all.filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone())))
            .collect()
    }
}
