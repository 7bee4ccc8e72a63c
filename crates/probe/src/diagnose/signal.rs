//! Faults of the forward signal: NaN, dying out, blowing up, saturation, samples that become alike.

use wick_theory::BatchGeometry;

use crate::diagnose::cut::meant_zeros;
use crate::diagnose::fault::{
    Fault, Level, MAX_SATURATED, MAX_TOTAL_CHANGE, MIN_SLOPE_FRACTION, MIN_SLOPE_TRAINED, Verdict,
};
use crate::diagnose::layer_report::LayerReport;
use crate::diagnose::remedy::{max_slope, remedy};
use crate::diagnose::trend::Trend;
use crate::text::{percent, short};

/// The first layer with outputs, or else the last one with gradients, that are NaN or infinite, or whose
/// squares are beyond the largest `f64`.
pub(crate) fn non_finite(layers: &[LayerReport]) -> Option<Verdict> {
    let forward = layers.iter().position(|layer| !layer.rms.is_finite() || layer.hides_nan);
    if let Some(layer) =
        forward.map(|index| &layers[index]).filter(|layer| layer.hides_nan && layer.rms.is_finite())
    {
        let phi = layer.phi().map_or_else(|| "the activation".to_owned(), |phi| phi.to_string());
        let text = format!(
            "{}: pre-activations are NaN, in this layer first, and {phi} makes numbers of them",
            layer.name
        );
        return Some(Verdict::new(Fault::NonFinite, Level::Broken, &layer.name, f64::NAN, text));
    }
    let backward = || {
        let is_bad = |layer: &LayerReport| layer.gradient_rms.is_some_and(|rms| !rms.is_finite());
        layers.iter().rposition(is_bad)
    };
    let (index, what, before) = match forward {
        Some(index) => (index, "outputs", layers[..index].iter().map(|layer| layer.rms).collect::<Vec<_>>()),
        None => {
            let index = backward()?;
            let before = layers[index + 1..].iter().rev().filter_map(|layer| layer.gradient_rms).collect();
            (index, "gradients", before)
        }
    };
    let layer = &layers[index];
    let (mean, range, too_large) = match forward {
        Some(_) => (layer.mean, layer.range, Fault::BlowsUp),
        None => (layer.gradient_mean, layer.gradient_range, Fault::ExplodingGradient),
    };
    // A range leaves NaN out, and a mean does not.
    let largest = range.map(|(low, high)| low.abs().max(high.abs())).filter(|largest| largest.is_finite());
    if let Some(largest) = largest.filter(|_| mean.is_some_and(|mean| !mean.is_nan())) {
        return Some(Verdict {
            fault: too_large,
            level: Level::Broken,
            layer: layer.name.clone(),
            figure: largest,
            text: format!(
                "{}: {what} of {} are too large to judge, in this layer first: their squares are beyond the \
                 largest f64",
                layer.name,
                short(largest)
            ),
            remedy: remedy(layers),
        });
    }
    // Numbers that grew all the way, or that are infinite rather than NaN, exceed the range of the type.
    let grew = before.first().zip(before.last()).is_some_and(|(first, last)| last / first > MAX_TOTAL_CHANGE);
    let infinite = layer.range.is_some_and(|(low, high)| low.is_infinite() || high.is_infinite());
    let (reason, remedy) = if grew || (forward.is_some() && infinite) {
        (": they have outgrown the type", remedy(layers))
    } else if forward.is_none() && layers[..=index].iter().any(may_hide_nan) {
        (", or before it, where relu makes 0 of NaN: tap the pre-activations too", String::new())
    } else {
        ("", String::new())
    };
    Some(Verdict {
        fault: Fault::NonFinite,
        level: Level::Broken,
        layer: layer.name.clone(),
        figure: f64::NAN,
        text: format!("{}: {what} are NaN or infinite, in this layer first{reason}", layer.name),
        remedy,
    })
}

/// Whether the layer's activation may be one that makes a number of NaN, and its pre-activations were not read.
fn may_hide_nan(layer: &LayerReport) -> bool {
    layer.phi().is_none_or(|phi| phi == wick_theory::Activation::Relu) && layer.slope_square.is_none()
}

