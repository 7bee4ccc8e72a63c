//! Signals in one dimension.

use wick_init::{Initializer, KeyedV1};

use super::draws::{Drawn, Numbers, drawn};
use crate::error::Error;

/// The numbers of a signal.
pub(super) const LENGTH: usize = 40;
/// The classes.
pub(super) const CLASSES: usize = 10;

/// The numbers of a template.
const TEMPLATE: usize = 12;
/// The places behind a template that are empty, from the fewest on: 36 to 60.
const PADDING: (usize, usize) = (36, 25);
/// The largest shift of the signal, which is stretched to this many numbers more than are left of it.
const MOST_SHIFT: usize = 48;
/// The most numbers of a signal before it is sampled.
pub(super) const WIDEST: usize = LENGTH + MOST_SHIFT;
/// A signal is scaled by 1 ± this.
const SCALE: f64 = 0.2;
/// The standard deviation of the noise before it is smoothed, and the width of the smoothing.
const CORRELATED: (f64, f64) = (0.25, 2.0);
/// The standard deviation of the white noise.
const WHITE: f64 = 0.02;
/// The largest slope that is added, over the whole signal.
const SHEAR: f64 = 0.375;

/// What a pen does that writes a digit from top to bottom: how far it is to the right, from -1 to 1.
const TEMPLATES: [[f64; TEMPLATE]; CLASSES] = [
    [0.0, 0.6, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.6, 0.0],
    [0.0, -0.6, -0.3, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.0],
    [0.0, 0.5, 0.9, 0.9, 0.6, 0.2, -0.2, -0.6, -0.9, -0.9, 0.2, 0.0],
    [0.0, 0.6, 0.9, 0.8, 0.3, 0.0, 0.3, 0.8, 0.9, 0.8, 0.4, 0.0],
    [0.0, -0.2, -0.5, -0.8, -1.0, -0.9, 0.3, 0.7, 0.4, 0.4, 0.4, 0.0],
    [0.0, -0.8, -0.9, -0.9, -0.4, 0.3, 0.8, 0.9, 0.8, 0.3, -0.5, 0.0],
    [0.0, -0.4, -0.7, -0.9, -1.0, -1.0, -0.4, 0.4, 0.6, 0.3, -0.3, 0.0],
    [0.0, 0.9, 1.0, 0.8, 0.6, 0.3, 0.1, -0.1, -0.3, -0.4, -0.5, 0.0],
    [0.0, 0.5, 0.6, 0.3, -0.3, -0.6, 0.0, 0.7, 0.8, 0.4, -0.6, 0.0],
    [0.0, -0.5, -0.7, -0.4, 0.2, 0.7, 0.8, 0.8, 0.7, 0.5, 0.2, 0.0],
];

pub(super) fn draw(seed: KeyedV1, count: usize) -> Result<Drawn, Error> {
    let numbers = |law: Initializer, name: &str, columns: usize| {
        drawn(&law, seed.key(&format!("synthetic/mnist1d/{name}")), (count, columns))
    };
    // Padding, shift, scale and slope of each signal.
    let changes = numbers(Initializer::uniform(1.0), "changes", 4)?;
    let correlated = numbers(Initializer::normal(CORRELATED.0), "correlated", LENGTH + MOST_SHIFT)?;
    let white = numbers(Initializer::normal(WHITE), "white", LENGTH)?;
    let kernel = smoothing(CORRELATED.1);
    let (mut features, mut classes) = (Vec::with_capacity(count * LENGTH), Vec::with_capacity(count));
    for sample in 0..count {
        let class = sample % CLASSES;
        let changes = &changes[4 * sample..4 * sample + 4];
        let below = |count: usize, x: f64| (((x + 1.0) / 2.0 * count as f64) as usize).min(count - 1);
        let mut padded = TEMPLATES[class].to_vec();
        padded.resize(TEMPLATE + PADDING.0 + below(PADDING.1, changes[0]), 0.0);
        let stretched = resampled(&padded, LENGTH + MOST_SHIFT);
        let shift = below(MOST_SHIFT, changes[1]);
        let noise = &correlated[sample * stretched.len()..(sample + 1) * stretched.len()];
        let noise = convolved(noise, &kernel);
        let at = |place: usize| (place + stretched.len() - shift) % stretched.len();
        let whole: Vec<f64> = (0..stretched.len())
            .map(|place| stretched[at(place)] * (1.0 + SCALE * changes[2]) + noise[place])
            .collect();
        let signal = resampled(&whole, LENGTH);
        features.extend((0..LENGTH).map(|place| {
            let along = place as f64 / (LENGTH - 1) as f64 - 0.5;
            signal[place] + SHEAR * changes[3] * along + white[sample * LENGTH + place]
        }));
        classes.push(class as u32);
    }
    Ok(Drawn { features, targets: Numbers::Classes(classes) })
}

/// A signal at this many places that are spread evenly over it, linear between its numbers.
fn resampled(signal: &[f64], length: usize) -> Vec<f64> {
    let step = (signal.len() - 1) as f64 / (length - 1) as f64;
    let at = |place: usize| {
        let x = place as f64 * step;
        let left = (x as usize).min(signal.len() - 2);
        let part = x - left as f64;
        signal[left] * (1.0 - part) + signal[left + 1] * part
    };
    (0..length).map(at).collect()
}

/// The weights of a Gaussian smoothing, to four widths on either side.
fn smoothing(width: f64) -> Vec<f64> {
    let reach = (4.0 * width) as i32;
    let weights: Vec<f64> =
        (-reach..=reach).map(|x| libm::exp(-0.5 * (f64::from(x) / width) * (f64::from(x) / width))).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// A signal smoothed by weights, where it is reflected at its ends.
fn convolved(signal: &[f64], weights: &[f64]) -> Vec<f64> {
    let (n, reach) = (signal.len() as i64, weights.len() as i64 / 2);
    let at = |place: i64| {
        let place = if place < 0 { -1 - place } else { place };
        signal[(if place >= n { 2 * n - 1 - place } else { place }) as usize]
    };
    (0..n)
        .map(|place| (-reach..=reach).zip(weights).map(|(k, weight)| weight * at(place + k)).sum())
        .collect()
}
