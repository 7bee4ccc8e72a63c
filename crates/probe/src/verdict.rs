//! What is wrong with a net, which layer first, and what would mend it.

use std::fmt;

use serde::Serialize;
use wick_theory::{Activation, Band, Batch, LayerDraw, MeanField, finite_width, predict};

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
const BEYOND: f64 = 2.0;
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
/// [`finite_width`], twice as wide), so that a layer is not blamed for what comes from below.
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

/// The first layer that makes more or less of its input, or of the gradient that comes back to it, than it should. The last
/// layer's gradients are spared: a loss ties them to its outputs.
fn outside_band(layers: &[Reading], input: &Batch) -> Option<Verdict> {
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

/// How a number goes from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Course {
    /// By the least squares line through the logarithms, with its 95 % interval.
    factor: f64,
    low: f64,
    high: f64,
    /// The power of the layer's number, from 1, by the same; and whether that fits better.
    power: f64,
    by_power: bool,
}

impl Course {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let logs: Vec<f64> = values.map(f64::ln).collect();
        let (slope, miss) = line(&logs, |index| index as f64);
        let (power, power_miss) = line(&logs, |index| ((index + 1) as f64).ln());
        // The variance of the slope is that of what is left over the sum of the squares of 0, 1, … about their mean.
        let n = logs.len() as f64;
        let squares = n * (n * n - 1.0) / 12.0;
        let error = (miss * n / (n - 2.0).max(1.0) / squares.max(0.5)).sqrt();
        let at = |errors: f64| (slope + errors * error).exp();
        Self { factor: at(0.0), low: at(-1.96), high: at(1.96), power, by_power: power_miss < miss }
    }

    /// `×0.22 a layer (×0.21 to ×0.23)`.
    fn text(&self) -> String {
        format!("{} a layer ({} to {})", times(self.factor), times(self.low), times(self.high))
    }
}

/// The slope of the least squares line, and the mean square by which it misses.
fn line(ys: &[f64], x: impl Fn(usize) -> f64) -> (f64, f64) {
    let n = ys.len() as f64;
    let xs: Vec<f64> = (0..ys.len()).map(x).collect();
    let (mx, my) = (xs.iter().sum::<f64>() / n, ys.iter().sum::<f64>() / n);
    let (mut xx, mut xy) = (0.0, 0.0);
    for (x, y) in xs.iter().zip(ys) {
        xx += (x - mx).powi(2);
        xy += (x - mx) * (y - my);
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let miss = xs.iter().zip(ys).map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum::<f64>() / n;
    (slope, miss)
}

/// What a healthy net does with its signals, in a sentence.
///
/// ```
/// use wick_probe::course;
///
/// assert_eq!(course(&[0.63, 0.49, 0.42, 0.37, 0.33, 0.31]), "lives but shrinks like 1/√depth");
/// assert_eq!(course(&[0.58, 0.6, 0.57, 0.59]), "lives and keeps its scale");
/// ```
pub fn course(stds: &[f64]) -> String {
    let course = Course::of(stds.iter().copied());
    let total = stds.last().copied().unwrap_or(1.0) / stds.first().copied().unwrap_or(1.0);
    if (0.8..=1.25).contains(&total) || stds.len() < 3 {
        "lives and keeps its scale".into()
    } else if course.by_power && (-0.65..=-0.3).contains(&course.power) {
        "lives but shrinks like 1/√depth".into()
    } else {
        let word = if total < 1.0 { "shrinks" } else { "grows" };
        format!("lives but {word} {} a layer", times(course.factor))
    }
}

/// A number with three digits.
fn short(x: f64) -> String {
    if (1e-3..1e4).contains(&x.abs()) {
        let digits = (2 - x.abs().log10().floor() as i32).max(0) as usize;
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

fn times(x: f64) -> String {
    if (0.01..100.0).contains(&x) {
        format!("×{}", short((x * 100.0).round() / 100.0).trim_end_matches('0').trim_end_matches('.'))
    } else {
        format!("×{}", short(x))
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