/// The first layer with outputs, or else the last one with gradients, that are not 0 and whose squares are below the
/// smallest `f64` of full precision.
pub(crate) fn too_small(layers: &[LayerReport]) -> Option<Verdict> {
    let largest = |rms: f64, range: Option<(f64, f64)>| {
        let largest = range.map(|(low, high)| low.abs().max(high.abs())).filter(|largest| *largest > 0.0)?;
        (rms < f64::MIN_POSITIVE.sqrt()).then_some(largest)
    };
    let forward = layers.iter().find_map(|layer| Some((layer, largest(layer.rms, layer.range)?)));
    let backward = || {
        let of = |layer: &LayerReport| largest(layer.gradient_rms?, layer.gradient_range);
        layers.iter().rev().find_map(|layer| Some((layer, of(layer)?)))
    };
    let (what, fault, (layer, figure)) = match forward {
        Some(found) => ("outputs", Fault::DiesOut, found),
        None => ("gradients", Fault::VanishingGradient, backward()?),
    };
    let text = format!(
        "{}: {what} of {} are too small to judge, in this layer first: their squares are below the smallest f64",
        layer.name,
        short(figure)
    );
    Some(Verdict::new(fault, Level::Broken, &layer.name, figure, text).with_remedy(remedy(layers)))
}

/// Outputs that shrink or grow by more than a factor of 1000 over the whole net, or that become constant.
/// Layers with too few outputs are skipped, and layers that are dead by chance have a verdict of their own. A
/// change that does not go one way is none, and zeros that may be meant are no end.
pub(crate) fn dying_or_growing(layers: &[LayerReport]) -> Option<Verdict> {
    let zeros = meant_zeros(layers);
    let is_meant = |layer: &LayerReport| zeros.is_some() && layer.is_same();
    let judged =
        || layers.iter().filter(|layer| layer.has_a_scale() && !layer.is_input() && !is_meant(layer));
    let (first, last) = (judged().next()?, judged().next_back()?);
    if let Some(layer) = judged().find(|layer| layer.is_constant()) {
        let what = if layer.rms == 0.0 { "zero" } else { "the same number" };
        let text = format!("dies out: all outputs of {} are {what}", layer.name);
        let verdict = Verdict::new(Fault::DiesOut, Level::Broken, &layer.name, 0.0, text);
        return Some(verdict.with_remedy(remedy(layers)));
    }
    let trend = Trend::of(judged().map(|layer| layer.std));
    if !trend.is_steady() {
        return None;
    }
    let total = last.std / first.std;
    let (fault, what, bound) = if total < 1.0 / MAX_TOTAL_CHANGE {
        (Fault::DiesOut, "dies out: the outputs' std shrinks", "below a tenth of the first")
    } else if total > MAX_TOTAL_CHANGE {
        (Fault::BlowsUp, "blows up: the outputs' std grows", "ten times the first")
    } else {
        return None;
    };
    let is_far = |layer: &&LayerReport| match fault {
        Fault::DiesOut => layer.std < 0.1 * first.std,
        _ => layer.std > 10.0 * first.std,
    };
    let layer = judged().find(is_far).unwrap_or(last).name.clone();
    let text = format!(
        "{what} {}, from {} to {}, {bound} from {layer} on",
        trend.text(),
        short(first.std),
        short(last.std),
    );
    let verdict = Verdict::new(fault, Level::Faulty, &layer, trend.factor, text);
    Some(verdict.with_remedy(remedy(layers)))
}

/// The first layer of a bounded activation most of whose pre-activations are where the activation is flat.
///
/// An input whose numbers are larger than 1 saturates the first layer by as much, and nets learn in spite of it.
pub(crate) fn saturated(layers: &[LayerReport], input: &BatchGeometry, explodes: bool) -> Option<Verdict> {
    let first = layers.iter().position(|layer| !layer.is_input());
    let allowance = |layer: &LayerReport| match first {
        Some(first) if std::ptr::eq(layer, &layers[first]) => input.mean_square.sqrt().max(1.0),
        _ => 1.0,
    };
    let (layer, figure, what) =
        layers.iter().filter(|layer| layer.has_a_scale() && !layer.is_input()).find_map(|layer| {
            // Half of a ReLU is flat by design; dead units are found by another rule.
            let phi = layer.phi().filter(|phi| phi.range().is_some())?;
            let fraction = layer.saturated?;
            let what =
                format!("{} of the pre-activations are where the activation is flat", percent(fraction, 0));
            match layer.slope_square {
                Some(slope_square) => {
                    let passed = allowance(layer) * slope_square / max_slope(phi).powi(2);
                    let least = if layer.after_start { MIN_SLOPE_TRAINED } else { MIN_SLOPE_FRACTION };
                    (passed < least).then(|| {
                        (layer, slope_square, format!("{what}, the mean of φ'² is {}", short(slope_square)))
                    })
                }
                None => (fraction > MAX_SATURATED).then_some((layer, fraction, what)),
            }
        })?;
    let effect =
        if explodes { "few units carry all of the gradient" } else { "hardly any gradient gets through" };
    let text = format!("saturates: in {}, {what}: {effect}", layer.name);
    let verdict = Verdict::new(Fault::Saturated, Level::Faulty, &layer.name, figure, text);
    Some(verdict.with_remedy(remedy(layers)))
}
