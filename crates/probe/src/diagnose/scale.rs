//! Faults of scale that show without a law: of the input, of the outputs at the start, of one layer beside the
//! others, and outputs that an activation cannot make.

use wick_theory::{Activation, BatchGeometry};

use crate::diagnose::fault::{Fault, INPUT_RANGE, Level, MAX_ODD, MAX_SHIFT, MAX_START, MIN_UNITS, Verdict};
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::remedy::NEW_WEIGHTS;
use crate::text::{short, times};

/// An input out of all scale, if the first layer passes its scale on or is saturated by it. Numbers that are
/// looked up in an embedding have no scale, and neither have sparse ones.
pub(crate) fn input_scale(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    let rms = input.mean_square.sqrt();
    let first = layers.iter().find(|layer| !layer.is_input())?;
    let is_large =
        rms > *INPUT_RANGE.end() && (first.rms > MAX_START || first.saturated.is_some_and(|x| x > 0.5));
    let is_small = rms > 0.0 && rms < *INPUT_RANGE.start() && first.rms < 0.1 && first.std < 0.05;
    let word = match (is_large, is_small) {
        (false, false) => return None,
        (true, _) => "large",
        _ => "small",
    };
    let text = format!(
        "the input: its rms is {}, too {word} for weights and learning rates as they are usual",
        short(rms)
    );
    let verdict = Verdict::new(Fault::OutsideBand, Level::Faulty, "input", rms, text);
    Some(verdict.with_remedy(format!("multiply it by {}", short(1.0 / rms))))
}

/// The first layer's outputs have at least this part of the input's shift where no norm stands before it.
const MIN_PASSED: f64 = 0.5;

/// An input whose samples have nearly all in common, if the first layer's outputs show it: its mean sample is far larger
/// than what the samples deviate from it. With the mean square `q` of its numbers, the mean cosine `c` of two samples and
/// the mean `l` of the samples' lengths over the root of their mean square, the mean sample has the rms `√(c l² q)`, and the
/// deviations from it `√((1 - c l²) q)`. A norm before the first layer takes it away.
pub(crate) fn shifted_input(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    let of = |batch: &BatchGeometry| {
        let n = batch.lengths.len().max(1) as f64;
        let roots: f64 = batch.lengths.iter().map(|length| length.sqrt()).sum();
        let mean_length = if batch.lengths.is_empty() { 1.0 } else { roots / n };
        let common = (batch.cosine.max(0.0) * mean_length * mean_length).min(1.0);
        ((common * batch.mean_square).sqrt(), ((1.0 - common) * batch.mean_square).sqrt())
    };
    let is_shifted = |batch: &BatchGeometry| {
        let (mean, deviation) = of(batch);
        mean > MAX_SHIFT * deviation
    };
    // An activation takes some of the common part away, and a norm all of it.
    let passes_on = |batch: &BatchGeometry| {
        let (mean, deviation) = of(batch);
        mean > MIN_PASSED * MAX_SHIFT * deviation
    };
    let first = layers.iter().find(|layer| !layer.is_input())?;
    if !is_shifted(input) || input.samples < MIN_UNITS || !first.batch.as_ref().is_some_and(passes_on) {
        return None;
    }
    let (mean, deviation) = of(input);
    let text = format!(
        "the input: its samples have a mean of rms {} and deviate from it by {}: they look alike to the first layer",
        short(mean),
        short(deviation)
    );
    let verdict = Verdict::new(Fault::RankCollapse, Level::Faulty, "input", input.cosine, text);
    Some(
        verdict.with_remedy(
            "subtract each column's mean over the training samples, and divide by its deviation",
        ),
    )
}

/// The first layer with an output that its activation cannot make.
pub(crate) fn missing_activation(layers: &[LayerReport]) -> Option<Verdict> {
    let (layer, x, phi) = layers.iter().filter(|layer| layer.rms.is_finite()).find_map(|layer| {
        let phi = layer.phi()?;
        Some((layer, outside_range(layer, phi)?, phi))
    })?;
    let name = &layer.name;
    let text = format!("{name}: an output of {}, which {phi} never has", short(x));
    Some(Verdict::new(Fault::OutsideBand, Level::Faulty, name, x, text).with_remedy("apply the activation"))
}

/// Half precision rounds an output beyond the range of its activation by less than this.
const RANGE_SLACK: f64 = 0.01;

