//! What is wrong with a net, which layer first, and what would remedy it.

use std::fmt;

use serde::Serialize;
use wick_theory::gaussian::expectation;
use wick_theory::{Activation, BatchGeometry, LayerLaw, predict};

use crate::LayerReport;
use crate::bands::outside_band;
use crate::remedy::{remedy, steepest};
use crate::trend::{Trend, short, times};
use crate::units::MOST as MOST_SAMPLES;

/// What a verdict says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A number is NaN or infinite.
    NonFinite,
    /// A layer makes more or less of its input than its weights should.
    OutsideBand,
    /// The outputs shrink towards nothing.
    DiesOut,
    /// The outputs grow without end.
    BlowsUp,
    /// Most pre-activations are where the activation is flat.
    Saturated,
    /// Units put out the same whatever comes in.
    DeadUnits,
    /// Units are copies of each other.
    SymmetricUnits,
    /// All samples come to look alike.
    RankCollapse,
    /// The gradients shrink on their way back.
    VanishingGradient,
    /// The gradients grow on their way back.
    ExplodingGradient,
    /// Updates are far too large for the weights, or far too small.
    UpdateRatio,
}

/// One thing that is wrong: where first, by how much, and what would remedy it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What.
    pub fault: Fault,
    /// The layer where it is first, in the direction in which it goes.
    pub layer: String,
    /// The number that says so.
    pub figure: f64,
    /// What it says, for people.
    pub text: String,
    /// What would remedy it; empty where that is not known.
    pub remedy: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Over a whole net, a signal or a gradient may change by this factor before it has died out or blown up. Adam makes up for
/// less; half precision does not hold more.
const TOO_FAR: f64 = 1e3;
/// By how much a layer alone may leave its 95 % band, in half widths of the band: about four standard deviations.
pub(crate) const BEYOND: f64 = 2.0;
/// Shares of units or numbers from which they are a fault.
pub(crate) const MOST: f64 = 0.5;
/// The share of a squared gradient that a saturated layer lets through, of what it could.
pub(crate) const FLAT: f64 = 0.1;
const MANY_DEAD: f64 = 0.25;
const MANY_COPIES: f64 = 0.1;
/// A cosine from which all samples are alike.
const ALIKE: f64 = 0.999;
/// A std below this share of the rms is rounding: all outputs are one number.
const ROUNDING: f64 = 1e-7;

/// What is wrong with a net, given its layers from first to last and its input; nothing if it is well. No
/// verdict changes when the loss is multiplied by a number.
///
/// Where it is known how a layer was drawn, what it makes of its measured input is compared with what it should (its 95 % band, by
/// [`finite_width`](wick_theory::finite_width()), twice as wide), so that a layer is not blamed for what comes from below. That
/// takes the [`BatchGeometry`] that comes in: of a layer behind one whose [`batch`](LayerReport::batch) is not known, only the range of the
/// outputs is compared.
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
    if let Some(verdict) = non_finite(layers) {
        return vec![verdict];
    }
    let mut found = Vec::new();
    found.extend(outside_band(layers, input));
    let back = backward(layers, input);
    let explodes = back.as_ref().is_some_and(|verdict| verdict.fault == Fault::ExplodingGradient);
    let saturated = saturated(layers, explodes);
    if saturated.is_none() {
        found.extend(forward(layers));
    }
    found.extend(saturated);
    let collapsed = rank_collapse(layers);
    found.extend(dead_units(layers, input, collapsed.as_ref()));
    found.extend(symmetric_units(layers));
    found.extend(collapsed);
    found.extend(back);
    found
}

fn non_finite(layers: &[LayerReport]) -> Option<Verdict> {
    let forward = layers.iter().position(|layer| !layer.rms.is_finite());
    let backward = || {
        let bad = |layer: &LayerReport| layer.gradient_rms.is_some_and(|rms| !rms.is_finite());
        layers.iter().rposition(bad)
    };
    let (at, what, before) = match forward {
        Some(at) => (at, "outputs", layers[..at].iter().map(|layer| layer.rms).collect::<Vec<_>>()),
        None => {
            let at = backward()?;
            (at, "gradients", layers[at + 1..].iter().rev().filter_map(|layer| layer.gradient_rms).collect())
        }
    };
    let layer = &layers[at];
    // What grew all the way, or is infinite and not NaN, has outgrown the type.
    let grew = before.first().zip(before.last()).is_some_and(|(first, last)| last / first > TOO_FAR);
    let infinite = layer.range.is_some_and(|(low, high)| low.is_infinite() || high.is_infinite());
    let (said, remedy) = if grew || (forward.is_some() && infinite) {
        (": they have outgrown the type", remedy(layers))
    } else {
        ("", String::new())
    };
    Some(Verdict {
        fault: Fault::NonFinite,
        layer: layer.name.clone(),
        figure: f64::NAN,
        text: format!("{}: {what} that are NaN or infinite, here first{said}", layer.name),
        remedy,
    })
}

