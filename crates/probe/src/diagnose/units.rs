//! Faults of single units: dead ones and copies.

use wick_theory::gaussian::expectation;
use wick_theory::special::normal_cdf;
use wick_theory::{Activation, BatchGeometry};

use crate::diagnose::cut::meant_zeros;
use crate::diagnose::fault::{Fault, Level, MAX_COPIED_UNITS, MAX_DEAD_UNITS, Verdict};
use crate::diagnose::few::{is_beyond_chance, wilson_low};
use crate::diagnose::layer_report::LayerReport;
use crate::observe::units::MAX_SAMPLES;
use crate::text::percent;

/// The first layer with more constant units than chance explains, by the lower end of Wilson's interval. Chance
/// is what the similarity of its input samples makes of a unit without bias, or the fraction of units that are on for
/// all samples, as often as they are off by chance. Layers from a `collapsed` one on are skipped: where all samples
/// are alike, every unit is constant.
pub(crate) fn dead_units(
    layers: &[LayerReport],
    input: &BatchGeometry,
    collapsed: Option<&Verdict>,
) -> Option<Verdict> {
    let inputs = std::iter::once(Some(input)).chain(layers.iter().map(|layer| layer.batch.as_ref()));
    /// Samples with a smaller mean cosine leave hardly a unit on one side for all of them by chance.
    const MIN_ALIKE: f64 = 0.3;
    let meant = meant_zeros(layers).is_some();
    let until = collapsed.map(|verdict| verdict.layer.as_str());
    let (layer, fraction) = layers
        .iter()
        .zip(inputs)
        .take_while(|(layer, _)| until != Some(layer.name.as_str()))
        .filter(|(layer, _)| !layer.is_constant() && layer.has_samples() && !layer.is_input())
        .filter(|(layer, _)| !(meant && layer.is_same()))
        .find_map(|(layer, input)| {
            let by_chance = input.map_or(0.0, |input| idle_fraction(layer.phi(), input));
            // Units that are always on tell of chance where samples are alike, or where what comes in is not known,
            // as behind pooling. They do not excuse biases that turn half of the units off, and half on.
            let may_be_alike = input.is_none_or(|input| {
                let is_other = layer.batch.as_ref().is_some_and(|batch| batch.samples != input.samples);
                is_other || input.cosine > MIN_ALIKE
            });
            let always_on = layer.always_on.filter(|_| may_be_alike).unwrap_or(0.0);
            let by_chance = by_chance.max(always_on);
            let is_beyond = |fraction: &f64| {
                wilson_low(*fraction, layer.units) - by_chance > MAX_DEAD_UNITS
                    && is_beyond_chance(*fraction, layer.units, by_chance)
            };
            Some((layer, layer.constant.filter(is_beyond)?))
        })?;
    let over = match layer.looks {
        0 | 1 => "in this batch".to_owned(),
        looks => format!("in all {looks} looks"),
    };
    let text = format!(
        "{}: {} of its units are dead: their output is the same for every sample {over}",
        layer.name,
        percent(fraction, 0)
    );
    let level = match fraction {
        1.0.. => Level::Broken,
        0.5.. => Level::Faulty,
        _ => Level::Unusual,
    };
    Some(Verdict::new(Fault::DeadUnits, level, &layer.name, fraction, text))
}

/// The first layer whose outputs are constant, if they are 0 and its units are so few that all of them can be
/// on their flat side by chance: for more than one draw of the weights in a thousand. Its weights have the right scale.
pub(crate) fn dead_by_chance(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    const RARE: f64 = 1e-3;
    let index = layers.iter().position(|layer| layer.has_a_scale() && layer.is_constant())?;
    let layer = Some(&layers[index]).filter(|layer| layer.rms == 0.0)?;
    let before = index.checked_sub(1).map_or(Some(input), |before| layers[before].batch.as_ref())?;
    let units = layer.units?;
    if layer.law.is_some_and(|law| law.weight_variance <= 0.0) {
        return None;
    }
    let chance = idle_fraction(layer.phi(), before).powi(i32::try_from(units).ok()?);
    if chance < RARE {
        return None;
    }
    let whose = if units == 1 {
        "its one unit is dead".to_owned()
    } else {
        format!("all its {units} units are dead")
    };
    let text = format!(
        "{}: {whose}: the output is the same for every sample, as for {} of the draws of so few units",
        layer.name,
        percent(chance, 0)
    );
    let remedy = "take more units, an activation without a flat side, or another seed";
    Some(Verdict::new(Fault::DeadUnits, Level::Broken, &layer.name, 1.0, text).with_remedy(remedy))
}

