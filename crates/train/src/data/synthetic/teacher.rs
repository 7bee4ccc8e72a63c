//! Classes of a net with random weights.

use wick_init::{Initializer, KeyedV1};

use super::draws::{Drawn, Numbers, drawn, product};
use crate::error::Error;

/// The variance of a weight times fan_in: large enough that the classes are no linear matter.
const WEIGHT_VARIANCE: f64 = 4.0;

pub(super) fn draw(
    seed: KeyedV1,
    count: usize,
    [features, width, depth, classes]: [usize; 4],
) -> Result<Drawn, Error> {
    let xs = drawn(&Initializer::normal(1.0), seed.key("synthetic/teacher/x"), (count, features))?;
    let mut h = xs.clone();
    let mut inputs = features;
    for layer in 0..=depth {
        let outputs = if layer == depth { classes } else { width };
        let law = Initializer::normal((WEIGHT_VARIANCE / inputs as f64).sqrt());
        let weights = drawn(&law, seed.key(&format!("synthetic/teacher/layer_{layer}")), (outputs, inputs))?;
        h = product(&h, &weights, inputs);
        if layer < depth {
            h.iter_mut().for_each(|x| *x = libm::tanh(*x));
        }
        inputs = outputs;
    }
    // No class is rare if each output has the mean 0 and the variance 1.
    let n = count as f64;
    let (mut means, mut squares) = (vec![0.0; classes], vec![0.0; classes]);
    for row in h.chunks_exact(classes) {
        means.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / n);
        squares.iter_mut().zip(row).for_each(|(square, x)| *square += x * x / n);
    }
    let stds: Vec<f64> =
        squares.iter().zip(&means).map(|(square, mean)| (square - mean * mean).sqrt()).collect();
    let largest = |row: &[f64]| {
        let above = |k: usize| (row[k] - means[k]) / stds[k];
        (1..classes).fold(0, |best, k| if above(k) > above(best) { k } else { best }) as u32
    };
    let targets = Numbers::Classes(h.chunks_exact(classes).map(largest).collect());
    Ok(Drawn { features: xs, targets })
}
