//! The sizes of updates.

use crate::diagnose::fault::{Fault, UPDATE_LOG10_RANGE, Verdict};
use crate::observe::parameters::Update;

/// The ratio of update to weight that a remedy aims at.
const GOOD_RATIO: f64 = 1e-3;

/// The first weight that a step moves far too much or far too little. Parameters of fewer than two dimensions
/// are skipped, because biases start at 0.
///
/// ```
/// use wick_probe::{Fault, Update, judge_updates};
///
/// let update = Update {
///     name: "w".into(),
///     rank: 2,
///     norm: 1.0,
///     rms: 0.1,
///     update_rms: 0.05,
///     log10_ratio: 0.5f64.log10(),
/// };
/// assert_eq!(judge_updates(&[update]).map(|verdict| verdict.fault), Some(Fault::UpdateRatio));
/// ```
pub fn judge_updates(updates: &[Update]) -> Option<Verdict> {
    let weights = || updates.iter().filter(|update| update.rank > 1 && update.rms > 0.0);
    let update = weights().find(|update| !UPDATE_LOG10_RANGE.contains(&update.log10_ratio))?;
    let ratio = 10f64.powf(update.log10_ratio);
    let (word, remedy) = if update.log10_ratio > *UPDATE_LOG10_RANGE.end() {
        ("too large", format!("multiply the learning rate by {:.0e}", GOOD_RATIO / ratio))
    } else if ratio > 0.0 {
        ("too small", format!("multiply the learning rate by {:.0e}", GOOD_RATIO / ratio))
    } else {
        ("it does not move", "connect it to the loss".to_owned())
    };
    let text = format!("{}: a step moves it by {ratio:.1e} of its size: {word}", update.name);
    Some(Verdict { fault: Fault::UpdateRatio, layer: update.name.clone(), figure: ratio, text, remedy })
}
