//! What is wrong with a net, which layer first, and what would mend it.

use std::fmt;

use serde::Serialize;
use wick_theory::{Activation, Batch, LayerDraw, MeanField, predict};

use crate::bands::outside_band;
use crate::course::{Course, short, times};
use crate::{Record, Units};

/// What is known of a layer: what was measured, and how it was drawn where that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The tap's name.
    pub name: String,
    /// The standard deviation of the outputs.
    pub std: f64,
    /// Their root mean square.
    pub rms: f64,
    /// The root mean square of the loss's gradient with respect to them.
    pub gradient_rms: Option<f64>,
    /// The share of the pre-activations in the flat tails.
    pub saturated: Option<f64>,
    /// The mean of `φ'²` over the pre-activations.
    pub slope_square: Option<f64>,
    /// The share of the units that put out the same for all samples.
    pub constant: Option<f64>,
    /// The share of the units that are copies of another one.
    pub copies: Option<f64>,
    /// The smallest and the largest output.
    pub range: Option<(f64, f64)>,
    /// The samples' outputs, and the gradients that came back to them: their lengths and cosines.
    pub batch: Option<Batch>,
    /// The same of the gradients.
    pub gradients: Option<Batch>,
    /// How the layer was drawn.
    pub draw: Option<LayerDraw<Activation>>,
}

impl Reading {
    /// What a record holds.
    pub fn of(record: &Record) -> Self {
        let units = record.units.as_ref();
        // Units are those of some samples; the mean square is that of all.
        let seen = |units: Option<&Units>, rms: f64| {
            units.map(|units| Batch { mean_square: rms * rms, ..units.batch.clone() })
        };
        let gradient_rms = record.backward.as_ref().map(|gradient| gradient.rms);
        Self {
            name: record.name.clone(),
            std: record.forward.std,
            rms: record.forward.rms,
            gradient_rms,
            saturated: record.saturated,
            slope_square: record.slope_square,
            constant: units.map(|units| units.constant),
            copies: units.map(|units| units.copies),
            range: Some((record.forward.min, record.forward.max)),
            batch: seen(units, record.forward.rms),
            gradients: seen(record.gradient_units.as_ref(), gradient_rms.unwrap_or(0.0)),
            draw: None,
        }
    }

    /// The same, with how the layer was drawn: a verdict then compares it with theory.
    pub fn with_draw(self, draw: LayerDraw<Activation>) -> Self {
        Self { draw: Some(draw), ..self }
    }
}

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

/// One thing that is wrong: where first, by how much, and what would mend it.
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
    /// What would mend it; empty where that is not known.
    pub mend: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.mend.is_empty() { Ok(()) } else { write!(f, "; {}", self.mend) }
    }
}

/// Over a whole net, a signal or a gradient may change by this factor before it has died out or blown up. Adam makes up for
/// less; half precision does not hold more.
const TOO_FAR: f64 = 1e3;
/// By how much a layer alone may leave its 95 % band, in half widths of the band: about four standard deviations.
pub(crate) const BEYOND: f64 = 2.0;
/// Shares of units or numbers from which they are a fault.
const MOST: f64 = 0.5;
/// The share of a squared gradient that a saturated layer lets through, of what it could.
const FLAT: f64 = 0.1;
const MANY_DEAD: f64 = 0.25;
const MANY_COPIES: f64 = 0.1;
/// A cosine from which all samples are alike.
const ALIKE: f64 = 0.999;

/// What is wrong with a net, given its layers from first to last and its input; nothing if it is well. No
/// verdict changes when the loss is multiplied by a number.
///
/// Where it is known how a layer was drawn, what it makes of its measured input is compared with what it should (its 95 % band, by
/// [`finite_width`](wick_theory::finite_width()), twice as wide), so that a layer is not blamed for what comes from below.
///
/// ```
/// use wick_probe::{Fault, Reading, judge};
/// use wick_theory::Batch;
///
/// let layer = |index: i32| Reading {
///     name: format!("layer_{index}"),
///     std: 0.27f64.powi(index),
///     rms: 0.27f64.powi(index),
///     gradient_rms: None,
///     saturated: None,
///     slope_square: None,
///     constant: None,
///     copies: None,
///     range: None,
///     batch: None,
///     gradients: None,
///     draw: None,
/// };
/// let verdicts = judge(&(1..10).map(layer).collect::<Vec<_>>(), &Batch::normal(100, 50, 1.0));
/// assert_eq!(verdicts[0].fault, Fault::DiesOut);
/// assert!(verdicts[0].text.starts_with("dies out: the outputs' std shrinks ×0.27 a layer"));
/// ```
pub fn judge(layers: &[Reading], input: &Batch) -> Vec<Verdict> {
    if let Some(verdict) = non_finite(layers) {
        return vec![verdict];
    }
    let mut found = Vec::new();
    found.extend(outside_band(layers, input));
    let saturated = saturated(layers);
    if saturated.is_none() {
        found.extend(forward(layers));
    }
    found.extend(saturated);
    found.extend(share(layers, Fault::DeadUnits, MANY_DEAD, |layer| layer.constant));
    found.extend(share(layers, Fault::SymmetricUnits, MANY_COPIES, |layer| layer.copies));
    found.extend(rank_collapse(layers));
    found.extend(backward(layers, input));
    found
}

