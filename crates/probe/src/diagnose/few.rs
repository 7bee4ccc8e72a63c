//! Samples and numbers that are too few for a verdict.

use wick_theory::BatchGeometry;

use crate::diagnose::layer_report::LayerReport;

/// Fewer samples do not tell a unit that is dead from one that is idle, nor alike samples from a collapse.
const MIN_SAMPLES: usize = 8;

/// Fewer outputs of a layer, over all units and samples, have no standard deviation to speak of, and may be
/// equal or 0 by chance.
const MIN_NUMBERS: u64 = 8;

/// The largest fraction of a layer's units, as its inverse, that may agree by chance in the signs of their
/// outputs.
const MAX_COINCIDENCES: usize = 16;

/// How many samples verdicts on a layer's single units take. Units that are all on one side or the other, as
/// of a saturated tanh, are equal for all samples by chance if there are more units than patterns of signs.
fn samples_needed(units: Option<usize>) -> usize {
    let patterns = units.unwrap_or(0).saturating_mul(MAX_COINCIDENCES).max(1);
    MIN_SAMPLES.max((usize::BITS - (patterns - 1).leading_zeros()) as usize)
}

impl LayerReport {
    /// Whether the layer has enough outputs to judge their scale. An unknown number of outputs is enough.
    pub fn has_a_scale(&self) -> bool {
        self.numbers.is_none_or(|numbers| numbers >= MIN_NUMBERS)
    }

    /// Whether there are enough samples to judge single units. An unknown number of samples is enough.
    pub(crate) fn has_samples(&self) -> bool {
        self.batch.as_ref().is_none_or(|batch| batch.samples >= samples_needed(self.units))
    }
}

/// Whether so large a fraction of `units` is no chance: by Chernoff's bound, if each has the given chance,
/// the probability is below 0.001.
pub(crate) fn is_beyond_chance(fraction: f64, units: Option<usize>, chance: f64) -> bool {
    let Some(units) = units else { return true };
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let divergence = part(fraction, chance) + part(1.0 - fraction, 1.0 - chance);
    fraction > chance && units as f64 * divergence > 1e3f64.ln()
}

/// The lower end of Wilson's 95 % interval for a fraction of units.
pub(crate) fn wilson_low(fraction: f64, units: Option<usize>) -> f64 {
    const Z: f64 = 1.96;
    let Some(n) = units.map(|units| units as f64) else { return fraction };
    let square = Z * Z / n;
    let spread = Z * (fraction * (1.0 - fraction) / n + square / (4.0 * n)).sqrt();
    (fraction + square / 2.0 - spread) / (1.0 + square)
}

