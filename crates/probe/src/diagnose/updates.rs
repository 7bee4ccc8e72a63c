//! The sizes of updates.

use crate::diagnose::fault::{Fault, Level, MAX_COPIED_UNITS, MAX_ODD, UPDATE_LOG10_RANGE, Verdict};
use crate::observe::parameters::Update;
use crate::text::{percent, short, times};

/// A step that moves a weight by more than its size, where other weights move as they should, is too large: a
/// weight that starts small moves by a large part of its size.
const MAX_ALONE: f64 = 1.0;

/// The same for too small a step.
const MIN_ALONE: f64 = 1e-8;

/// What helps against steps that are too large.
const SMALLER: &str =
    "take a smaller learning rate or less weight decay, a tenth at a time, while the loss falls faster";

/// What helps against steps that are too small.
pub(super) const LARGER: &str =
    "take a larger learning rate, ten times at a time, while the loss falls faster";

/// What helps against weights that decay too fast.
const LESS_DECAY: &str = "take less weight decay, a tenth at a time, while the loss falls faster";

/// An update whose cosine with its weight is below is weight decay's: gradients are nearly orthogonal to weights.
const MAX_DECAY: f64 = -0.7;

/// If this fraction of the weights is off the same way, the learning rate is.
const MOST: f64 = 0.75;

/// The first parameter that a step makes NaN or infinite; else whether a step moves the weights far too much or far
/// too little: three of four of them, which is the learning rate's doing, or a single one, which is not. Weights
/// are of two dimensions or more, because biases start at 0.
///
/// The weights themselves are compared too: rows that are copies of each other, one that is far larger or smaller than
/// the others for its fan_in, and all of them grown out of scale.
///
/// Weights that do not move because one behind them is 0 and moves first, as in a branch that starts at 0, have no
/// verdict.
///
/// ```
/// use wick_probe::{Fault, Update, judge_updates};
///
/// let update = Update {
///     name: "w".into(),
///     rank: 2,
///     rms: 0.1,
///     update_rms: 0.05,
///     log10_ratio: 0.5f64.log10(),
///     ..Update::default()
/// };
/// assert_eq!(judge_updates(&[update]).map(|verdict| verdict.fault), Some(Fault::UpdateRatio));
/// ```
pub fn judge_updates(updates: &[Update]) -> Option<Verdict> {
    if let Some(verdict) = not_finite(updates) {
        return Some(verdict);
    }
    if let Some(verdict) = copied(updates) {
        return Some(verdict);
    }
    let weights: Vec<(&Update, f64)> = updates
        .iter()
        .filter(|update| update.rank > 1 && update.rms > 0.0)
        .map(|update| (update, 10f64.powf(update.log10_ratio)))
        .collect();
    let (low, high) = (10f64.powf(*UPDATE_LOG10_RANGE.start()), 10f64.powf(*UPDATE_LOG10_RANGE.end()));
    let moved = || weights.iter().filter(|(_, ratio)| *ratio > 0.0);
    let are_off = |is_off: &dyn Fn(f64) -> bool| {
        let off = moved().filter(|(_, ratio)| is_off(*ratio)).count();
        off > 0 && off as f64 >= MOST * moved().count() as f64
    };
    let verdict = |(update, ratio): (&Update, f64), what: &str, level: Level| {
        let text = format!("{}: a step moves it by {ratio:.1e} of its size: {what}", update.name);
        Verdict::new(Fault::UpdateRatio, level, &update.name, ratio, text)
    };
    let all = if weights.len() > 1 { ", and so are most of the others" } else { "" };
    for (is_off, word, remedy) in [
        (&(|ratio: f64| ratio > high) as &dyn Fn(f64) -> bool, "too large", SMALLER),
        (&|ratio: f64| ratio < low, "too small", LARGER),
    ] {
        if are_off(is_off)
            && let Some(first) = moved().find(|(_, ratio)| is_off(*ratio))
        {
            let shrunk =
                moved().filter(|(update, ratio)| is_off(*ratio) && update.cosine < MAX_DECAY).count();
            let by_decay = 2 * shrunk > moved().count();
            let why = if by_decay { ", and shrinks it as weight decay does" } else { "" };
            let verdict = verdict(*first, &format!("{word}{all}{why}"), Level::Faulty);
            return Some(verdict.with_remedy(if by_decay { LESS_DECAY } else { remedy }));
        }
    }
    if let Some(still) = weights.iter().find(|(_, ratio)| *ratio == 0.0)
        && !updates.iter().any(starts_at_zero)
    {
        let verdict = verdict(*still, "it does not move", Level::Broken);
        return Some(
            verdict.with_remedy("it is frozen, the optimizer does not have it, or no gradient comes to it"),
        );
    }
    if let Some(verdict) = odd_scale(updates) {
        return Some(verdict);
    }
    let alone = moved().find(|(_, ratio)| *ratio > MAX_ALONE || *ratio < MIN_ALONE)?;
    let word = if alone.1 > MAX_ALONE { "large" } else { "small" };
    let text = format!("too {word}, unlike most of the others: look at its scale and its gradient");
    Some(verdict(*alone, &text, Level::Unusual))
}