fn non_finite(layers: &[Reading]) -> Option<Verdict> {
    let forward = layers.iter().find(|layer| !layer.rms.is_finite()).map(|layer| (layer, "outputs"));
    let backward = || {
        let bad = |layer: &&Reading| layer.gradient_rms.is_some_and(|rms| !rms.is_finite());
        layers.iter().rev().find(bad).map(|layer| (layer, "gradients"))
    };
    forward.or_else(backward).map(|(layer, what)| Verdict {
        fault: Fault::NonFinite,
        layer: layer.name.clone(),
        figure: f64::NAN,
        text: format!("{}: {what} that are NaN or infinite, here first", layer.name),
        mend: String::new(),
    })
}

fn forward(layers: &[Reading]) -> Option<Verdict> {
    let (first, last) = (layers.first()?, layers.last()?);
    if let Some(layer) = layers.iter().find(|layer| layer.rms == 0.0) {
        let text = format!("dies out: nothing but zeros comes out of {}", layer.name);
        let layer = layer.name.clone();
        return Some(Verdict { fault: Fault::DiesOut, layer, figure: 0.0, text, mend: mend(layers) });
    }
    let course = Course::of(layers.iter().map(|layer| layer.std));
    let total = last.std / first.std;
    let at = |below: bool| {
        let far =
            |layer: &&Reading| if below { layer.std < 0.1 * first.std } else { layer.std > 10.0 * first.std };
        layers.iter().find(far).map_or_else(|| last.name.clone(), |layer| layer.name.clone())
    };
    if total < 1.0 / TOO_FAR {
        let layer = at(true);
        let text = format!(
            "dies out: the outputs' std shrinks {}, from {} to {}, below a tenth of the first from {layer} on",
            course.text(),
            short(first.std),
            short(last.std),
        );
        return Some(Verdict {
            fault: Fault::DiesOut,
            layer,
            figure: course.factor,
            text,
            mend: mend(layers),
        });
    }
    (total > TOO_FAR).then(|| {
        let layer = at(false);
        let text = format!(
            "blows up: the outputs' std grows {}, from {} to {}, ten times the first from {layer} on",
            course.text(),
            short(first.std),
            short(last.std),
        );
        Verdict { fault: Fault::BlowsUp, layer, figure: course.factor, text, mend: mend(layers) }
    })
}

fn saturated(layers: &[Reading]) -> Option<Verdict> {
    let (layer, figure, said) = layers.iter().find_map(|layer| {
        // The flat side of a ReLU is half of it by design; there, dead units tell.
        let bounded = layer.draw.is_none_or(|draw| draw.phi.range().is_some());
        let share = layer.saturated.filter(|_| bounded)?;
        let said = format!("{:.0} % of the pre-activations are where the activation is flat", 100.0 * share);
        match (layer.slope_square, layer.draw) {
            // What is left of a squared gradient, of what could be.
            (Some(slope), Some(draw)) => {
                let left = slope / steepest(draw.phi).powi(2);
                (left < FLAT).then(|| (layer, slope, format!("{said}, the mean of φ'² is {}", short(slope))))
            }
            _ => (share > MOST).then_some((layer, share, said)),
        }
    })?;
    let text = format!("saturates: in {}, {said}: hardly any gradient gets through", layer.name);
    Some(Verdict { fault: Fault::Saturated, layer: layer.name.clone(), figure, text, mend: mend(layers) })
}

/// The largest slope of a bounded activation.
fn steepest(phi: Activation) -> f64 {
    (-800..=800).map(|x| phi.derivative(f64::from(x) / 100.0).abs()).fold(0.0, f64::max)
}