/// Whether a layer puts out one number and nothing else.
fn is_constant(layer: &LayerReport) -> bool {
    layer.std <= ROUNDING * layer.rms
}

fn forward(layers: &[LayerReport]) -> Option<Verdict> {
    let (first, last) = (layers.first()?, layers.last()?);
    if let Some(layer) = layers.iter().find(|layer| is_constant(layer)) {
        let what = if layer.rms == 0.0 { "zeros come" } else { "one number, everywhere the same, comes" };
        let text = format!("dies out: nothing but {what} out of {}", layer.name);
        let layer = layer.name.clone();
        return Some(Verdict { fault: Fault::DiesOut, layer, figure: 0.0, text, remedy: remedy(layers) });
    }
    let trend = Trend::of(layers.iter().map(|layer| layer.std));
    let total = last.std / first.std;
    let at = |below: bool| {
        let far = |layer: &&LayerReport| {
            if below { layer.std < 0.1 * first.std } else { layer.std > 10.0 * first.std }
        };
        layers.iter().find(far).map_or_else(|| last.name.clone(), |layer| layer.name.clone())
    };
    if total < 1.0 / TOO_FAR {
        let layer = at(true);
        let text = format!(
            "dies out: the outputs' std shrinks {}, from {} to {}, below a tenth of the first from {layer} on",
            trend.text(),
            short(first.std),
            short(last.std),
        );
        return Some(Verdict {
            fault: Fault::DiesOut,
            layer,
            figure: trend.factor,
            text,
            remedy: remedy(layers),
        });
    }
    (total > TOO_FAR).then(|| {
        let layer = at(false);
        let text = format!(
            "blows up: the outputs' std grows {}, from {} to {}, ten times the first from {layer} on",
            trend.text(),
            short(first.std),
            short(last.std),
        );
        Verdict { fault: Fault::BlowsUp, layer, figure: trend.factor, text, remedy: remedy(layers) }
    })
}

fn saturated(layers: &[LayerReport], explodes: bool) -> Option<Verdict> {
    let (layer, figure, said) = layers.iter().find_map(|layer| {
        // The flat side of a ReLU is half of it by design; there, dead units tell.
        let phi = layer.phi().filter(|phi| phi.range().is_some())?;
        let share = layer.saturated?;
        let said = format!("{:.0} % of the pre-activations are where the activation is flat", 100.0 * share);
        match layer.slope_square {
            // What is left of a squared gradient, of what could be.
            Some(slope) => {
                let left = slope / steepest(phi).powi(2);
                (left < FLAT).then(|| (layer, slope, format!("{said}, the mean of φ'² is {}", short(slope))))
            }
            None => (share > MOST).then_some((layer, share, said)),
        }
    })?;
    let rest =
        if explodes { "few units carry all of the gradient" } else { "hardly any gradient gets through" };
    let text = format!("saturates: in {}, {said}: {rest}", layer.name);
    Some(Verdict { fault: Fault::Saturated, layer: layer.name.clone(), figure, text, remedy: remedy(layers) })
}

/// Units that put out the same for every sample: more than there are where the samples that come in are like each other. Where
/// all are alike, every unit is.
fn dead_units(layers: &[LayerReport], input: &BatchGeometry, collapsed: Option<&Verdict>) -> Option<Verdict> {
    let inputs = std::iter::once(Some(input)).chain(layers.iter().map(|layer| layer.batch.as_ref()));
    let until = collapsed.map(|verdict| verdict.layer.as_str());
    let (layer, share) = layers
        .iter()
        .zip(inputs)
        .take_while(|(layer, _)| until != Some(layer.name.as_str()))
        .filter(|(layer, _)| !is_constant(layer))
        .find_map(|(layer, input)| {
            let by_chance = input.map_or(0.0, |input| idle(layer.phi(), input));
            Some((layer, layer.constant.filter(|share| share - by_chance > MANY_DEAD)?))
        })?;
    let text = format!(
        "{}: {:.0} % of its units put out the same for every sample: dead",
        layer.name,
        100.0 * share
    );
    let remedy = "start its bias at 0, or use leaky_relu or gelu".into();
    Some(Verdict { fault: Fault::DeadUnits, layer: layer.name.clone(), figure: share, text, remedy })
}

