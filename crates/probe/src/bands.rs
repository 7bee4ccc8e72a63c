//! A layer by itself, beside what it should make of its input.

use wick_theory::{Activation, Band, Batch, LayerDraw, finite_width};

use crate::course::{short, times};
use crate::verdict::BEYOND;
use crate::{Fault, Reading, Verdict};

/// The first layer that makes more or less of its input, or of the gradient that comes back to it, than it should. The last
/// layer's gradients are spared: a loss ties them to its outputs.
pub(crate) fn outside_band(layers: &[Reading], input: &Batch) -> Option<Verdict> {
    let below = layers.iter().map(|layer| as_seen(layer.batch.as_ref(), layer.rms));
    let inputs = std::iter::once(input.clone()).chain(below);
    layers.iter().zip(inputs).enumerate().find_map(|(index, (layer, input))| {
        let draw = layer.draw?;
        let name = &layer.name;
        let verdict = |figure: f64, text: String, mend: &str| Verdict {
            fault: Fault::OutsideBand,
            layer: name.clone(),
            figure,
            text,
            mend: mend.to_owned(),
        };
        if let Some(x) = outside_range(layer, draw.phi) {
            let text = format!("{name}: an output of {}, which {} never has", short(x), draw.phi);
            return Some(verdict(x, text, "apply the activation"));
        }
        let gradient = as_seen(layer.gradients.as_ref(), layer.gradient_rms.unwrap_or(0.0));
        let [forward, backward] = alone(draw, &input, &gradient);
        let off = |what, band: Band, got: f64| strays(&band, got).map(|off| (what, band, got, off));
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
fn outside_range(layer: &Reading, phi: Activation) -> Option<f64> {
    let (low, high) = phi.range().or_else(|| (phi == Activation::Relu).then_some((0.0, f64::INFINITY)))?;
    let (smallest, largest) = layer.range?;
    // Half precision rounds beyond a range by less than this.
    let slack = 0.01;
    [smallest, largest].into_iter().find(|x| *x < low - slack || *x > high + slack)
}

/// What was seen of a batch; of one that was not looked at, samples that are all copies of one, which makes the widest bands.
fn as_seen(batch: Option<&Batch>, rms: f64) -> Batch {
    batch.cloned().unwrap_or_else(|| Batch::normal(1, 1, rms))
}

/// The bands of a layer by itself: of its outputs' std, and of the gradients' rms behind it.
fn alone(draw: LayerDraw<Activation>, input: &Batch, gradient: &Batch) -> [Band; 2] {
    // In front of it a layer that passes all on, so that there is a gradient behind.
    let nothing = LayerDraw {
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

/// By what factor a number is off, if it is too far outside its band.
fn strays(band: &Band, got: f64) -> Option<f64> {
    let off = (got / band.middle).ln();
    let reach = if off > 0.0 { (band.high / band.middle).ln() } else { (band.middle / band.low).ln() };
    // Rounding and the theory itself are good to a percent.
    (off.abs() > BEYOND * reach + 0.02).then(|| off.exp())
}
