//! Central differences, from plain `f64` loops that share no code with the tensors.

use anyhow::Result;
use wick_bins::data::numbers as vector;
use wick_model::Activation;
use wick_model::loss::Loss;

use crate::net::{Forward, Net};

/// The step for numbers of size 1: about the cube root of the rounding error of `f64`.
pub(crate) const STEP: f64 = 1e-5;

/// Returns indices and slopes for each gradient of [`NAMES`](crate::net::NAMES), at most `most` of them. An
/// entry whose step would cross a kink of the activation has no slope and is left out.
pub(crate) fn all(net: &Net, forward: &Forward, most: usize) -> Result<Vec<Vec<(usize, f64)>>> {
    let plain = Plain::new(net)?;
    let (z, h, o) = (vector(&forward.z)?, vector(&forward.h)?, vector(&forward.o)?);
    let always = |_: usize, _: f64| true;
    let s_w1 = |w1: &[f64]| plain.penalty(w1, &plain.w2);
    let s_w2 = |w2: &[f64]| plain.penalty(&plain.w1, w2);
    Ok(vec![
        slopes(&o, most, |o| plain.loss(o), always),
        slopes(&plain.w1, most, s_w1, always),
        slopes(&plain.w2, most, s_w2, always),
        slopes(&plain.w2, most, |w2| plain.loss(&plain.o(&h, w2)) + s_w2(w2), always),
        slopes(&h, most, |h| plain.loss(&plain.o(h, &plain.w2)), always),
        slopes(
            &z,
            most,
            |z| plain.loss(&plain.o(&plain.h(z), &plain.w2)),
            |index, step| !plain.crosses(z[index], step),
        ),
        slopes(
            &plain.w1,
            most,
            |w1| plain.loss(&plain.o(&plain.h(&plain.z(w1)), &plain.w2)) + s_w1(w1),
            |index, step| plain.weight_is_smooth(index, step, &z),
        ),
    ])
}

/// Returns `(f(v + h) - f(v - h))/2h` for up to `most` evenly spaced entries of `v`.
fn slopes(
    values: &[f64],
    most: usize,
    f: impl Fn(&[f64]) -> f64,
    is_smooth: impl Fn(usize, f64) -> bool,
) -> Vec<(usize, f64)> {
    if most == 0 {
        return Vec::new();
    }
    let stride = values.len().div_ceil(most).max(1);
    let mut moved = values.to_vec();
    let mut slopes = Vec::new();
    for index in (0..values.len()).step_by(stride) {
        let value = values[index];
        let step = STEP * value.abs().max(1.0);
        if !is_smooth(index, step) {
            continue;
        }
        // The step that counts is the rounded one.
        let (above, below) = (value + step, value - step);
        moved[index] = above;
        let high = f(&moved);
        moved[index] = below;
        let low = f(&moved);
        moved[index] = value;
        slopes.push((index, (high - low) / (above - below)));
    }
    slopes
}

/// The net on vectors, with matrices row by row.
struct Plain {
    x: Vec<f64>,
    y: Vec<f64>,
    w1: Vec<f64>,
    w2: Vec<f64>,
    features: usize,
    hidden: usize,
    outputs: usize,
    activation: Activation,
    loss: Loss,
    lambda: f64,
}

impl Plain {
    fn new(net: &Net) -> Result<Self> {
        let ((hidden, features), (outputs, _)) = (net.w1.dims2()?, net.w2.dims2()?);
        Ok(Self {
            x: vector(&net.x)?,
            y: vector(&net.y)?,
            w1: vector(&net.w1)?,
            w2: vector(&net.w2)?,
            features,
            hidden,
            outputs,
            activation: net.activation,
            loss: net.loss,
            lambda: net.lambda,
        })
    }

    fn z(&self, w1: &[f64]) -> Vec<f64> {
        product(&self.x, w1, self.features)
    }

    fn h(&self, z: &[f64]) -> Vec<f64> {
        z.iter().map(|&z| self.activation.value(z)).collect()
    }

    fn o(&self, h: &[f64], w2: &[f64]) -> Vec<f64> {
        product(h, w2, self.hidden)
    }

    fn loss(&self, o: &[f64]) -> f64 {
        let batch = (o.len() / self.outputs) as f64;
        let rows = o.chunks(self.outputs).zip(self.y.chunks(self.outputs));
        let sum: f64 = match self.loss {
            Loss::Squared => {
                rows.map(|(o, y)| o.iter().zip(y).map(|(o, y)| 0.5 * (o - y).powi(2)).sum::<f64>()).sum()
            }
            Loss::CrossEntropy => rows
                .map(|(o, y)| {
                    let largest = o.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let log_sum = largest + o.iter().map(|o| (o - largest).exp()).sum::<f64>().ln();
                    o.iter().zip(y).map(|(o, y)| y * (log_sum - o)).sum::<f64>()
                })
                .sum(),
        };
        sum / batch
    }

    fn penalty(&self, w1: &[f64], w2: &[f64]) -> f64 {
        0.5 * self.lambda * w1.iter().chain(w2).map(|w| w * w).sum::<f64>()
    }

    /// Whether a step of this size to either side of z reaches a kink of the activation.
    fn crosses(&self, z: f64, step: f64) -> bool {
        self.activation.kinks().iter().any(|kink| (z - kink).abs() <= step)
    }

    /// Whether a step of a weight of the first layer keeps every z that it changes away from the kinks.
    fn weight_is_smooth(&self, index: usize, step: f64, z: &[f64]) -> bool {
        let (unit, feature) = (index / self.features, index % self.features);
        let samples = self.x.chunks(self.features).zip(z.chunks(self.hidden));
        samples.into_iter().all(|(x, z)| !self.crosses(z[unit], step * x[feature].abs()))
    }
}

/// Returns `a bᵀ` for matrices whose rows are `inner` long.
fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    a.chunks(inner).flat_map(|a| b.chunks(inner).map(move |b| dot(a, b))).collect()
}