/// The first weight of which more than a tenth of the rows are copies.
fn copied(updates: &[Update]) -> Option<Verdict> {
    let update = updates.iter().find(|update| update.copied_rows > MAX_COPIED_UNITS)?;
    let (name, part) = (&update.name, percent(update.copied_rows, 0));
    let text = format!("{name}: {part} of its rows are copies of others");
    let verdict = Verdict::new(Fault::SymmetricUnits, Level::Faulty, name, update.copied_rows, text);
    Some(verdict.with_remedy("draw its weights independently at random"))
}

/// The first weight whose size, times the root of its fan_in, is far from that of the others, or all of them if that
/// of most is far from 1. Embeddings look up rows and have a size of their own, and the last weight may be small on
/// purpose.
fn odd_scale(updates: &[Update]) -> Option<Verdict> {
    /// Fewer weights do not tell what is usual here.
    const MIN_WEIGHTS: usize = 3;
    /// Weights that keep a signal have a gain of 1 to 2.
    const MAX_GAIN: f64 = 10.0;
    /// Small weights, as of σ = .02 at a width of 32, have a gain of .1.
    const MIN_GAIN: f64 = 0.01;
    let is_table = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["emb", "pos", "wte", "wpe", "token", "cls"].iter().any(|part| name.contains(part))
    };
    let gains: Vec<(&Update, f64)> = updates
        .iter()
        .filter(|update| update.rank > 1 && update.rms > 0.0 && update.fan_in > 0 && !is_table(&update.name))
        .map(|update| (update, update.rms * (update.fan_in as f64).sqrt()))
        .collect();
    if gains.len() < MIN_WEIGHTS {
        return None;
    }
    let mut sorted: Vec<f64> = gains.iter().map(|(_, gain)| *gain).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    if median > MAX_GAIN {
        let (update, gain) = gains.iter().find(|(_, gain)| *gain > MAX_GAIN)?;
        let text = format!(
            "{}: most of the weights have grown out of scale: its rms times the root of its fan_in is {}",
            update.name,
            short(*gain)
        );
        let verdict = Verdict::new(Fault::UpdateRatio, Level::Faulty, &update.name, *gain, text);
        return Some(verdict.with_remedy(
            "start again with a smaller learning rate, a tenth at a time, while the loss falls faster",
        ));
    }
    if median < MIN_GAIN {
        let (update, gain) = gains.iter().find(|(_, gain)| *gain < MIN_GAIN)?;
        let text = format!(
            "{}: most of the weights have shrunk to nothing: its rms times the root of its fan_in is {}",
            update.name,
            short(*gain)
        );
        let verdict = Verdict::new(Fault::UpdateRatio, Level::Faulty, &update.name, *gain, text);
        return Some(verdict.with_remedy(
            "start again with less weight decay, a tenth at a time, while the loss falls faster",
        ));
    }
    let last = gains.len() - 1;
    let (_, (update, gain)) = gains
        .iter()
        .enumerate()
        .find(|(index, (_, gain))| *gain > MAX_ODD * median || (*gain < median / MAX_ODD && *index < last))?;
    let (name, factor) = (&update.name, gain / median);
    let level = if factor > 1.0 { Level::Faulty } else { Level::Unusual };
    let text = format!(
        "{name}: its weights are {} as large as those of the other layers, for their fan_in",
        times(factor)
    );
    let verdict = Verdict::new(Fault::OutsideBand, level, name, factor, text);
    let by = short(1.0 / factor);
    Some(verdict.with_remedy(format!("if it was so at the start, multiply them by {by}, or check their std")))
}

/// Whether a parameter is 0 and moves, and is no bias: the end of a branch that starts at 0.
fn starts_at_zero(update: &Update) -> bool {
    let name = update.name.to_ascii_lowercase();
    let is_bias =
        update.rank <= 1 && (name.ends_with("bias") || name.ends_with("beta") || name.ends_with('b'));
    update.rms == 0.0 && update.update_rms > 0.0 && !is_bias
}

