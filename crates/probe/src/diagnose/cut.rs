//! Gradients that do not come, and zeros that are meant.

use crate::diagnose::fault::{Fault, Level, Verdict};
use crate::diagnose::layer_report::LayerReport;

/// A place where the graph is cut: no gradient came to a layer, and one did to a layer behind it.
pub(crate) fn cut(layers: &[LayerReport]) -> Option<Verdict> {
    let verdict = |name: &str, text: String, remedy: &str| {
        Some(Verdict::new(Fault::VanishingGradient, Level::Broken, name, 0.0, text).with_remedy(remedy))
    };
    let came = |layer: &LayerReport| layer.gradient_rms.is_some();
    if let Some(behind) = layers.iter().rposition(came) {
        let index = layers[..behind].iter().rposition(|layer| layer.tracked == Some(true) && !came(layer));
        if let Some(index) = index {
            let name = &layers[index].name;
            // The layer behind may have no gradient either; the last one with a gradient is further back at most.
            let next = layers[index + 1..].iter().find(|layer| came(layer)).unwrap_or(&layers[behind]);
            let (next, is_branch) = (&next.name, layers[..index].iter().any(came));
            let why = if is_branch { "and to layers before it" } else { "and to none before it" };
            let text = format!("no gradient comes to {name}, though one comes to {next}, {why}");
            let remedy =
                "look for detach, an operation without a backward pass, or a tap whose result is not used";
            return verdict(name, text, remedy);
        }
    }
    // A value that depends on no variable, behind one that does. Where none does, the pass may be one without
    // training, unless steps were taken.
    let first = layers.iter().position(|layer| layer.tracked == Some(true));
    let index = match first {
        Some(first) => layers[first..].iter().position(LayerReport::is_input).map(|index| first + index)?,
        None if nothing_is_tracked(layers) && layers.iter().any(|layer| layer.after_start) => {
            layers.len() - 1
        }
        None => return None,
    };
    let last = layers.last()?;
    if !last.is_input() {
        // A second input, as of a mask or another branch.
        return None;
    }
    let name = &layers[index].name;
    let text = format!("no gradient can come to {name}: it depends on no variable");
    let remedy = "its weights are no variables, or an operation without a backward pass cuts the graph: candle's \
                  own LayerNorm, RmsNorm, softmax_last_dim and rope do";
    verdict(name, text, remedy)
}

/// Whether the loss does not depend on a layer: no gradient comes to it, or one of 0, although one comes to a layer
/// before it, and it is a head: a linear layer behind the last activation, of another size than the layers up to there.
/// A branch that is cut has the size of what it is added to.
pub(crate) fn is_unused(layers: &[LayerReport], index: usize) -> bool {
    let layer = &layers[index];
    let is_linear =
        |layer: &LayerReport| layer.phi().is_none_or(|phi| phi == wick_theory::Activation::Identity);
    let gets_none = layer.gradient_rms.is_none_or(|rms| rms == 0.0) && layer.tracked == Some(true);
    let body = layers.iter().rposition(|layer| !is_linear(layer)).map_or(0, |last| last + 1);
    // The stem and what is behind it, up to the last activation.
    let stem = &layers[..body.clamp(1, layers.len())];
    let is_of_stem = |layer: &LayerReport| stem.iter().any(|other| other.numbers == layer.numbers);
    let is_head = index >= body.max(1) && layer.numbers.is_some() && !layers[index..].iter().any(is_of_stem);
    let before_gets_one = layers[..index].iter().any(|other| other.gradient_rms.is_some_and(|rms| rms > 0.0));
    gets_none && is_head && before_gets_one
}

/// Whether no value depends on a variable, as in a pass without training, or behind an operation that cuts the graph.
pub(crate) fn nothing_is_tracked(layers: &[LayerReport]) -> bool {
    !layers.is_empty() && layers.iter().all(LayerReport::is_input)
}

