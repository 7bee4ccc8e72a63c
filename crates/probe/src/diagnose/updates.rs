//! The sizes of updates.

use crate::diagnose::fault::{Fault, UPDATE_LOG10_RANGE, Verdict};
use crate::observe::parameters::Update;

/// The ratio of update to weight that a remedy aims at.
const GOOD_RATIO: f64 = 1e-3;

/// The first parameter that a step makes NaN or infinite; else the first weight that a step moves far too much
/// or far too little. The latter are of two dimensions or more, because biases start at 0.
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
    let is_bad = |update: &&Update| !(update.rms.is_finite() && update.update_rms.is_finite());
    if let Some(update) = updates.iter().find(is_bad) {
        let (text, remedy) = if update.rms.is_finite() {
            (
                format!("{}: a step moves it by NaN or an infinity", update.name),
                "find the first NaN or infinity in the loss and its gradients, as with Probe::first_bad, or \
                 take a smaller learning rate",
            )
        } else {
            (format!("{}: it is NaN or infinite before the step", update.name), "judge the step before")
        };
        let layer = update.name.clone();
        return Some(Verdict {
            fault: Fault::NonFinite,
            layer,
            figure: f64::NAN,
            text,
            remedy: remedy.into(),
        });
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn update(rank: usize, rms: f64, update_rms: f64) -> Update {
        Update { name: "w".into(), rank, norm: rms, rms, update_rms, log10_ratio: (update_rms / rms).log10() }
    }

    #[test]
    fn a_step_is_judged_by_its_size() {
        for (update, fault, said) in [
            (update(2, 1.0, 0.5), Fault::UpdateRatio, "too large"),
            (update(2, 1.0, 1e-7), Fault::UpdateRatio, "too small"),
            (update(2, 1.0, 0.0), Fault::UpdateRatio, "it does not move"),
            (update(2, 1.0, f64::NAN), Fault::NonFinite, "a step moves it by NaN or an infinity"),
            (update(1, 1.0, f64::INFINITY), Fault::NonFinite, "a step moves it by NaN or an infinity"),
            (update(2, f64::NAN, 1.0), Fault::NonFinite, "it is NaN or infinite before the step"),
        ] {
            let verdict = judge_updates(&[update]).unwrap();
            assert!(verdict.fault == fault && verdict.text.ends_with(said), "{verdict}");
        }
        assert_eq!(judge_updates(&[update(2, 1.0, 1e-3), update(1, 0.0, 1.0)]), None);
    }
}
