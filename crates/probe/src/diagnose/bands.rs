//! Layers outside the bands that theory predicts for each of them alone. Numbers in parentheses are equations
//! of `docs/finite-width.md`, section 10.

use wick_theory::{Activation, Band, BatchGeometry, LayerLaw, MeanField, finite_width};

use crate::diagnose::fault::{Fault, Level, MAX_BAND_HALF_WIDTHS, Verdict};
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::notes::has_other_input;
use crate::limits::smallest_normal;
use crate::text::{distinct, significant, times};

/// Rounding and the error of the theory itself, as the logarithm of a factor.
const LOG_TOLERANCE: f64 = 0.02;

/// The first layer whose outputs' std, or whose gradients' rms before it, is outside the band for its
/// measured input.
///
/// Three cases have no band. The last layer's gradients are skipped, because the loss ties them to its
/// outputs. A layer whose input is not known is skipped, because the band would be too narrow for samples of
/// different lengths. A layer whose input is concentrated in a few samples is skipped: see [`is_even`].
pub(crate) fn outside_band(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    let inputs = std::iter::once(Some(input)).chain(layers.iter().map(|layer| layer.batch.as_ref()));
    layers.iter().zip(inputs).enumerate().find_map(|(index, (layer, input))| {
        let law = layer.law?;
        let name = &layer.name;
        if has_other_input(layers, index) {
            return None;
        }
        let gradient = gradient_geometry(layer);
        let input = input.filter(|input| is_even(input))?;
        let [forward, backward] = bands_of_layer(law, input, &gradient);
        let backward = widen(backward, law, input, layer.gradients.as_ref());
        // Numbers below the smallest normal one have few digits.
        // The fourth moments of theory's bands have to be numbers of `f64`.
        let smallest = smallest_normal(layer.dtype).max(f64::MIN_POSITIVE.sqrt().sqrt());
        let check = |what, band: Band, measured: f64| {
            let factor = factor_outside(&band, measured).filter(|_| band.low >= smallest)?;
            Some((what, band, measured, factor))
        };
        let gradient_before = || {
            let is_last = index + 1 == layers.len();
            layers
                .get(index.checked_sub(1)?)?
                .gradient_rms
                .filter(|_| !is_last && layer.gradient_rms.is_some())
        };
        let of_outputs = || check("the outputs' std", forward, layer.std).filter(|_| layer.has_a_scale());
        let (what, band, measured, factor) = of_outputs().or_else(|| {
            check("the rms of the gradients that it passes back", backward, gradient_before()?)
        })?;
        let [measured, low, high] = distinct([measured, band.low, band.high], 3, significant);
        let factor_text = times(factor);
        let text = format!(
            "{name}: {what} is {measured}, {factor_text} what its input and the law of its weights predict \
             ({low} to {high})",
        );
        let level = if (0.67..1.5).contains(&factor) { Level::Unusual } else { Level::Faulty };
        let verdict = Verdict::new(Fault::OutsideBand, level, name, factor, text);
        Some(match of_outputs().and_then(|_| scale_of_weights(law, input, &gradient, layer.std)) {
            Some(scale) => verdict.with_remedy(format!(
                "weights {} as large as the law says make such outputs: check the fan, the gain and the activation",
                times(scale)
            )),
            None => verdict,
        })
    })
}

/// Whether the signal is spread over all samples. Theory knows the samples' lengths by groups. If one group
/// has a quarter of the whole signal, the output depends on a few samples of that group.
fn is_even(input: &BatchGeometry) -> bool {
    let all: f64 = input.lengths.iter().sum();
    input.lengths.last().is_none_or(|longest| input.lengths.len() < 4 || *longest <= 0.25 * all)
}

/// The measured gradients of the layer's outputs. If their geometry was not measured, copies of one sample
/// stand for them, for which the bands are widest.
fn gradient_geometry(layer: &LayerReport) -> BatchGeometry {
    let rms = layer.gradient_rms.unwrap_or(0.0);
    layer.gradients.clone().unwrap_or_else(|| BatchGeometry::normal(1, 1, rms))
}