/// The smallest or the largest output, if the activation cannot make it.
fn outside_range(layer: &LayerReport, phi: Activation) -> Option<f64> {
    let (low, high) = phi.range().unwrap_or_else(|| (smallest_value(phi), f64::INFINITY));
    let slack = RANGE_SLACK * (1.0 + if low.is_finite() { low.abs() } else { 0.0 });
    let (smallest, largest) = layer.range?;
    [smallest, largest].into_iter().find(|x| *x < low - slack || *x > high + slack)
}

/// The smallest value of an activation, or -∞ if it has none.
fn smallest_value(phi: Activation) -> f64 {
    if phi.value(-1e3) < phi.value(-1e2) - 1e-6 {
        return f64::NEG_INFINITY;
    }
    (-2000..=0).map(|x| phi.value(f64::from(x) / 100.0)).fold(f64::INFINITY, f64::min)
}

/// An input with NaN or infinite numbers, which an activation may hide: candle's relu makes 0 of NaN.
pub(crate) fn bad_input(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    let is_bad = !input.mean_square.is_finite() && !layers.is_empty();
    is_bad.then(|| {
        let text = "the input: it has numbers that are NaN, infinite or too large to square".to_owned();
        Verdict::new(Fault::NonFinite, Level::Broken, "input", f64::NAN, text)
            .with_remedy("look for missing values and for divisions by 0 in the data")
    })
}

/// Outputs that are far larger than 1 and than the input before the first step: by one layer, which is named, or by
/// all of them a little.
pub(crate) fn large_start(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    /// A layer that makes its input larger by this factor is the one that does it.
    const MIN_JUMP: f64 = 10.0;
    /// Layers that make their input larger by this factor on the mean do it together.
    const MIN_GROWTH: f64 = 2.0;
    let last = layers.iter().rfind(|layer| layer.has_a_scale())?;
    let bound = MAX_START * input.mean_square.sqrt().max(1.0);
    if last.after_start || last.rms <= bound {
        return None;
    }
    // Growth from layer to layer by more than a thousand has a rule of its own.
    let one = layers.windows(2).find(|pair| pair[1].rms > MIN_JUMP * pair[0].rms && pair[0].rms > 0.0);
    let Some(pair) = one else {
        let count = layers.iter().filter(|layer| !layer.is_input()).count() as f64;
        let growth = (last.rms / input.mean_square.sqrt().max(f64::MIN_POSITIVE)).powf(1.0 / count.max(1.0));
        if growth < MIN_GROWTH || !growth.is_finite() {
            return None;
        }
        let text = format!(
            "blows up: the outputs of {} have an rms of {} before the first step, by {} a layer on the mean",
            last.name,
            short(last.rms),
            times(growth)
        );
        let verdict = Verdict::new(Fault::BlowsUp, Level::Faulty, &last.name, last.rms, text);
        let remedy =
            format!("multiply the weights of each layer by {}, or check their std", short(1.0 / growth));
        return Some(verdict.with_remedy(remedy));
    };
    let name = &pair[1].name;
    let text = format!(
        "blows up: the outputs of {} have an rms of {} before the first step, and {name} makes {} of its input",
        last.name,
        short(last.rms),
        times(pair[1].rms / pair[0].rms)
    );
    let remedy = format!("multiply its weights by {}, or check their std", short(pair[0].rms / pair[1].rms));
    Some(Verdict::new(Fault::BlowsUp, Level::Faulty, name, last.rms, text).with_remedy(remedy))
}

