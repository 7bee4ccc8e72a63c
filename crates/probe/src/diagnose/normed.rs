//! Laws of layers behind a norm that has no tap.

use wick_theory::{BatchGeometry, LayerLaw, MeanField};

use crate::diagnose::layer_report::LayerReport;

/// A mean field rms and a measured one that differ by less than this factor agree: finite layers differ by some
/// percent.
const MAX_DIFFERENCE: f64 = 1.1;

/// An input whose rms is closer to 1 than this factor is not told from one behind a norm: weights that are 1.5 times as
/// large do to an input of rms 2/3 what a norm does.
const MIN_CHANGE: f64 = 2.5;

/// The layers, without the law of those that seem to be [behind a norm](behind_a_norm).
pub(crate) fn without_laws_behind_norms(layers: &[LayerReport], input: &BatchGeometry) -> Vec<LayerReport> {
    let law = |index: usize| layers[index].law.filter(|_| !behind_a_norm(layers, index, input));
    (0..layers.len()).map(|index| LayerReport { law: law(index), ..layers[index].clone() }).collect()
}

/// Whether a layer's outputs are not what its law makes of the tap before it, and are what it makes of samples of rms
/// 1: a norm without a tap stands between, as in a pre-norm block. `E φ(√(σ_w² n q + σ_b²) g)²` for a standard normal
/// `g` is their mean square by the mean field (Poole et al. 2016, eq. 3), with `q` the mean square of the input.
pub(crate) fn behind_a_norm(layers: &[LayerReport], index: usize, input: &BatchGeometry) -> bool {
    let layer = &layers[index];
    let mean_square = match index.checked_sub(1) {
        None => input.mean_square,
        Some(before) => layers[before].rms.powi(2),
    };
    let Some(law) = layer.law.filter(|_| layer.has_a_scale() && mean_square > 0.0) else { return false };
    let agrees = |q: f64| {
        let predicted = rms(&law, q);
        let factor = layer.rms / predicted;
        predicted > 0.0 && (1.0 / MAX_DIFFERENCE..MAX_DIFFERENCE).contains(&factor)
    };
    let changed = mean_square.sqrt();
    let is_far = !(1.0 / MIN_CHANGE..MIN_CHANGE).contains(&changed);
    is_far && agrees(1.0) && !agrees(mean_square)
}

/// The rms of a layer's outputs by the mean field.
fn rms(law: &LayerLaw<wick_theory::Activation>, mean_square: f64) -> f64 {
    let field = MeanField { phi: law.phi, weight_variance: 1.0, bias_variance: 0.0 };
    let q = law.fan_in as f64 * law.weight_variance * mean_square + law.bias_variance;
    field.length_map(q).sqrt()
}

#[cfg(test)]
mod tests {
    use wick_theory::Activation;

    use super::*;
    use crate::diagnose::fault::Fault;
    use crate::diagnose::judge;
    use crate::notes;

    /// A tanh layer of 200 units that keeps the scale `scale` of its input, behind a tap of rms `tapped`.
    fn judged(tapped: f64, scale: f64) -> (Vec<Fault>, Vec<String>) {
        let law = LayerLaw {
            fan_in: 200,
            fan_out: 200,
            weight_variance: 1.0 / 200.0,
            bias_variance: 0.0,
            orthogonal: false,
            phi: Activation::Tanh,
        };
        let report = |name: &str, rms: f64| LayerReport {
            units: Some(200),
            batch: Some(BatchGeometry::normal(100, 200, rms)),
            ..LayerReport::new(name, rms, rms)
        };
        let std = rms(&law, scale * scale);
        let layers = [report("stream", tapped), LayerReport { law: Some(law), ..report("fc", std) }];
        let input = BatchGeometry::normal(100, 200, 1.0);
        let faults = judge(&layers, &input).iter().map(|verdict| verdict.fault).collect();
        (faults, notes(&layers, &input))
    }

    /// Behind a norm without a tap, a layer has no band and a note that says so; a layer that is neither what the tap
    /// nor what a norm makes of it is off, and so is one whose tap has a norm's scale already.
    #[test]
    fn a_norm_without_a_tap_is_no_fault() {
        for tapped in [0.1, 5.0, 30.0] {
            let (faults, notes) = judged(tapped, 1.0);
            assert!(faults.is_empty(), "{tapped}: {faults:?}");
            assert!(notes.iter().any(|note| note.contains("put a tap behind the norm")), "{notes:?}");
            assert_eq!(judged(tapped, tapped).0, [], "{tapped}, as the law says");
        }
        for (tapped, scale) in [(5.0, 0.3), (0.1, 0.4), (1.0, 2.0), (1.1, 0.5), (0.5, 1.0), (2.0, 1.0)] {
            assert_eq!(judged(tapped, scale).0, [Fault::OutsideBand], "{tapped}, {scale}");
        }
    }
}