/// The share of the units that are on their flat side for all samples, without biases: of pre-activations of the samples'
/// correlation, `E Φ(-√(c/(1-c)) g)^n`, `g` standard normal. Of activations that are flat to the left only, or not known.
fn idle(phi: Option<Activation>, input: &BatchGeometry) -> f64 {
    let flat = phi.is_none_or(|phi| {
        let (low, high) = phi.saturation_thresholds();
        low.is_finite() && high.is_infinite()
    });
    if !flat || input.cosine <= 0.0 {
        return 0.0;
    }
    let ratio = (input.cosine / (1.0 - input.cosine).max(1e-9)).sqrt();
    let samples = input.samples.min(MOST_SAMPLES) as i32;
    let below = |x: f64| 0.5 * (1.0 + Activation::Erf.value(x * std::f64::consts::FRAC_1_SQRT_2));
    expectation(|g| below(-ratio * g).powi(samples), 1.0, &[])
}

fn symmetric_units(layers: &[LayerReport]) -> Option<Verdict> {
    let many = |layer: &LayerReport| layer.copies.filter(|share| *share > MANY_COPIES);
    let (layer, share) = layers.iter().find_map(|layer| Some((layer, many(layer)?)))?;
    let text =
        format!("{}: {:.0} % of its units are copies of others, and will stay so", layer.name, 100.0 * share);
    let remedy = "draw its weights at random, each by itself".into();
    Some(Verdict { fault: Fault::SymmetricUnits, layer: layer.name.clone(), figure: share, text, remedy })
}

fn rank_collapse(layers: &[LayerReport]) -> Option<Verdict> {
    let cosine = |layer: &LayerReport| {
        layer.batch.as_ref().filter(|batch| batch.samples > 1).map(|batch| batch.cosine)
    };
    let alike =
        |layer: &&LayerReport| !is_constant(layer) && cosine(layer).is_some_and(|cosine| cosine > ALIKE);
    let layer = layers.iter().find(alike)?;
    let cosine = cosine(layer)?;
    let text = format!("{}: all samples look alike, their cosine is {cosine:.5}", layer.name);
    let remedy = "weights of a larger σ or smaller biases keep them apart".into();
    Some(Verdict { fault: Fault::RankCollapse, layer: layer.name.clone(), figure: cosine, text, remedy })
}

fn backward(layers: &[LayerReport], input: &BatchGeometry) -> Option<Verdict> {
    let known: Vec<&LayerReport> = layers.iter().rev().filter(|layer| layer.gradient_rms.is_some()).collect();
    let rms = |layer: &LayerReport| layer.gradient_rms.unwrap_or(f64::NAN);
    let (first, last) = (known.last()?, known.first()?);
    if let Some(layer) = known.iter().find(|layer| layer.gradient_rms == Some(0.0)) {
        let text = format!("the gradients vanish: none gets to {}", layer.name);
        let (fault, layer) = (Fault::VanishingGradient, layer.name.clone());
        return Some(Verdict { fault, layer, figure: 0.0, text, remedy: remedy(layers) });
    }
    let trend = Trend::of(known.iter().map(|layer| rms(layer)));
    let total = rms(first) / rms(last);
    let (fault, word, far) = if total < 1.0 / TOO_FAR {
        (Fault::VanishingGradient, "vanish", 0.1)
    } else if total > TOO_FAR {
        (Fault::ExplodingGradient, "explode", 10.0)
    } else {
        return None;
    };
    // On the way back, the first layer whose gradient is off by ten.
    let is_far = |layer: &&&LayerReport| (rms(layer) / rms(last)).ln() / f64::ln(far) > 1.0;
    let layer = known.iter().find(is_far).unwrap_or(first).name.clone();
    let text = format!(
        "the gradients {word}: their rms changes {} on its way back{}, from {} to {}, by more than ten from {layer} down",
        trend.text(),
        by_theory(layers, input),
        short(rms(last)),
        short(rms(first)),
    );
    Some(Verdict { fault, layer, figure: trend.factor, text, remedy: remedy(layers) })
}

/// By how much theory says that gradients change from layer to layer, where it is known how all layers were drawn.
fn by_theory(layers: &[LayerReport], input: &BatchGeometry) -> String {
    let draws: Option<Vec<LayerLaw<Activation>>> = layers.iter().map(|layer| layer.draw).collect();
    let predicted = draws.map(|draws| predict(&draws, input.mean_square, 1.0));
    match predicted.as_deref() {
        Some([first, .., last]) => {
            let steps = layers.len() as f64 - 1.0;
            format!(", by theory {}", times((first.gradient_rms / last.gradient_rms).powf(1.0 / steps)))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