/// The first layer without a law that shrinks or grows the signal far more than the layers beside it, where those
/// agree with each other.
pub(crate) fn odd_layer(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    /// Fewer other layers do not tell what is usual here.
    const MIN_OTHERS: usize = 2;
    /// The other layers agree if their factors differ by at most this factor.
    const MAX_DIFFERENCE: f64 = 4.0;
    let layers: Vec<&LayerReport> =
        layers.iter().filter(|layer| !layer.is_input() && layer.call == 0).collect();
    if layers.iter().any(|layer| layer.law.is_some() || !layer.has_a_scale() || layer.std <= 0.0) {
        return None;
    }
    // The last layer is of another kind: it has no activation, and its weights may be small on purpose.
    let kind = layers.first()?.activation;
    let last = layers.len() - 1;
    if layers[..last].iter().any(|layer| layer.activation != kind) {
        return None;
    }
    let before = std::iter::once(input.mean_square.sqrt()).chain(layers.iter().map(|layer| layer.rms));
    let logs: Vec<f64> = layers.iter().zip(before).map(|(layer, before)| (layer.std / before).ln()).collect();
    // Of an input that is looked up in a table, or sparse, the rms is no scale.
    let (index, factor) = (1..=last).find_map(|index| {
        let other_way = |other: usize| other == index + 1 && logs[other] * logs[index] < 0.0;
        let mut others: Vec<f64> = (0..=last)
            .filter(|other| *other != index && !other_way(*other))
            .map(|other| logs[other])
            .collect();
        others.sort_by(f64::total_cmp);
        let difference = others.last()? - others.first()?;
        let factor = logs[index] - others[others.len() / 2];
        let is_far = factor > MAX_ODD.ln() || (factor < -MAX_ODD.ln() && index < last);
        let is_off = others.len() >= MIN_OTHERS && difference < MAX_DIFFERENCE.ln() && is_far;
        is_off.then_some((index, factor.exp()))
    })?;
    let name = &layers[index].name;
    let text = format!(
        "{name}: the outputs' std is {} what the layers beside it would make of its input",
        times(factor)
    );
    // Outputs that are the same for all samples are biases. Of others the factor is not that of the weights alone, which
    // `judge_updates` knows.
    let is_dead = layers[index].is_same() && !layers[index].after_start;
    let remedy = if is_dead { NEW_WEIGHTS } else { "" };
    Some(Verdict::new(Fault::OutsideBand, Level::Faulty, name, factor, text).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    fn layers(stds: [f64; 4]) -> Vec<LayerReport> {
        stds.iter().enumerate().map(|(i, std)| LayerReport::new(format!("fc{i}"), *std, *std)).collect()
    }

    /// Layers that grow by 6 each have no one that does it; a net whose outputs start at 10 is left alone, and so is a
    /// large one after training.
    #[test]
    fn growth_of_all_layers() {
        let input = BatchGeometry::normal(64, 64, 1.0);
        let verdicts = judge(&layers([6.0, 36.0, 216.0, 900.0]), &input);
        let found = verdicts.iter().find(|verdict| verdict.fault == Fault::BlowsUp);
        assert!(found.is_some_and(|verdict| verdict.layer == "fc3"), "{verdicts:?}");
        assert!(judge(&layers([2.0, 4.0, 7.0, 10.0]), &input).is_empty());
        let trained: Vec<LayerReport> = layers([6.0, 36.0, 216.0, 900.0])
            .into_iter()
            .map(|layer| LayerReport { after_start: true, ..layer })
            .collect();
        assert!(judge(&trained, &input).is_empty());
    }

    #[test]
    fn an_input_with_nan_is_named() {
        let input = BatchGeometry { mean_square: f64::NAN, ..BatchGeometry::normal(64, 64, 1.0) };
        assert_eq!(judge(&layers([1.0; 4]), &input)[0].layer, "input");
    }

    /// Numbers around 10 with a deviation of 1 are shifted; numbers of one feature from 0 to 1 are not, though each has
    /// the direction of the others.
    #[test]
    fn a_shift_is_no_direction() {
        let judged = |values: &[f32], features: usize| {
            let input = BatchGeometry::of(values, features);
            let batch = Some(input.clone());
            let layer = LayerReport { batch, spread: Some(0.5), ..LayerReport::new("fc0", 1.0, 1.0) };
            shifted_input(&[layer], &input).map(|verdict| verdict.layer)
        };
        let waves: Vec<f32> = (0..800u16).map(|i| 10.0 + 1.4 * (f32::from(i) * 1.7).sin()).collect();
        assert_eq!(judged(&waves, 8).as_deref(), Some("input"));
        assert_eq!(judged(&waves.iter().map(|x| x - 9.0).collect::<Vec<_>>(), 8), None);
        let line: Vec<f32> = (0..100u8).map(|i| f32::from(i) / 100.0).collect();
        assert_eq!(judged(&line, 1), None);
        assert_eq!(judged(&line.iter().map(|x| x + 5.0).collect::<Vec<_>>(), 1).as_deref(), Some("input"));
    }
}
