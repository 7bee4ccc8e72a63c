//! Saturation thresholds, computed once.

use std::sync::{Mutex, PoisonError};

use wick_theory::Activation;

/// The saturation thresholds of an activation, which take a search and are kept once they are found.
pub(crate) fn saturation_thresholds(activation: Activation) -> (f64, f64) {
    static KNOWN: Mutex<Vec<(Activation, (f64, f64))>> = Mutex::new(Vec::new());
    /// The number of activations, with their parameters, that are kept: more than any program sweeps through.
    const MAX: usize = 64;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, thresholds)) = known.iter().find(|(other, _)| *other == activation) {
        return *thresholds;
    }
    let thresholds = activation.saturation_thresholds();
    if known.len() < MAX {
        known.push((activation, thresholds));
    }
    thresholds
}
