//! Samples that come to look alike.

use wick_theory::Activation;

use crate::diagnose::cut::meant_zeros;
use crate::diagnose::fault::{Fault, Level, MAX_COSINE, MAX_TOTAL_CHANGE, MIN_UNITS, Verdict};
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::remedy::weights_that_keep;
use crate::text::{distinct, percent, significant, times};

/// The last layer alone, behind others that tell the samples apart, has to be this much more alike.
const LAST_ALONE: f64 = 0.1;

/// At the start, samples of which a larger part of the variation is left are pulled apart in some ten steps of Adam, if
/// the activation is unbounded: perceptrons with PyTorch's default start and GELU, SiLU or mish have 5e-3 behind five
/// layers, 5e-4 behind six, and learn as well as those whose weights keep the signals; from eight layers on they do not.
const MILD: f64 = 1.5e-4;

/// Gradients that shrink by less come with such samples, and are made good by Adam.
const MILD_GRADIENT: f64 = 10.0 * MAX_TOTAL_CHANGE;

/// Samples whose spread is this many times that of the first look come apart.
const GROWTH: f64 = 1.5;

/// A smaller spread is rounding.
const ROUNDING: f64 = 1e-12;

/// The first layer whose samples are all alike, in it and in all layers behind it, and the least spread of these.
struct Collapse<'a> {
    layer: &'a LayerReport,
    spread: f64,
    least: f64,
}

/// Layers whose spread is judged: one of few units may be all of one sign, and probabilities have their sum in common.
/// Where the spread is not known, the cosines of the samples tell.
fn known(layers: &[LayerReport]) -> Vec<(&LayerReport, f64)> {
    let spread = |layer: &LayerReport| {
        let has_units = layer.units.is_none_or(|units| units >= MIN_UNITS) && layer.has_samples();
        let is_probability = layer.probabilities || layer.phi() == Some(Activation::Sigmoid);
        let is_judged = has_units && !is_probability && !layer.is_constant() && !layer.is_input();
        let batch = layer.batch.as_ref().filter(|batch| batch.samples > 1 && is_judged)?;
        Some(layer.spread.unwrap_or(1.0 - batch.cosine))
    };
    let meant = meant_zeros(layers).is_some();
    layers
        .iter()
        .filter(|layer| !(meant && layer.is_same()))
        .filter_map(|layer| Some((layer, spread(layer)?)))
        .collect()
}

fn collapse(layers: &[LayerReport]) -> Option<Collapse<'_>> {
    let is_alike = |spread: f64| spread < 1.0 - MAX_COSINE;
    let known = known(layers);
    let last = known.len().checked_sub(1)?;
    let (index, (layer, spread)) = known.iter().enumerate().find(|(index, (_, spread))| {
        let allowance = if *index == last && last > 0 { LAST_ALONE } else { 1.0 };
        is_alike(*spread / allowance) && known[*index..].iter().all(|(_, spread)| is_alike(*spread))
    })?;
    // The last layer has no activation and the largest biases beside its signal.
    let of_last = |at: usize| if at == last && last > 0 { LAST_ALONE } else { 1.0 };
    let least = (index..=last).map(|at| known[at].1 / of_last(at)).fold(f64::INFINITY, f64::min);
    Some(Collapse { layer, spread: *spread, least })
}

/// Whether the net has unbounded activations, in which samples come apart fast.
fn is_unbounded(layers: &[LayerReport]) -> bool {
    let mut known =
        layers.iter().filter_map(LayerReport::phi).filter(|phi| *phi != Activation::Identity).peekable();
    known.peek().is_some() && known.all(|phi| phi.range().is_none())
}

/// Whether samples that look alike do no harm: at the start, where the rest is large enough; later, if they come apart.
fn is_mild(found: &Collapse<'_>, layers: &[LayerReport]) -> bool {
    let layer = found.layer;
    if !layer.after_start {
        return layer.spread.is_some() && found.least >= MILD && is_unbounded(layers);
    }
    comes_apart(layer)
}

/// Whether the samples of a layer that began alike come apart since the first look.
fn comes_apart(layer: &LayerReport) -> bool {
    let Some((first, spread)) = layer.first_spread.zip(layer.spread) else { return false };
    layer.after_start && first < 0.05 && spread > (GROWTH * first).max(ROUNDING)
}

/// The first layer whose samples are all alike, in it and in all layers behind it: their deviations from the mean
/// of the samples are a small part of the variation in the layer. At the start, a net whose samples come apart in some
/// steps has a [note](slow_start) in its place.
pub(crate) fn rank_collapse(layers: &[LayerReport]) -> Option<Verdict> {
    let found = collapse(layers)?;
    if is_mild(&found, layers) {
        return None;
    }
    let (layer, part) = (found.layer, found.spread);
    let text = match layer.spread {
        Some(_) => format!(
            "{}: all samples look alike, and in all layers behind it: {} of the variation is over the samples",
            layer.name,
            percent(part, 2)
        ),
        None => {
            let [cosine, _] = distinct([1.0 - part, 1.0], 5, significant);
            format!("{}: all samples look alike, their cosine is {cosine}", layer.name)
        }
    };
    let verdict = Verdict::new(Fault::RankCollapse, Level::Faulty, &layer.name, 1.0 - part, text);
    // Where laws are stated, `remedy` compares them. Behind a layer that is dead as a whole all samples are alike, whatever
    // the weights of the others.
    let follows = layers.iter().take_while(|other| !std::ptr::eq(*other, layer)).any(LayerReport::is_same);
    let is_untold = !layer.after_start && !follows && layers.iter().all(|layer| layer.law.is_none());
    let phi = layers.iter().find_map(LayerReport::phi).filter(|_| is_untold);
    Some(verdict.with_remedy(phi.and_then(weights_that_keep).unwrap_or_default()))
}

