//! What is no fault, and what was not looked at.

use wick_theory::BatchGeometry;

use crate::diagnose::collapse::slow_start;
use crate::diagnose::cut::{is_unused, meant_zeros, nothing_is_tracked};
use crate::diagnose::few::not_judged;
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::normed::behind_a_norm;

/// What a reader of the verdicts of [`judge`](crate::judge()) should know beside them, a sentence each: zeros that
/// may be meant, and what was not looked at, and why.
///
/// ```
/// use wick_probe::{BatchGeometry, LayerReport, judge, notes};
///
/// let mut layers = [LayerReport::new("hidden", 0.9, 1.0), LayerReport::new("head", 0.0, 0.0)];
/// layers[0].numbers = Some(5000);
/// (layers[0].gradient_rms, layers[1].gradient_rms) = (Some(0.0), Some(1.0));
/// let input = BatchGeometry::normal(100, 50, 1.0);
/// assert!(judge(&layers, &input).is_empty());
/// assert_eq!(notes(&layers, &input)[0], "head: all outputs are 0 at the start: its weights must move first");
/// ```
pub fn notes(layers: &[LayerReport], input: &BatchGeometry) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(layer) = meant_zeros(layers) {
        let what = if layer.rms == 0.0 { "0" } else { "the same for every sample" };
        notes.push(format!(
            "{}: all outputs are {what} at the start: its weights must move first",
            layer.name
        ));
    }
    notes.extend(slow_start(layers));
    for (_, layer) in layers.iter().enumerate().filter(|(index, _)| is_unused(layers, *index)) {
        notes.push(format!(
            "{}: the loss does not depend on it, or not on the tensor that its tap returned: it is not judged",
            layer.name
        ));
    }
    if nothing_is_tracked(layers) && !layers.iter().any(|layer| layer.after_start) {
        notes.push(
            "no layer depends on a variable: in training, no gradient comes to them, because their weights are no \
             variables or candle's LayerNorm, RmsNorm, softmax_last_dim or rope cuts the graph"
                .to_owned(),
        );
    }
    if let Some(layer) = layers.last().filter(|layer| layer.probabilities) {
        notes.push(format!(
            "{}: the outputs are probabilities: a cross entropy that takes logits, as candle's, applies a second softmax",
            layer.name
        ));
    }
    if layers.iter().any(|layer| layer.after_start) {
        notes.push("not looked at: bands of theory, which hold before the first step only".to_owned());
    } else if let Some(layer) = layers.iter().enumerate().find(|(index, _)| has_other_input(layers, *index)) {
        notes.push(format!(
            "not looked at: the band of {}, because the tap before it has other features than its fan_in",
            layer.1.name
        ));
    } else if let Some(index) = (0..layers.len()).find(|index| behind_a_norm(layers, *index, input)) {
        notes.push(format!(
            "not looked at: the band of {}, whose outputs fit an input of rms 1: put a tap behind the norm before it",
            layers[index].name
        ));
    } else if !layers.is_empty() && layers.iter().all(|layer| layer.law.is_none()) {
        notes.push("not looked at: bands of theory, because no law of the weights is stated".to_owned());
    }
    if layers.iter().all(|layer| layer.units.is_none() && layer.batch.is_none()) && !layers.is_empty() {
        notes.push(
            "not looked at: single units and samples that are alike, which take `with_units`".to_owned(),
        );
    }
    notes.extend(not_judged(layers, input));
    notes
}

/// Whether a layer with a law has another input than the layer before it gives: as many features as its fan_in
/// say so.
pub(crate) fn has_other_input(layers: &[LayerReport], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| layers[before].units);
    layers[index].law.zip(before).is_some_and(|(law, units)| law.fan_in != units)
}