fn share(
    layers: &[Reading],
    fault: Fault,
    most: f64,
    of: impl Fn(&Reading) -> Option<f64>,
) -> Option<Verdict> {
    let (layer, share) =
        layers.iter().find_map(|layer| Some((layer, of(layer).filter(|share| *share > most)?)))?;
    let (what, mend) = if fault == Fault::DeadUnits {
        ("put out the same for every sample: dead", "start its bias at 0, or use leaky_relu or gelu")
    } else {
        ("are copies of others, and will stay so", "draw its weights at random, each by itself")
    };
    let text = format!("{}: {:.0} % of its units {what}", layer.name, 100.0 * share);
    Some(Verdict { fault, layer: layer.name.clone(), figure: share, text, mend: mend.into() })
}

fn rank_collapse(layers: &[Reading]) -> Option<Verdict> {
    let cosine =
        |layer: &Reading| layer.batch.as_ref().filter(|batch| batch.samples > 1).map(|batch| batch.cosine);
    let alike = |layer: &&Reading| cosine(layer).is_some_and(|cosine| cosine > ALIKE);
    let layer = layers.iter().find(alike)?;
    let cosine = cosine(layer)?;
    let text = format!("{}: all samples look alike, their cosine is {cosine:.5}", layer.name);
    let mend = "weights of a larger σ or smaller biases keep them apart".into();
    Some(Verdict { fault: Fault::RankCollapse, layer: layer.name.clone(), figure: cosine, text, mend })
}

fn backward(layers: &[Reading], input: &Batch) -> Option<Verdict> {
    let known: Vec<&Reading> = layers.iter().rev().filter(|layer| layer.gradient_rms.is_some()).collect();
    let rms = |layer: &Reading| layer.gradient_rms.unwrap_or(f64::NAN);
    let (first, last) = (known.last()?, known.first()?);
    if let Some(layer) = known.iter().find(|layer| layer.gradient_rms == Some(0.0)) {
        let text = format!("the gradients vanish: none gets to {}", layer.name);
        let (fault, layer) = (Fault::VanishingGradient, layer.name.clone());
        return Some(Verdict { fault, layer, figure: 0.0, text, mend: mend(layers) });
    }
    let course = Course::of(known.iter().map(|layer| rms(layer)));
    let total = rms(first) / rms(last);
    let (fault, word, far) = if total < 1.0 / TOO_FAR {
        (Fault::VanishingGradient, "vanish", 0.1)
    } else if total > TOO_FAR {
        (Fault::ExplodingGradient, "explode", 10.0)
    } else {
        return None;
    };
    // On the way back, the first layer whose gradient is off by ten.
    let is_far = |layer: &&&Reading| (rms(layer) / rms(last)).ln() / f64::ln(far) > 1.0;
    let layer = known.iter().find(is_far).unwrap_or(first).name.clone();
    let text = format!(
        "the gradients {word}: their rms changes {} on its way back{}, from {} to {}, by more than ten from {layer} down",
        course.text(),
        by_theory(layers, input),
        short(rms(last)),
        short(rms(first)),
    );
    Some(Verdict { fault, layer, figure: course.factor, text, mend: mend(layers) })
}

/// By how much theory says that gradients change from layer to layer, where it is known how all layers were drawn.
fn by_theory(layers: &[Reading], input: &Batch) -> String {
    let draws: Option<Vec<LayerDraw<Activation>>> = layers.iter().map(|layer| layer.draw).collect();
    let predicted = draws.map(|draws| predict(&draws, input.mean_square, 1.0));
    match predicted.as_deref() {
        Some([first, .., last]) => {
            let steps = layers.len() as f64 - 1.0;
            format!(", by theory {}", times((first.gradient_rms / last.gradient_rms).powf(1.0 / steps)))
        }
        _ => String::new(),
    }
}

/// The weights that would do, where it is known what the layers are.
fn mend(layers: &[Reading]) -> String {
    let Some(draw) =
        layers.iter().find_map(|layer| layer.draw.filter(|draw| draw.phi != Activation::Identity))
    else {
        return String::new();
    };
    let field = MeanField { phi: draw.phi, weight_variance: 0.0, bias_variance: 0.0 };
    let critical = field.critical().or_else(|| field.critical_point());
    let (variance, bias) =
        critical.map_or((draw.phi.gain().powi(2), 0.0), |at| (at.weight_variance, at.bias_variance));
    let sigma = (variance / draw.fan_in as f64).sqrt();
    let bias =
        if bias > 1e-6 { format!(" and biases of σ = {}", short(bias.sqrt())) } else { String::new() };
    let variance = short(variance).trim_end_matches('0').trim_end_matches('.').to_owned();
    format!("{} keeps its signals with Var W = {variance}/fan_in, here σ = {}{bias}", draw.phi, short(sigma))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