/// The expected fraction of units without bias that are on their flat side for all `n` samples.
///
/// If all pairs of samples have the cosine `c`, the fraction is `E Φ(-√(c/(1-c)) g)ⁿ` for a standard normal
/// `g`. It holds for activations that are flat on the left only, which an unknown activation is taken to be;
/// for others it is 0.
pub(crate) fn idle_fraction(phi: Option<Activation>, input: &BatchGeometry) -> f64 {
    let is_flat_on_the_left = phi.is_none_or(|phi| {
        let (low, high) = phi.saturation_thresholds();
        low.is_finite() && high.is_infinite()
    });
    if !is_flat_on_the_left || input.cosine <= 0.0 {
        return 0.0;
    }
    let ratio = (input.cosine / (1.0 - input.cosine).max(1e-9)).sqrt();
    let samples = input.samples.min(MAX_SAMPLES) as i32;
    expectation(|g| normal_cdf(-ratio * g).powi(samples), 1.0, &[])
}

/// The first layer of which many units are copies of others.
pub(crate) fn symmetric_units(layers: &[LayerReport]) -> Option<Verdict> {
    let (layer, fraction) = layers
        .iter()
        .filter(|layer| layer.has_samples() && !layer.is_input())
        .find_map(|layer| Some((layer, layer.copies.filter(|fraction| *fraction > MAX_COPIED_UNITS)?)))?;
    let (name, part) = (&layer.name, percent(fraction, 0));
    let text = format!("{name}: {part} of its units are copies of others, and will stay so");
    let verdict = Verdict::new(Fault::SymmetricUnits, Level::Faulty, name, fraction, text);
    Some(verdict.with_remedy("draw its weights independently at random"))
}

#[cfg(test)]
mod tests {
    use wick_theory::LayerLaw;

    use super::*;
    use crate::diagnose::judge;
    use crate::diagnose::tests::healthy;

    /// One ReLU that no sample turns on says nothing of the weights' scale; a whole layer of them does.
    #[test]
    fn a_few_units_may_be_dead_by_chance() {
        let found = |units: usize, variance: Option<f64>| {
            let mut layers = healthy(4);
            let input = BatchGeometry { cosine: 0.9, ..BatchGeometry::normal(500, 16, 1.0) };
            for layer in &mut layers {
                (layer.law, layer.activation) = (None, Some(Activation::Relu));
                (layer.batch, layer.units, layer.numbers) = (Some(input.clone()), Some(16), Some(8000));
            }
            let last = layers.last_mut().unwrap();
            (last.std, last.rms, last.units, last.gradient_rms) = (0.0, 0.0, Some(units), Some(1.0));
            last.law = variance.map(|weight_variance| LayerLaw {
                phi: Activation::Relu,
                weight_variance,
                ..healthy(1)[0].law.unwrap()
            });
            let found = judge(&layers, &input);
            // The samples of this input have much in common.
            let of_layers = found.iter().filter(|verdict| verdict.layer != "input");
            of_layers.map(|verdict| verdict.fault).collect::<Vec<_>>()
        };
        assert_eq!(found(1, None), [Fault::DeadUnits]);
        assert_eq!(found(16, None), [Fault::DiesOut]);
        assert!(found(1, Some(0.0)).contains(&Fault::DiesOut));
    }
}