/// What [`judge`](crate::judge()) leaves open because the samples or a layer's outputs are too few, and how
/// many it takes, in a sentence; `None` if they are enough.
///
/// ```
/// use wick_probe::{BatchGeometry, LayerReport, not_judged};
///
/// let layers = [LayerReport::new("layer_0", 0.9, 1.0)];
/// assert_eq!(not_judged(&layers, &BatchGeometry::normal(100, 50, 1.0)), None);
/// let note = not_judged(&layers, &BatchGeometry::normal(2, 50, 1.0));
/// assert_eq!(note.as_deref(), Some("too few samples to judge single units and collapse: 2, and it takes 8"));
/// ```
pub fn not_judged(layers: &[LayerReport], input: &BatchGeometry) -> Option<String> {
    if let Some(layer) = layers.iter().find(|layer| !layer.has_a_scale()) {
        let (name, numbers) = (&layer.name, layer.numbers.unwrap_or(0));
        return Some(format!(
            "too few outputs of {name} to judge its scale: {numbers} over all samples, and it takes {MIN_NUMBERS}"
        ));
    }
    let samples = |layer: &LayerReport| layer.batch.as_ref().map_or(input.samples, |batch| batch.samples);
    let layer = layers
        .iter()
        .filter(|layer| samples(layer) < samples_needed(layer.units))
        .max_by_key(|layer| samples_needed(layer.units))?;
    let needed = samples_needed(layer.units);
    let why = match layer.units {
        Some(units) if needed > MIN_SAMPLES => format!(" for the {units} units of {}", layer.name),
        _ => String::new(),
    };
    Some(format!(
        "too few samples to judge single units and collapse: {}, and it takes {needed}{why}",
        samples(layer)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::fault::Fault;
    use crate::diagnose::judge;

    fn layer(samples: usize, units: usize) -> LayerReport {
        LayerReport {
            units: Some(units),
            numbers: Some((samples * units) as u64),
            batch: Some(BatchGeometry::normal(samples, units, 1.0)),
            ..LayerReport::new("layer_0", 0.9, 1.0)
        }
    }

    fn faults(layer: LayerReport) -> Vec<Fault> {
        let input = BatchGeometry::normal(layer.batch.as_ref().map_or(1, |batch| batch.samples), 50, 1.0);
        judge(&[layer], &input).iter().map(|verdict| verdict.fault).collect()
    }

    #[test]
    fn units_are_judged_by_many_samples() {
        let dead = |samples, units| faults(LayerReport { constant: Some(0.6), ..layer(samples, units) });
        assert_eq!((dead(7, 100), dead(20, 100)), (vec![], vec![Fault::DeadUnits]));
        let copied = |samples, units| faults(LayerReport { copies: Some(0.5), ..layer(samples, units) });
        assert_eq!((copied(7, 4), copied(8, 4)), (vec![], vec![Fault::SymmetricUnits]));
        // 300 saturated units in 10 samples have 2^10 patterns, so that every fourth has a copy.
        assert_eq!((copied(12, 300), copied(13, 300)), (vec![], vec![Fault::SymmetricUnits]));
        let alike = |samples, units| {
            let batch = BatchGeometry { cosine: 0.9999, ..BatchGeometry::normal(samples, units, 1.0) };
            faults(LayerReport { batch: Some(batch), ..layer(samples, units) })
        };
        assert_eq!((alike(7, 16), alike(20, 4), alike(20, 16)), (vec![], vec![], vec![Fault::RankCollapse]));
    }

    /// Wilson (1927): 8 of 16 units are a fraction of .28 to .72, and 0 of 10 of 0 to .28.
    #[test]
    fn fractions_have_intervals() {
        assert!((wilson_low(0.5, Some(16)) - 0.2800).abs() < 1e-4);
        assert!((1.0 - wilson_low(1.0, Some(10)) - 0.2775).abs() < 1e-4);
        assert_eq!(wilson_low(0.5, None), 0.5);
    }

    /// Two of four units are dead by chance if each is in one case of twenty; three of four are not if it is
    /// never.
    #[test]
    fn few_units_are_dead_by_chance() {
        for (fraction, units, chance, expected) in [
            (0.5, Some(4), 0.05, false),
            (0.5, Some(40), 0.05, true),
            (0.75, Some(4), 1e-6, true),
            (1.0, Some(1), 0.3, false),
            (0.2, Some(1000), 0.3, false),
            (0.5, None, 0.05, true),
        ] {
            assert_eq!(
                is_beyond_chance(fraction, units, chance),
                expected,
                "{fraction} of {units:?}, {chance}"
            );
        }
    }

    #[test]
    fn few_outputs_have_no_scale() {
        let zero = |samples| LayerReport { std: 0.0, rms: 0.0, gradient_rms: Some(0.0), ..layer(samples, 1) };
        assert_eq!(faults(zero(1)), []);
        assert_eq!(faults(zero(8)), [Fault::DiesOut, Fault::VanishingGradient]);
        let flat = |samples| LayerReport {
            saturated: Some(0.9),
            activation: Some(wick_theory::Activation::Tanh),
            ..layer(samples, 1)
        };
        assert_eq!((faults(flat(7)), faults(flat(8))), (vec![], vec![Fault::Saturated]));
    }

    /// Outputs that are not 0 and whose squares are.
    #[test]
    fn outputs_whose_squares_vanish_are_too_small() {
        let tiny =
            |name: &str| LayerReport { range: Some((-5e-175, 4e-175)), ..LayerReport::new(name, 0.0, 0.0) };
        let layers = [layer(50, 50), tiny("layer_1"), tiny("layer_2")];
        let verdicts = judge(&layers, &BatchGeometry::normal(50, 50, 1.0));
        let said = "layer_1: outputs of 5.00e-175 are too small to judge, in this layer first: their squares are below \
                    the smallest f64";
        assert_eq!((verdicts.len(), verdicts[0].text.as_str()), (1, said));
        assert_eq!((verdicts[0].fault, verdicts[0].figure), (Fault::DiesOut, 5e-175));
    }

    #[test]
    fn one_note_says_what_it_takes() {
        let note =
            |layers: &[LayerReport], samples| not_judged(layers, &BatchGeometry::normal(samples, 50, 1.0));
        let few = "too few samples to judge single units and collapse: 10, and it takes 13 for the 300 units of layer_0";
        assert_eq!(note(&[layer(10, 4), layer(10, 300)], 10).as_deref(), Some(few));
        assert_eq!(note(&[layer(13, 300)], 13), None);
        let output = "too few outputs of layer_0 to judge its scale: 2 over all samples, and it takes 8";
        assert_eq!(note(&[layer(2, 100), layer(2, 1)], 2).as_deref(), Some(output));
        let one = LayerReport { batch: None, ..layer(1, 100) };
        assert_eq!(note(&[one], 1).as_deref().map(|note| note.contains(": 1, and it takes")), Some(true));
    }
}
