//! A layer by itself, beside what it should make of its input.

use candle_core::DType;
use wick_theory::{Activation, Band, BatchGeometry, LayerLaw, MeanField, finite_width};

use crate::trend::{short, times};
use crate::verdict::BEYOND;
use crate::{Fault, LayerReport, Verdict};

/// The first layer that makes more or less of its input, or of the gradient that comes back to it, than it should. The last
/// layer's gradients are spared: a loss ties them to its outputs. Where it is not known what comes in, a band would be too narrow
/// for samples of different lengths, and there is none; nor where a few samples have most of the signal.
pub(crate) fn outside_band(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    let inputs = std::iter::once(Some(input)).chain(layers.iter().map(|layer| layer.batch.as_ref()));
    layers.iter().zip(inputs).enumerate().find_map(|(index, (layer, input))| {
        let draw = layer.draw?;
        let name = &layer.name;
        let verdict = |figure: f64, text: String, remedy: &str| Verdict {
            fault: Fault::OutsideBand,
            layer: name.clone(),
            figure,
            text,
            remedy: remedy.to_owned(),
        };
        if let Some(x) = outside_range(layer, draw.phi) {
            let text = format!("{name}: an output of {}, which {} never has", short(x), draw.phi);
            return Some(verdict(x, text, "apply the activation"));
        }
        let gradient = as_seen(layer.gradients.as_ref(), layer.gradient_rms.unwrap_or(0.0));
        let input = input.filter(|input| is_even(input))?;
        let [forward, backward] = alone(draw, input, &gradient);
        let backward = widened(backward, draw, input, layer.gradients.as_ref());
        // Below its smallest normal number a type has few digits.
        let smallest = smallest_normal(layer.dtype);
        let off = |what, band: Band, got: f64| {
            let off = strays(&band, got).filter(|_| band.low >= smallest)?;
            Some((what, band, got, off))
        };
        let below = || {
            let last = index + 1 == layers.len();
            layers.get(index.checked_sub(1)?)?.gradient_rms.filter(|_| !last && layer.gradient_rms.is_some())
        };
        let (what, band, got, off) = off("the outputs' std", forward, layer.std)
            .or_else(|| off("the rms of the gradients that it sends back", backward, below()?))?;
        let text = format!(
            "{name}: {what} is {}, {} what weights drawn so make of what comes in ({} to {})",
            short(got),
            times(off),
            short(band.low),
            short(band.high),
        );
        Some(verdict(off, text, "look for a wrong fan, a gain, a missing activation"))
    })
}

/// An output that the activation cannot have.
fn outside_range(layer: &LayerReport, phi: Activation) -> Option<f64> {
    let (low, high) = phi.range().or_else(|| (phi == Activation::Relu).then_some((0.0, f64::INFINITY)))?;
    let (smallest, largest) = layer.range?;
    // Half precision rounds beyond a range by less than this.
    let slack = 0.01;
    [smallest, largest].into_iter().find(|x| *x < low - slack || *x > high + slack)
}

/// Whether the signal is that of all samples. Theory knows their lengths by groups, and where one group has a quarter of it all, what
/// comes out is that of a few samples in it.
fn is_even(input: &BatchGeometry) -> bool {
    let all: f64 = input.lengths.iter().sum();
    input.lengths.last().is_none_or(|longest| input.lengths.len() < 4 || *longest <= 0.25 * all)
}

fn smallest_normal(dtype: Option<DType>) -> f64 {
    match dtype {
        Some(DType::F64) => f64::MIN_POSITIVE,
        Some(DType::F16) => 2f64.powi(-14),
        _ => f64::from(f32::MIN_POSITIVE),
    }
}

/// What was seen of gradients; of those that were not looked at, samples that are all copies of one, which makes the widest bands.
fn as_seen(batch: Option<&BatchGeometry>, rms: f64) -> BatchGeometry {
    batch.cloned().unwrap_or_else(|| BatchGeometry::normal(1, 1, rms))
}

/// The bands of a layer by itself: of its outputs' std, and of the gradients' rms behind it.
fn alone(draw: LayerLaw<Activation>, input: &BatchGeometry, gradient: &BatchGeometry) -> [Band; 2] {
    // In front of it a layer that passes all on, so that there is a gradient behind.
    let nothing = LayerLaw {
        fan_in: draw.fan_in,
        fan_out: draw.fan_in,
        weight_variance: 1.0 / draw.fan_in as f64,
        bias_variance: 0.0,
        orthogonal: true,
        phi: Activation::Identity,
    };
    let bands = finite_width(&[nothing, draw], input, gradient);
    [bands[1].std, bands[0].gradient_rms]
}

/// The band of gradients for whatever samples have the long ones. A slope goes by its sample's length, and so do the slopes
/// behind, so that the mean of their product is not that of the means: it is between those of all gradients on the samples of the
/// least slope and of the largest, or where the gradients' lengths are known, of the longest on the one or on the other.
fn widened(
    band: Band,
    draw: LayerLaw<Activation>,
    input: &BatchGeometry,
    gradients: Option<&BatchGeometry>,
) -> Band {
    let field = MeanField { phi: draw.phi, weight_variance: 1.0, bias_variance: 0.0 };
    let square = draw.fan_in as f64 * draw.weight_variance * input.mean_square;
    let mut slopes: Vec<f64> =
        input.lengths.iter().map(|length| field.chi_1(square * length + draw.bias_variance)).collect();
    slopes.sort_by(f64::total_cmp);
    let mean = slopes.iter().sum::<f64>() / slopes.len() as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return band;
    }
    let (least, most) = match gradients.map(|gradients| &gradients.lengths) {
        Some(lengths) if lengths.len() == slopes.len() => {
            let product = |slopes: &mut dyn Iterator<Item = &f64>| {
                lengths.iter().zip(slopes).map(|(length, slope)| length * slope).sum::<f64>()
                    / lengths.iter().sum::<f64>()
            };
            (product(&mut slopes.iter().rev()), product(&mut slopes.iter()))
        }
        _ => (slopes[0], slopes[slopes.len() - 1]),
    };
    Band { low: band.low * (least / mean).sqrt(), high: band.high * (most / mean).sqrt(), ..band }
}

/// By what factor a number is off, if it is too far outside its band.
fn strays(band: &Band, got: f64) -> Option<f64> {
    let off = (got / band.middle).ln();
    let reach = if off > 0.0 { (band.high / band.middle).ln() } else { (band.middle / band.low).ln() };
    // Rounding and the theory itself are good to a percent.
    (off.abs() > BEYOND * reach + 0.02).then(|| off.exp())
}
