//! Faults of the gradients: vanishing and exploding.

use wick_theory::{Activation, BatchGeometry, LayerLaw, predict};

use crate::diagnose::collapse::is_made_good;
use crate::diagnose::cut::meant_zeros;
use crate::diagnose::fault::{Fault, Level, MAX_TOTAL_CHANGE, Verdict};
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::remedy::remedy;
use crate::diagnose::trend::Trend;
use crate::text::{short, times};

/// Gradients that shrink or grow by more than a factor of 1000 from the last layer to the first, or that are
/// 0.
pub(crate) fn vanishing_or_exploding(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    // From the last layer to the first, as the gradients go.
    let known: Vec<(&LayerReport, f64)> =
        layers.iter().rev().filter_map(|layer| Some((layer, layer.gradient_rms?))).collect();
    let ((_, last_rms), (first, first_rms)) = (*known.first()?, *known.last()?);
    // A layer of few outputs may be on its flat side by chance, and then lets nothing through.
    let may_be_chance = layers.iter().any(|layer| !layer.has_a_scale());
    if let Some(at) = known.iter().position(|(_, rms)| *rms == 0.0) {
        let layer = known[at].0;
        // A branch whose end is multiplied by 0 at the start gets no gradient, and layers before it do.
        let is_branch = known[at..].iter().any(|(_, rms)| *rms > 0.0) && !layer.after_start;
        if may_be_chance || is_branch || meant_zeros(layers).is_some() {
            return None;
        }
        let text = format!("the gradients vanish: none gets to {}", layer.name);
        let verdict = Verdict::new(Fault::VanishingGradient, Level::Broken, &layer.name, 0.0, text);
        return Some(verdict.with_remedy(remedy(layers)));
    }
    let trend = Trend::of(known.iter().map(|(_, rms)| *rms));
    if !trend.is_steady() {
        return None;
    }
    let total = first_rms / last_rms;
    if total < 1.0 && is_made_good(total, layers) {
        return None;
    }
    let (fault, word, far) = if total < 1.0 / MAX_TOTAL_CHANGE {
        (Fault::VanishingGradient, "vanish", 0.1)
    } else if total > MAX_TOTAL_CHANGE {
        (Fault::ExplodingGradient, "explode", 10.0)
    } else {
        return None;
    };
    // The first layer on the way back whose gradient has changed by more than a factor of ten.
    let is_far = |(_, rms): &&(&LayerReport, f64)| (rms / last_rms).ln() / f64::ln(far) > 1.0;
    let layer = known.iter().find(is_far).map_or(first, |(layer, _)| layer).name.clone();
    let text = format!(
        "the gradients {word}: their rms changes {} on its way back{}, from {} to {}, \
         by more than ten from {layer} down",
        trend.text(),
        predicted_change(layers, input),
        short(last_rms),
        short(first_rms),
    );
    let verdict = Verdict::new(fault, Level::Faulty, &layer, trend.factor, text);
    Some(verdict.with_remedy(remedy(layers)))
}

/// The factor a layer by which theory predicts that gradients change, if the laws of all layers are known.
fn predicted_change(layers: &[LayerReport], input: &BatchGeometry) -> String {
    let laws: Option<Vec<LayerLaw<Activation>>> = layers.iter().map(|layer| layer.law).collect();
    let predicted = laws.map(|laws| predict(&laws, input.mean_square, 1.0));
    match predicted.as_deref() {
        Some([first, .., last]) => {
            let steps = layers.len() as f64 - 1.0;
            format!(", by theory {}", times((first.gradient_rms / last.gradient_rms).powf(1.0 / steps)))
        }
        _ => String::new(),
    }
}
