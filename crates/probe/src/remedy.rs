//! What would remedy a net.

use wick_theory::{Activation, Critical, Custom, LayerLaw, MeanField};

use crate::LayerReport;
use crate::trend::short;
use crate::verdict::{FLAT, MOST};

/// The weights that would do, where it is known what the layers are; nothing where they have them.
pub(crate) fn remedy(layers: &[LayerReport]) -> String {
    let drawn =
        || layers.iter().filter_map(|layer| layer.draw).filter(|draw| draw.phi != Activation::Identity);
    let Some(draw) = drawn().next() else { return String::new() };
    let phi = draw.phi;
    let Some(at) = start(phi) else {
        return format!(
            "{phi} has no weights that keep its signals and its gradients; tanh, relu and gelu have"
        );
    };
    if drawn().all(|draw| has(&draw, at)) {
        return String::new();
    }
    let sigma = (at.weight_variance / draw.fan_in as f64).sqrt();
    let bias = if at.bias_variance > 1e-6 {
        format!(" and biases of σ = {}", short(at.bias_variance.sqrt()))
    } else {
        String::new()
    };
    let variance = short(at.weight_variance).trim_end_matches('0').trim_end_matches('.').to_owned();
    format!("{phi} keeps its signals with Var W = {variance}/fan_in, here σ = {}{bias}", short(sigma))
}

/// The critical point, without biases if there is one; none where it is so far out that a layer there is saturated.
fn start(phi: Activation) -> Option<Critical> {
    let field = MeanField { phi, weight_variance: 1.0, bias_variance: 0.0 };
    let at = field.critical().or_else(|| field.critical_point())?;
    let (low, high) = phi.saturation_thresholds();
    let flat = Custom {
        value: |x: f64| f64::from(u8::from(x <= low || x >= high)),
        derivative: |_: f64| 0.0,
        kinks: [low, high].into_iter().filter(|tail| tail.is_finite()).collect(),
    };
    let share = MeanField { phi: flat, weight_variance: 1.0, bias_variance: 0.0 }.length_map(at.q);
    let slope = field.chi_1(at.q) / steepest(phi).powi(2);
    let saturated = phi.range().is_some() && (share > MOST || slope < FLAT);
    (!saturated).then_some(at)
}

/// Whether a layer is drawn so, to a few percent of its signal.
fn has(draw: &LayerLaw<Activation>, at: Critical) -> bool {
    let variance = draw.weight_variance * draw.fan_in as f64;
    (variance / at.weight_variance - 1.0).abs() < 0.05
        && (draw.bias_variance - at.bias_variance).abs() <= 0.1 * at.bias_variance
}

/// The largest slope of a bounded activation.
pub(crate) fn steepest(phi: Activation) -> f64 {
    (-800..=800).map(|x| phi.derivative(f64::from(x) / 100.0).abs()).fold(0.0, f64::max)
}