/// A layer whose outputs are 0, or its biases, for all samples, as they may be meant to be at the start: the last one, or the end of a branch
/// beside which the signal goes on. Its weights get a gradient and move first.
pub(crate) fn meant_zeros(layers: &[LayerReport]) -> Option<&LayerReport> {
    layers.iter().enumerate().find_map(|(index, layer)| {
        let is_zero = layer.is_same() && layer.has_a_scale() && !layer.is_input();
        let is_linear = layer.phi().is_none_or(|phi| phi == wick_theory::Activation::Identity);
        let (before, behind) = (&layers[..index], &layers[index + 1..]);
        let goes_on = behind.is_empty() || behind.iter().all(|later| later.is_same() || later.is_alive());
        let goes_on = goes_on && (behind.is_empty() || behind.iter().any(LayerReport::is_alive));
        let goes_on = goes_on && before.last().is_none_or(LayerReport::is_alive);
        let gets_gradient = layer.gradient_rms.is_none_or(|rms| rms > 0.0) && layer.tracked != Some(false);
        let is_told = layer.law.is_some_and(|law| law.weight_variance > 0.0);
        let is_start = !layer.after_start;
        (is_zero && is_linear && goes_on && gets_gradient && !is_told && is_start).then_some(layer)
    })
}

#[cfg(test)]
mod tests {
    use wick_theory::BatchGeometry;

    use super::*;
    use crate::diagnose::judge;
    use crate::notes;

    fn layers(tracked: [bool; 3], gradients: [Option<f64>; 3], after_start: bool) -> Vec<LayerReport> {
        let layer = |index: usize| LayerReport {
            tracked: Some(tracked[index]),
            gradient_rms: gradients[index],
            after_start,
            ..LayerReport::new(format!("layer_{index}"), 0.9, 1.0)
        };
        (0..3).map(layer).collect()
    }

    /// A pass without a backward pass, with variables or without, has no verdict; without variables it has a note. A
    /// graph that is cut has a verdict, and so has a step of training without a variable.
    #[test]
    fn a_pass_without_training_is_no_fault() {
        let input = BatchGeometry::normal(100, 50, 1.0);
        let first =
            |layers: &[LayerReport]| judge(layers, &input).first().map(|verdict| verdict.layer.clone());
        let none = [None; 3];
        for tracked in [[false; 3], [true; 3]] {
            assert_eq!(first(&layers(tracked, none, false)), None, "{tracked:?}");
            let told =
                notes(&layers(tracked, none, false), &input).iter().any(|note| note.contains("no variables"));
            assert_eq!(told, tracked == [false; 3]);
        }
        assert_eq!(first(&layers([false; 3], none, true)).as_deref(), Some("layer_2"));
        assert_eq!(first(&layers([true, false, false], none, false)).as_deref(), Some("layer_1"));
        let cut = layers([true; 3], [None, Some(1.0), Some(1.0)], false);
        assert_eq!(first(&cut).as_deref(), Some("layer_0"));
    }

    /// The layer named beside a cut one got a gradient: the next one that did, and not a value without variables.
    #[test]
    fn a_cut_is_told_by_a_layer_with_a_gradient() {
        let gradients = [None, None, Some(1.0)];
        for (tracked, cut_off) in [([true, false, true], "layer_0"), ([true; 3], "layer_1")] {
            let verdict = cut(&layers(tracked, gradients, false)).expect("the graph is cut");
            let text =
                format!("no gradient comes to {cut_off}, though one comes to layer_2, and to none before it");
            assert_eq!((verdict.layer.as_str(), verdict.text), (cut_off, text));
        }
    }

    /// Units that a spike made dead are told although the outputs grew from the first layer to the last, too.
    #[test]
    fn dead_units_are_told_beside_growth() {
        let mut layers = layers([true; 3], [Some(1.0); 3], true);
        for (layer, std) in layers.iter_mut().zip([1.0, 60.0, 5000.0]) {
            (layer.std, layer.rms, layer.units, layer.constant) = (std, std, Some(100), Some(0.0));
        }
        layers[1].constant = Some(0.6);
        let faults: Vec<Fault> = judge(&layers, &BatchGeometry::normal(100, 50, 1.0))
            .iter()
            .map(|verdict| verdict.fault)
            .collect();
        assert!(faults.contains(&Fault::DeadUnits) && faults.contains(&Fault::BlowsUp), "{faults:?}");
    }
}
