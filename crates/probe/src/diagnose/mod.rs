//! What is wrong with a net, in which layer first, and how to fix it.

mod bands;
mod collapse;
mod course;
mod cut;
pub(crate) mod diagnosis;
pub(crate) mod drift;
pub(crate) mod fault;
pub(crate) mod few;
mod gradient;
pub(crate) mod layer_report;
pub(crate) mod loss;
pub(crate) mod monitor;
mod normed;
pub(crate) mod notes;
mod remedy;
mod scale;
mod signal;
pub(crate) mod trend;
mod units;
pub(crate) mod updates;

#[cfg(test)]
mod tests;

use wick_theory::BatchGeometry;

use bands::outside_band;
use collapse::rank_collapse;
use cut::{cut, is_unused};
use fault::{Fault, Verdict};
use gradient::vanishing_or_exploding;
use layer_report::LayerReport;
use normed::without_laws_behind_norms;
use remedy::of_fault;
use scale::{bad_input, input_scale, large_start, missing_activation, odd_layer, shifted_input};
use signal::{dying_or_growing, non_finite, saturated, too_small};
use units::{dead_by_chance, dead_units, symmetric_units};

/// Finds the faults of a net, given its layers from first to last and its input. A healthy net has none. No
/// verdict changes when the loss is multiplied by a number.
///
/// A layer whose [`law`](LayerReport::law) is known is compared with what theory predicts for its measured
/// input, so that no layer is blamed for the layers before it. The prediction is a 95 % band, made by
/// [`finite_width`](wick_theory::finite_width()); a layer may be twice the half width of the band away from
/// its middle. The band needs the [`BatchGeometry`] of the layer's input. If the
/// [`batch`](LayerReport::batch) of the layer before is not known, only the range of the outputs is compared.
///
/// Bands need a layer's own input: a layer whose `fan_in` is not the number of units of the layer before has
/// another one, and has no band. After the first step no law holds; [`Probe::layer_reports`](crate::Probe) leaves it
/// out.
///
/// A layer without outputs, as of an expert to which no token went, is left out, and so is a head on which the loss
/// does not depend. Too few samples or outputs get no
/// verdict that rests on many; [`notes`](crate::notes()) tells, and what else was
/// not looked at. The verdicts are in the order of the layers: the first is a cause, and those behind it may follow
/// from it.
///
/// ```
/// use wick_probe::{BatchGeometry, Fault, LayerReport, judge};
///
/// let std = |index: i32| 0.27f64.powi(index);
/// let layer = |index: i32| LayerReport::new(format!("layer_{index}"), std(index), std(index));
/// let verdicts = judge(&(1..10).map(layer).collect::<Vec<_>>(), &BatchGeometry::normal(100, 50, 1.0));
/// assert_eq!(verdicts[0].fault, Fault::DiesOut);
/// assert!(verdicts[0].text.starts_with("dies out: the outputs' std shrinks ×0.27 a layer"));
/// ```
pub fn judge(layers: &[LayerReport], input: &BatchGeometry) -> Vec<Verdict> {
    let is_left_out = |index: usize| layers[index].is_empty() || is_unused(layers, index);
    if (0..layers.len()).any(is_left_out) {
        let others: Vec<_> = (0..layers.len())
            .filter(|index| !is_left_out(*index))
            .map(|index| layers[index].clone())
            .collect();
        return judge(&others, input);
    }
    if let Some(verdict) = bad_input(layers, input) {
        return vec![verdict];
    }
    if let Some(verdict) = non_finite(layers).or_else(|| too_small(layers)) {
        let remedy =
            if verdict.remedy.is_empty() { of_fault(&verdict, layers) } else { verdict.remedy.clone() };
        return vec![verdict.with_remedy(remedy)];
    }
    let mut found = Vec::new();
    let of_input = input_scale(layers, input).or_else(|| shifted_input(layers, input));
    found.extend(missing_activation(layers));
    let known = without_laws_behind_norms(layers, input);
    found.extend(outside_band(&known, input).or_else(|| odd_layer(layers, input)));
    let gradient = vanishing_or_exploding(layers, input);
    let explodes = gradient.as_ref().is_some_and(|verdict| verdict.fault == Fault::ExplodingGradient);
    let saturated = saturated(layers, input, explodes);
    let dead = dead_by_chance(layers, input);
    if saturated.is_none() && dead.is_none() {
        let growing = dying_or_growing(layers);
        found.extend(growing.or_else(|| large_start(layers, input).filter(|_| of_input.is_none())));
    }
    // Samples that have nearly all in common look alike in all layers.
    let is_shifted = of_input.as_ref().is_some_and(|verdict| verdict.fault == Fault::RankCollapse);
    let collapsed = rank_collapse(layers).filter(|_| !is_shifted);
    found.extend(of_input);
    found.extend(saturated);
    found.extend(dead_units(layers, input, collapsed.as_ref()));
    // No gradient gets past dead units.
    let gradient = gradient.filter(|_| dead.is_none());
    found.extend(dead);
    found.extend(symmetric_units(layers));
    found.extend(collapsed);
    found.extend(cut(layers));
    causes_first(&mut found, layers);
    found.dedup_by(|a, b| (a.fault, &a.layer) == (b.fault, &b.layer));
    // What the gradients do over the whole net follows from the layers.
    found.extend(gradient);
    for verdict in found.iter_mut().filter(|verdict| verdict.remedy.is_empty()) {
        verdict.remedy = of_fault(verdict, layers);
    }
    found
}

/// Sorts verdicts along the net, the first layer first; of one layer, causes before what follows from them.
fn causes_first(found: &mut [Verdict], layers: &[LayerReport]) {
    found.sort_by_key(|verdict| {
        let index = layers.iter().position(|layer| layer.name == verdict.layer);
        let order = match verdict.fault {
            Fault::NonFinite | Fault::SymmetricUnits => 0,
            Fault::DiesOut | Fault::DeadUnits => 1,
            Fault::OutsideBand => 2,
            _ => 3,
        };
        (index.map_or(0, |index| index + 1), order)
    });
}
