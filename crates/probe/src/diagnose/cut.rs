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
            let (next, is_branch) = (&layers[index + 1].name, layers[..index].iter().any(came));
            let why = if is_branch { "and to layers before it" } else { "and to none before it" };
            let text = format!("no gradient comes to {name}, though one comes to {next}, {why}");
            let remedy =
                "look for detach, an operation without a backward pass, or a tap whose result is not used";
            return verdict(name, text, remedy);
        }
    }
    // A value that depends on no variable, behind one that does.
    let first = layers.iter().position(|layer| layer.tracked == Some(true));
    let known = !layers.is_empty() && layers.iter().all(|layer| layer.tracked.is_some());
    let index = match first {
        Some(first) => layers[first..].iter().position(LayerReport::is_input).map(|index| first + index)?,
        None if known => layers.len() - 1,
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
