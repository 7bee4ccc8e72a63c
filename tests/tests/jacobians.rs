//! Singular values of the Jacobians of real nets, compared with theory.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Tensor};
use candle_nn::Module;
use wick_init::{InitMap, Initializer};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{jacobian_moments, singular_values};
use wick_tests::CPU;
use wick_theory::jacobian_spectrum;

fn normal(seed: u64, name: &str, shape: impl Into<candle_core::Shape>) -> Tensor {
    wick_tests::normal(seed, name, shape, DType::F64)
}

fn net(seed: u64, width: usize, depth: usize, phi: Activation, weights: Initializer) -> Mlp {
    let map = InitMap::new(seed).with_default_init(weights);
    Mlp::new(&MlpConfig::new(width, vec![width; depth], phi), map.var_builder(DType::F64, &CPU)).unwrap()
}

/// The mean and the variance of the squared singular values.
fn mean_and_variance(singular: &[f64]) -> (f64, f64) {
    wick_tests::mean_and_variance(&singular.iter().map(|s| s * s).collect::<Vec<f64>>())
}

/// The nets have 4 layers of 200 units, linear or ReLU, with Gaussian or orthogonal weights. By Pennington et
/// al. the variance of the squared singular values of a linear net is `L` (Gaussian) or 0 (orthogonal), and
/// of a ReLU net `2L` or `L`; the mean over 24 draws (seeds 0 to 23) must be within a fifth of it. The mean
/// square is 1 and must be within a tenth: its standard deviation is √(1/200) for one ReLU layer of 200, .14
/// for four layers, and .029 for the mean of 24 draws. The twin is the other kind of weights.
#[test]
fn spectra_are_penningtons() {
    const DRAWS: u64 = 24;
    let (width, depth) = (200, 4);
    for (phi, gain) in [(Activation::Identity, 1.0), (Activation::Relu, 2f64.sqrt())] {
        for orthogonal in [false, true] {
            let weights = match orthogonal {
                true => Initializer::orthogonal(gain),
                false => Initializer::lecun_normal().with_gain(gain),
            };
            let (mut mean, mut variance) = (0.0, 0.0);
            for seed in 0..DRAWS {
                let mlp = net(seed, width, depth, phi, weights.clone());
                let found = singular_values(|x| mlp.forward(x), &normal(seed, "x", width)).unwrap();
                let (m, v) = mean_and_variance(&found);
                (mean, variance) = (mean + m / DRAWS as f64, variance + v / DRAWS as f64);
            }
            let expected = |orthogonal| jacobian_spectrum(&phi, gain * gain, 1.0, depth as u32, orthogonal);
            let (m, v) = expected(orthogonal);
            assert!((mean - m).abs() < 0.1, "{phi}: mean {mean}, not {m}");
            let near = |v: f64| (variance - v).abs() < 0.2 * v.max(0.01);
            assert!(near(v), "{phi} {orthogonal}: variance {variance}, not {v}");
            assert!(!near(expected(!orthogonal).1), "{phi}: the twin that must fail");
        }
    }
}

/// The mean and the variance estimated from 200 random vectors are within a tenth of the exact ones.
#[test]
fn moments_by_random_vectors() {
    let mlp = net(1, 150, 3, Activation::Tanh, Initializer::lecun_normal());
    let x = normal(1, "x", 150);
    let (mean, variance) = mean_and_variance(&singular_values(|x| mlp.forward(x), &x).unwrap());
    let (m, v) = jacobian_moments(|x| mlp.forward(x), &x, &normal(1, "probes", (200, 150))).unwrap();
    assert!((m / mean - 1.0).abs() < 0.1 && (v / variance - 1.0).abs() < 0.1, "{m} {mean} {v} {variance}");
    let one = jacobian_moments(|x| mlp.forward(x), &x, &normal(1, "probes", (1, 150)));
    assert!(one.unwrap_err().to_string().contains("two random vectors"));
    let wide = net(1, 1001, 1, Activation::Tanh, Initializer::zeros());
    let error = singular_values(|x| wide.forward(x), &normal(1, "x", 1001)).unwrap_err().to_string();
    assert!(error.contains("1001 × 1001 is too large"), "{error}");
}