/// The factor on the weights with which theory predicts the measured std, if there is one between 1/1000 and
/// 1000.
fn scale_of_weights(
    law: LayerLaw<Activation>,
    input: &BatchGeometry,
    gradient: &BatchGeometry,
    std: f64,
) -> Option<f64> {
    const FAR: f64 = 1e3;
    let predicted = |scale: f64| {
        let law = LayerLaw { weight_variance: law.weight_variance * scale * scale, ..law };
        bands_of_layer(law, input, gradient)[0].middle
    };
    let (mut low, mut high) = (1.0 / FAR, FAR);
    if !(predicted(low) < std && std < predicted(high)) {
        return None;
    }
    for _ in 0..20 {
        let middle = (low * high).sqrt();
        if predicted(middle) < std { low = middle } else { high = middle }
    }
    Some((low * high).sqrt())
}

/// The bands (26) of one layer: of its outputs' std, and of the rms of the gradient with respect to its
/// input.
fn bands_of_layer(law: LayerLaw<Activation>, input: &BatchGeometry, gradient: &BatchGeometry) -> [Band; 2] {
    // Theory predicts gradients with respect to outputs, so that an isometry before the layer gives those of
    // its input.
    let isometry = LayerLaw {
        fan_in: law.fan_in,
        fan_out: law.fan_in,
        weight_variance: 1.0 / law.fan_in as f64,
        bias_variance: 0.0,
        orthogonal: true,
        phi: Activation::Identity,
    };
    let bands = finite_width(&[isometry, law], input, gradient);
    [bands[1].std, bands[0].gradient_rms]
}

/// Widens the band of the gradients' rms by (28), because it is not known which samples carry the large
/// gradients.
///
/// The slope `s_a = E φ'²` depends on a sample's length `λ_a`, and so may the length `γ_a` of its gradient,
/// so that the mean of the products `γ_a s_a` differs from the product of the means. If the lengths `γ` are
/// known, the mean is between its values for opposite and for equal order (27). If they are not, it is
/// between the least and the largest slope.
fn widen(
    band: Band,
    law: LayerLaw<Activation>,
    input: &BatchGeometry,
    gradients: Option<&BatchGeometry>,
) -> Band {
    let field = MeanField { phi: law.phi, weight_variance: 1.0, bias_variance: 0.0 };
    let weight_part = law.fan_in as f64 * law.weight_variance * input.mean_square;
    let slope = |length: &f64| field.chi_1(weight_part * length + law.bias_variance);
    let mut slopes: Vec<f64> = input.lengths.iter().map(slope).collect();
    slopes.sort_by(f64::total_cmp);
    let mean = slopes.iter().sum::<f64>() / slopes.len() as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return band;
    }
    let (least, most) = match gradients.map(|gradients| &gradients.lengths) {
        Some(lengths) if lengths.len() == slopes.len() => {
            let weighted_mean = |slopes: &mut dyn Iterator<Item = &f64>| {
                lengths.iter().zip(slopes).map(|(length, slope)| length * slope).sum::<f64>()
                    / lengths.iter().sum::<f64>()
            };
            (weighted_mean(&mut slopes.iter().rev()), weighted_mean(&mut slopes.iter()))
        }
        _ => (slopes[0], slopes[slopes.len() - 1]),
    };
    Band { low: band.low * (least / mean).sqrt(), high: band.high * (most / mean).sqrt(), ..band }
}

/// The factor between a measured number and the middle of its band, if the number is outside the band by
/// (29).
fn factor_outside(band: &Band, measured: f64) -> Option<f64> {
    let log_factor = (measured / band.middle).ln();
    let half_width =
        if log_factor > 0.0 { (band.high / band.middle).ln() } else { (band.middle / band.low).ln() };
    (log_factor.abs() > MAX_BAND_HALF_WIDTHS * half_width + LOG_TOLERANCE).then(|| log_factor.exp())
}
