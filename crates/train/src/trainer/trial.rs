//! The first step, tried on a copy: which variables get no gradient, and whether the step is the same twice.

use candle_core::backprop::GradStore;
use candle_core::{Result as CandleResult, Tensor};

use super::step::Gradients;
use super::variables::Variables;
use crate::error::Error;
use crate::run::hash::ContentHash;

/// What the trial of a step found.
pub(crate) struct Found {
    /// The variables that are to be trained and get no gradient.
    pub(crate) without_gradient: Vec<String>,
    /// Whether both runs of the step had the same bits.
    pub(crate) is_deterministic: bool,
}

/// Runs a step twice without stepping, and leaves all variables as they were.
pub(crate) fn try_step(
    variables: &Variables,
    mut step: impl FnMut() -> Result<Gradients, Error>,
) -> Result<Found, Error> {
    let before = copies(variables)?;
    let mut without_gradient = Vec::new();
    let mut hashes = [String::new(), String::new()];
    for (run, hash) in hashes.iter_mut().enumerate() {
        let found = step();
        let measured = found.and_then(|found| {
            if run == 0 {
                let missing = variables.trained().filter(|named| found.store.get(&named.var).is_none());
                without_gradient = missing.map(|named| named.name.clone()).collect();
            }
            hash_of(variables, &found.store, found.loss)
        });
        for (named, tensor) in variables.buffers().zip(&before) {
            named.var.set(tensor)?;
        }
        *hash = measured?;
    }
    Ok(Found { without_gradient, is_deterministic: hashes[0] == hashes[1] })
}

/// The statistics that forward passes update, as they are.
fn copies(variables: &Variables) -> CandleResult<Vec<Tensor>> {
    variables.buffers().map(|named| Ok(named.var.copy()?.detach())).collect()
}

/// A hash of all that a step computed.
fn hash_of(variables: &Variables, store: &GradStore, loss: f64) -> Result<String, Error> {
    let mut hash = ContentHash::default();
    hash.text(&loss.to_bits().to_string());
    for named in variables.trained() {
        if let Some(gradient) = store.get(&named.var) {
            hash.tensor(&gradient.detach().contiguous()?)?;
        }
    }
    for named in variables.buffers() {
        hash.tensor(&named.var.as_detached_tensor())?;
    }
    Ok(hash.finish())
}