/// Whether a gradient that shrinks by `total` does no harm: at the start of a net of unbounded activations a factor of
/// up to 10⁴, and later where samples that began alike come apart.
pub(crate) fn is_made_good(total: f64, layers: &[LayerReport]) -> bool {
    let is_small = total >= 1.0 / MILD_GRADIENT && is_unbounded(layers);
    let is_start = !layers.iter().any(|layer| layer.after_start);
    let is_faulty = collapse(layers).is_some_and(|found| !is_mild(&found, layers));
    // Once they are apart, gradients have to come back.
    let is_on_its_way =
        |layer: &LayerReport| comes_apart(layer) && layer.spread.is_some_and(|spread| spread < 0.5);
    let apart = layers.iter().any(is_on_its_way);
    !is_faulty && ((is_start && is_small) || apart)
}

/// What is told of samples that look alike at the start, or of gradients that shrink, where it does no harm to a net
/// that Adam trains.
pub(crate) fn slow_start(layers: &[LayerReport]) -> Option<String> {
    if layers.iter().any(|layer| layer.after_start) {
        return None;
    }
    let phi = layers.iter().find_map(LayerReport::phi);
    let weights = phi.and_then(weights_that_keep).map_or_else(String::new, |weights| format!("; {weights}"));
    if let Some(found) = collapse(layers).filter(|found| is_mild(found, layers)) {
        let (name, part) = (&found.layer.name, percent(found.spread, 2));
        return Some(format!(
            "{name}: samples look alike at the start, {part} of the variation is over them: Adam pulls them apart in some \
             ten steps, gradient descent takes long{weights}"
        ));
    }
    let mut gradients = layers.iter().filter_map(|layer| layer.gradient_rms);
    let total = gradients.next()? / gradients.next_back()?;
    let is_small = total > 0.0 && total < 1.0 / MAX_TOTAL_CHANGE && is_made_good(total, layers);
    is_small.then(|| {
        format!(
            "the gradients shrink {} from the last layer to the first at the start: Adam makes it good, gradient descent \
             takes long{weights}",
            times(total)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;
    use crate::notes;
    use wick_theory::BatchGeometry;

    /// Layers with these spreads, and gradients that shrink by a factor of 4 a layer.
    fn layers(phi: Activation, spreads: &[f64], first: f64, after_start: bool) -> Vec<LayerReport> {
        let layer = |(index, spread): (usize, &f64)| LayerReport {
            activation: Some(phi).filter(|_| index + 1 < spreads.len()),
            spread: Some(*spread),
            first_spread: Some(first * spread),
            after_start,
            units: Some(64),
            numbers: Some(6400),
            batch: Some(BatchGeometry::normal(100, 64, 0.1)),
            gradient_rms: Some(0.25f64.powi(10 - index as i32)),
            ..LayerReport::new(format!("fc{index}"), 0.1, 0.1)
        };
        spreads.iter().enumerate().map(layer).collect()
    }

    const SIX: [f64; 7] = [1.0, 0.8, 0.4, 0.05, 5e-3, 4e-4, 3e-5];

    fn said(layers: &[LayerReport]) -> (Vec<Fault>, bool) {
        let input = BatchGeometry::normal(100, 64, 1.0);
        let faults = judge(layers, &input).iter().map(|verdict| verdict.fault).collect();
        (faults, notes(layers, &input).iter().any(|note| note.contains("look alike at the start")))
    }

    /// What gelu makes of PyTorch's weights in six layers has a note; a hundredth of the spread is a fault, and so is
    /// the same spread in a tanh net.
    #[test]
    fn what_adam_pulls_apart_is_a_note() {
        use Fault::{RankCollapse, VanishingGradient};
        let gelu = |by: f64| {
            let spreads: Vec<f64> = SIX.iter().map(|spread| spread * by).collect();
            said(&layers(Activation::Gelu, &spreads, 1.0, false))
        };
        assert_eq!(gelu(1.0), (vec![], true));
        assert_eq!(gelu(0.01), (vec![RankCollapse, VanishingGradient], false));
        let tanh = said(&layers(Activation::Tanh, &SIX, 1.0, false));
        assert_eq!(tanh, (vec![RankCollapse, VanishingGradient], false));
    }

    /// After steps, samples that come apart are no fault; those that do not are, and so is what collapsed since.
    #[test]
    fn after_steps_samples_have_to_come_apart() {
        let later = |first: f64| said(&layers(Activation::Gelu, &SIX, first, true)).0;
        assert_eq!(later(0.25), []);
        for first in [1.0, 10.0, 1e4] {
            assert_eq!(later(first), [Fault::RankCollapse, Fault::VanishingGradient], "{first}");
        }
    }
}
