//! Jacobians of real nets beside theory.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{jacobian_moments, singular_values};
use wick_theory::jacobian_spectrum;

const CPU: Device = Device::Cpu;

fn normal(seed: u64, name: &str, shape: impl Into<candle_core::Shape>) -> Tensor {
    Initializer::normal(1.0).tensor(KeyedV1::new(seed).key(name), shape, DType::F64, &CPU).unwrap()
}

fn net(seed: u64, width: usize, depth: usize, phi: Activation, weights: Initializer) -> Mlp {
    let map = InitMap::new(seed).with_default_init(weights);
    Mlp::new(&MlpConfig::new(width, vec![width; depth], phi), map.var_builder(DType::F64, &CPU)).unwrap()
}

fn mean_and_variance(singular: &[f64]) -> (f64, f64) {
    let squares: Vec<f64> = singular.iter().map(|s| s * s).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    (mean, squares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / squares.len() as f64)
}

/// Nets of 200 × 4: linear and ReLU, Gaussian and orthogonal. The variance of the squared singular values is `L` or 0 and `2L` or
/// `L`; over 24 draws (seeds 0 to 23) their mean is within a fifth of it. The mean square itself is 1 within a tenth: of a ReLU layer
/// of 200 it strays by √(1/200), four layers by .14 and 24 draws of them by .029. Twin: the other kind of weights.
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

/// From 200 random vectors, mean and variance are within a tenth of the exact ones.
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
