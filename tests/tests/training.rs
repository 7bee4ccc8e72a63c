//! Training with Wick's ops follows the same loss curve as training with candle's.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Module, Optimizer, ParamsAdamW, SGD};
use wick_init::{InitMap, Initializer};
use wick_kernels::{AdamW, ParamsSgd, Sgd};
use wick_model::{Activation, Mlp, MlpConfig, activate};
use wick_tests::CPU;

const STEPS: usize = 200;

fn normal(name: &str, shape: (usize, usize)) -> Tensor {
    wick_tests::normal(8, name, shape, DType::F32)
}

/// Trains a net on the outputs of a teacher and returns its mean square error at each step.
fn curve<O: Optimizer>(ours: bool, config: &MlpConfig, optimizer: impl Fn(&InitMap) -> O) -> Vec<f64> {
    let map = InitMap::new(8).with_default_init(Initializer::lecun_normal());
    let mlp = Mlp::new(config, map.var_builder(DType::F32, &CPU)).unwrap();
    let mut optimizer = optimizer(&map);
    let xs = normal("x", (150, 12));
    let ys = xs.matmul(&normal("teacher", (12, 3))).unwrap().sin().unwrap();
    let loss = |output: &Tensor| output.sub(&ys)?.sqr()?.mean_all();
    let step = |optimizer: &mut O| -> Result<f64> {
        let (loss, gradients) = if ours {
            let tape = mlp.tape(&xs, |_| None)?;
            let loss = loss(tape.output())?;
            let gradients = tape.backward(&loss)?;
            (loss, gradients)
        } else {
            let last = config.widths.len() - 1;
            let output = mlp.layers().enumerate().try_fold(xs.clone(), |h, (index, layer)| {
                let z = layer.forward(&h)?;
                if index < last { activate(config.activation, &z) } else { Ok(z) }
            })?;
            let loss = loss(&output)?;
            let gradients = loss.backward()?;
            (loss, gradients)
        };
        optimizer.step(&gradients)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    };
    (0..STEPS).map(|_| step(&mut optimizer).unwrap()).collect()
}

/// The largest relative difference of two curves.
fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max)
}

/// The curves of 200 steps in f32 agree up to the rounding errors' growth, a few 1e-5. The twin is a learning
/// rate 1 % off.
#[test]
fn the_loss_follows_the_one_with_candles_ops() {
    let config = MlpConfig::new(12, [40, 30, 3], Activation::Tanh)
        .with_bias(true)
        .with_output_activation(Activation::Identity);
    let params = |lr| ParamsAdamW { lr, ..ParamsAdamW::default() };
    let adamw = |lr| curve(true, &config, move |map| AdamW::new(map.vars(), params(lr)).unwrap());
    let theirs = curve(false, &config, |map| candle_nn::AdamW::new(map.vars(), params(0.01)).unwrap());
    assert!(theirs[STEPS - 1] < 0.3 * theirs[0], "it learns: {} to {}", theirs[0], theirs[STEPS - 1]);
    let difference = largest_difference(&adamw(0.01), &theirs);
    assert!(difference < 1e-3, "{difference}");
    assert!(largest_difference(&adamw(0.0101), &theirs) > 1e-3, "the twin");

    let plain = |lr| ParamsSgd { lr, momentum: 0.0, ..ParamsSgd::default() };
    let sgd = |lr| curve(true, &config, move |map| Sgd::new(map.vars(), plain(lr)).unwrap());
    let theirs = curve(false, &config, |map| SGD::new(map.vars(), 0.1).unwrap());
    let difference = largest_difference(&sgd(0.1), &theirs);
    assert!(difference < 1e-4, "{difference}");
    assert!(largest_difference(&sgd(0.101), &theirs) > 1e-4, "the twin");
}
