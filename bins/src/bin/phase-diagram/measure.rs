//! Measures one cell: a random net with its σ_w and σ_b, and the signals of a batch in it.

use anyhow::Result;
use candle_core::Tensor;
use rand::Rng;
use wick_bins::args::Target;
use wick_bins::data::numbers;
use wick_init::{InitMap, Initializer, KeyedV1, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;
use wick_theory::BatchGeometry;

use crate::plane::{Cell, Experiment, Measured};

/// Draws the net of a cell, which depends only on the seed and on the position of the cell, and measures it.
pub(crate) fn cell(
    experiment: &Experiment,
    at: [usize; 2],
    phi: Activation,
    target: &Target,
) -> Result<Cell> {
    let [sigma_w, sigma_b] = experiment.sigmas(at);
    let name = format!("phase-diagram/{}/{}", at[0], at[1]);
    let Experiment { width, depth, samples, .. } = *experiment;
    let seed = KeyedV1::new(experiment.seed).key(&name).rng().next_u64();
    let map = InitMap::new(seed).with_rules([
        Rule::draw("*.weight", Initializer::normal(sigma_w / (width as f64).sqrt()))?,
        Rule::draw("*.bias", Initializer::normal(sigma_b))?,
    ]);
    let config = MlpConfig::new(width, vec![width; depth], phi).with_bias(true);
    let mlp = Mlp::new(&config, map.var_builder(target.dtype, &target.device))?;
    let normal = |name: &str| -> Result<Tensor> {
        let key = KeyedV1::new(seed).key(name);
        Ok(Initializer::normal(1.0).tensor(key, (samples, width), target.dtype, &target.device)?)
    };

    let probe = Probe::new().with_bins(1);
    let input = normal("input")?;
    let pass = mlp.tape(&input, |layer| Some(probe.observer(layer)))?;
    pass.backward(&(pass.output() * normal("cotangent")?)?.sum_all()?)?;
    let gradients =
        probe.records().into_iter().filter_map(|record| Some(record.backward?.rms)).collect::<Vec<_>>();

    let mut last = None;
    mlp.forward_with(&input, |signal| {
        last = Some(signal.pre_activation.clone());
        Ok(signal.output)
    })?;
    let batch = last.map(|z| numbers(&z)).transpose()?.map(|z| BatchGeometry::of(&z, width));
    let finite = |x: f64| x.is_finite().then_some(x);
    Ok(Cell {
        at,
        sigma_w,
        sigma_b,
        measured: Measured {
            q: batch.as_ref().and_then(|batch| finite(batch.mean_square)),
            c: batch.as_ref().and_then(|batch| finite(batch.cosine)),
            chi_1: finite(rate(&gradients).exp()),
        },
    })
}

/// Returns the slope of the logarithm of the squared gradient, backward through the upper two thirds of the
/// layers, where the lengths have reached their fixed point.
fn rate(rms: &[f64]) -> f64 {
    let from = rms.len() / 3;
    let points: Vec<(f64, f64)> =
        rms.iter().enumerate().skip(from).map(|(layer, rms)| (-(layer as f64), 2.0 * rms.ln())).collect();
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (xy, xx) =
        points.iter().fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + (x - mx) * (y - my), xx + (x - mx).powi(2)));
    xy / xx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_slopes_of_squares() {
        // The rms grows backward by 1.1 a layer, and its square by 1.21.
        let rms: Vec<f64> = (0..30).rev().map(|layer| 1.1f64.powi(layer)).collect();
        assert!((rate(&rms).exp() - 1.21).abs() < 1e-12);
    }
}