/// The first parameter that a step makes NaN or infinite, or that is so before the step.
fn not_finite(updates: &[Update]) -> Option<Verdict> {
    let is_bad = |update: &&Update| !(update.rms.is_finite() && update.update_rms.is_finite());
    let update = updates.iter().find(is_bad)?;
    let (text, remedy) = if update.rms.is_finite() {
        (
            format!("{}: a step moves it by NaN or an infinity", update.name),
            "find the first NaN or infinity in the loss and its gradients, as with Probe::first_bad, or take a \
             smaller learning rate",
        )
    } else {
        (format!("{}: it is NaN or infinite before the step", update.name), "judge the step before")
    };
    Some(Verdict::new(Fault::NonFinite, Level::Broken, &update.name, f64::NAN, text).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(name: &str, rank: usize, rms: f64, update_rms: f64) -> Update {
        let log10_ratio = (update_rms / rms).log10();
        Update { name: name.into(), rank, fan_in: 4, rms, update_rms, log10_ratio, ..Update::default() }
    }

    #[test]
    fn a_step_is_judged_by_its_size() {
        for (update, fault, said) in [
            (update("w", 2, 1.0, 0.5), Fault::UpdateRatio, "too large"),
            (update("w", 2, 1.0, 1e-7), Fault::UpdateRatio, "too small"),
            (update("w", 2, 1.0, 0.0), Fault::UpdateRatio, "it does not move"),
            (update("w", 2, 1.0, f64::NAN), Fault::NonFinite, "a step moves it by NaN or an infinity"),
            (update("w", 1, 1.0, f64::INFINITY), Fault::NonFinite, "a step moves it by NaN or an infinity"),
            (update("w", 2, f64::NAN, 1.0), Fault::NonFinite, "it is NaN or infinite before the step"),
        ] {
            let verdict = judge_updates(&[update]).unwrap();
            assert!(verdict.fault == fault && verdict.text.ends_with(said), "{verdict}");
        }
        assert_eq!(judge_updates(&[update("w", 2, 1.0, 1e-3), update("b", 1, 0.0, 1.0)]), None);
    }

    /// One weight that moves by a large part of its size is no learning rate; all of them are.
    #[test]
    fn the_learning_rate_is_that_of_most_weights() {
        let usual = |name: &str| update(name, 2, 1.0, 1e-3);
        let of = |first: Update, rest: &[Update]| judge_updates(&[&[first], rest].concat());
        let others = [usual("b"), usual("c"), usual("d")];
        assert_eq!(of(update("pos", 2, 0.02, 3e-3), &others), None);
        let alone = of(update("pos", 2, 0.02, 0.1), &others).unwrap();
        assert!(alone.text.contains("unlike most") && alone.remedy.is_empty(), "{alone}");
        let large = ["b", "c", "d"].map(|name| update(name, 2, 1.0, 0.2));
        let all = of(update("a", 2, 1.0, 0.2), &large).unwrap();
        assert!(all.text.ends_with("and so are most of the others") && all.remedy == SMALLER, "{all}");
    }

    /// Updates that shrink their weights are weight decay's, and have its remedy.
    #[test]
    fn weight_decay_is_told_from_the_learning_rate() {
        let of = |cosine: f64| {
            let updates = ["a", "b", "c"].map(|name| Update { cosine, ..update(name, 2, 1.0, 0.3) });
            judge_updates(&updates).map(|verdict| verdict.remedy)
        };
        assert_eq!(of(-0.95).as_deref(), Some(LESS_DECAY));
        for cosine in [-0.3, 0.0, 0.95, f64::NAN] {
            assert_eq!(of(cosine).as_deref(), Some(SMALLER), "{cosine}");
        }
    }

    /// A weight that is 20 times as large or as small as the others is told, unless it is the last or an
    /// embedding; and so are copied rows.
    #[test]
    fn weights_are_compared_with_each_other() {
        let of = |names: [&str; 4], rms: [f64; 4]| {
            let updates: Vec<Update> =
                names.iter().zip(rms).map(|(name, rms)| update(name, 2, rms, 1e-3 * rms)).collect();
            judge_updates(&updates).map(|verdict| (verdict.fault, verdict.layer))
        };
        let found = |name: &str| Some((Fault::OutsideBand, name.to_owned()));
        assert_eq!(of(["a", "b", "c", "d"], [0.5, 10.0, 0.5, 0.5]), found("b"));
        assert_eq!(of(["a", "b", "c", "d"], [0.5, 0.025, 0.5, 0.5]), found("b"));
        assert_eq!(of(["a", "b", "c", "d"], [0.5, 0.2, 0.5, 0.025]), None);
        assert_eq!(of(["wte", "b", "c", "d"], [10.0, 0.5, 0.5, 0.5]), None);
        assert_eq!(of(["a", "b", "c", "d"], [20.0; 4]), Some((Fault::UpdateRatio, "a".to_owned())));
        assert_eq!(of(["a", "b", "c", "d"], [1e-4; 4]), Some((Fault::UpdateRatio, "a".to_owned())));
        let tied = Update { copied_rows: 0.9, ..update("w", 2, 1.0, 1e-3) };
        assert_eq!(judge_updates(&[tied]).map(|verdict| verdict.fault), Some(Fault::SymmetricUnits));
    }

    /// Weights before a zero head do not move at first. Without such a head they should.
    #[test]
    fn what_is_before_zeros_moves_later() {
        let still = update("fc.weight", 2, 1.0, 0.0);
        assert_eq!(judge_updates(&[still.clone(), update("head.weight", 2, 0.0, 1e-3)]), None);
        assert_eq!(judge_updates(&[still.clone(), update("alpha", 0, 0.0, 1e-3)]), None);
        let found = judge_updates(&[still, update("head.bias", 1, 0.0, 1e-3)]).unwrap();
        assert_eq!((found.level, found.layer.as_str()), (Level::Broken, "fc.weight"));
    }
}
