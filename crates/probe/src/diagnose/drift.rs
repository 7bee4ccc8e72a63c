//! How far weights are from their start.

use crate::diagnose::fault::{Fault, Level, Verdict};
use crate::observe::parameters::Update;
use crate::text::{short, times};

/// Weights that have grown by more than this factor, to a [gain](MAX_GAIN) beyond the usual, have drifted off.
const MAX_GROWTH: f64 = 4.0;

/// The rms of a weight times the root of its fan_in, above which it is large: it is 1 to 2 at the start, and trained
/// nets keep below 4.
const MAX_GAIN: f64 = 5.0;

/// Weights that have shrunk to a smaller part have lost what they were.
const MIN_SHRUNK: f64 = 1.0 / 3.0;

/// Judges how far the weights are from their start, given the updates of all steps together: the
/// [`updates`](crate::Parameters::updates) of [`Parameters`](crate::Parameters) that were copied before the first step.
/// Steps that are each of a usual size can lead anywhere: a learning rate that is too high makes weights grow without
/// bound, and weight decay that is too strong shrinks them to nothing.
///
/// An update of the relative size `r` and the cosine `c` with a weight changes its rms by the factor
/// `√(1 + 2 r c + r²)`. The median of the factors over the weights of two dimensions or more that are not 0 at the start
/// has a verdict below 1/3, and above 4 where the median of the rms times the root of the fan_in is above 5, too. The
/// verdict names the first weight that is beyond.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_probe::{Parameters, judge_drift};
///
/// let w = Var::new(&[[0.6f32, -0.8], [0.8, 0.6]], &Device::Cpu)?;
/// let vars = [("w".to_owned(), w.clone())];
/// let start = Parameters::of(&vars)?;
/// w.set(&(w.as_tensor() * 2.0)?)?;
/// assert_eq!(judge_drift(&start.updates(&vars)?), None);
/// w.set(&(w.as_tensor() * 10.0)?)?;
/// let verdict = judge_drift(&start.updates(&vars)?).expect("20 times as large as at the start");
/// assert!(verdict.text.starts_with("w: most weights have grown since the start, this one ×20"), "{verdict}");
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn judge_drift(since_start: &[Update]) -> Option<Verdict> {
    let weights: Vec<(&Update, f64, f64)> = since_start
        .iter()
        .filter(|update| update.rank > 1 && update.rms > 0.0 && update.update_rms.is_finite())
        .map(|update| {
            let ratio = update.update_rms / update.rms;
            let factor = match ratio > 0.0 {
                true => (1.0 + 2.0 * ratio * update.cosine + ratio * ratio).max(0.0).sqrt(),
                false => 1.0,
            };
            (update, factor, factor * update.rms * (update.fan_in as f64).sqrt())
        })
        .collect();
    let median = |of: &dyn Fn(&(&Update, f64, f64)) -> f64| {
        let mut values: Vec<f64> = weights.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let (factor, gain) = (median(&|weight| weight.1)?, median(&|weight| weight.2)?);
    let has_grown = factor > MAX_GROWTH && gain > MAX_GAIN;
    let (word, remedy) = match (has_grown, factor < MIN_SHRUNK) {
        (false, false) => return None,
        (true, _) => (
            "grown",
            "start again with a smaller learning rate, a tenth at a time, while the loss falls faster",
        ),
        _ => ("shrunk", "start again with less weight decay, a tenth at a time, while the loss falls faster"),
    };
    let is_beyond = |factor: f64| if has_grown { factor > MAX_GROWTH } else { factor < MIN_SHRUNK };
    let (update, factor, gain) = weights.iter().find(|weight| is_beyond(weight.1))?;
    let text = format!(
        "{}: most weights have {word} since the start, this one {}: its rms times the root of its fan_in is {}",
        update.name,
        times(*factor),
        short(*gain)
    );
    let verdict = Verdict::new(Fault::UpdateRatio, Level::Faulty, &update.name, *factor, text);
    Some(verdict.with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A weight of rms .25 and fan_in 16 that moved by `ratio` of its size in a direction of that cosine.
    fn moved(name: &str, ratio: f64, cosine: f64) -> Update {
        let (rms, update_rms) = (0.25, 0.25 * ratio);
        Update { name: name.into(), rank: 2, fan_in: 16, rms, update_rms, cosine, ..Update::default() }
    }

    fn said(updates: &[Update]) -> Option<(String, bool)> {
        let verdict = judge_drift(updates)?;
        Some((verdict.layer, verdict.remedy.contains("less weight decay")))
    }

    /// Most weights tell, and not one of them; a weight of small σ may grow by as much.
    #[test]
    fn weights_are_compared_with_their_start() {
        let (usual, wild, gone) = (moved("a", 0.7, 0.2), moved("b", 20.0, 0.0), moved("c", 0.95, -0.99));
        let still = Update { cosine: f64::NAN, ..moved("d", 0.0, 0.0) };
        assert_eq!(said(&[usual.clone(), usual.clone(), wild.clone()]), None);
        assert_eq!(said(&[usual.clone(), wild.clone(), wild.clone()]), Some(("b".to_owned(), false)));
        assert_eq!(said(&[usual.clone(), gone.clone(), gone.clone()]), Some(("c".to_owned(), true)));
        assert_eq!(said(&[gone.clone(), still.clone(), still]), None);
        let small = Update { rms: 0.005, update_rms: 0.1, ..wild };
        assert_eq!(said(&[small.clone(), small]), None);
        assert_eq!(said(&[]), None);
        let lost = Update { update_rms: f64::NAN, ..usual };
        assert_eq!(said(&[lost]), None);
    }
}
