//! Data of the bench: real digits, and a function with one output.

use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor};
use wick_tests::{digits, normal};

/// What a net learns: inputs and targets, for training and for its score.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) xs: Tensor,
    pub(crate) ys: Tensor,
    pub(crate) test_xs: Tensor,
    pub(crate) test_ys: Tensor,
}

/// How the pixels are scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pixels {
    Raw,
    Unit,
    Standardized,
    /// No pixels: normal numbers, and the classes that a perceptron of 32 units gives them.
    Teacher,
}

const TRAINING: usize = 1400;

/// The digits, `[n, 64]`, with classes.
pub(crate) fn images(pixels: Pixels) -> Result<Data> {
    if pixels == Pixels::Teacher {
        return teacher();
    }
    static DIGITS: OnceLock<(Tensor, Tensor)> = OnceLock::new();
    let (xs, ys) = DIGITS.get_or_init(digits).clone();
    let xs = match pixels {
        Pixels::Raw | Pixels::Teacher => xs,
        Pixels::Unit => (xs / 16.0)?,
        Pixels::Standardized => {
            let centred = xs.broadcast_sub(&xs.mean_keepdim(0)?)?;
            let std = (centred.sqr()?.mean_keepdim(0)?.sqrt()? + 0.1)?;
            centred.broadcast_div(&std)?
        }
    };
    let (rest, n) = (ys.elem_count() - TRAINING, TRAINING);
    Ok(Data {
        xs: xs.narrow(0, 0, n)?,
        ys: ys.narrow(0, 0, n)?,
        test_xs: xs.narrow(0, n, rest)?,
        test_ys: ys.narrow(0, n, rest)?,
    })
}

/// 64 features, and the ten classes that a fixed perceptron makes of them.
fn teacher() -> Result<Data> {
    let xs = normal(1, "features", (2000, 64), DType::F32);
    let (a, b) = (normal(1, "a", (64, 32), DType::F32), normal(1, "b", (32, 10), DType::F32));
    let ys = (xs.matmul(&a)? / 8.0)?.tanh()?.matmul(&b)?.argmax(1)?;
    Ok(Data {
        xs: xs.narrow(0, 0, TRAINING)?,
        ys: ys.narrow(0, 0, TRAINING)?,
        test_xs: xs.narrow(0, TRAINING, 600)?,
        test_ys: ys.narrow(0, TRAINING, 600)?,
    })
}

/// 16 features and one number of them, `[n, 1]`, around a mean.
pub(crate) fn one_output(seed: u64, mean: f64) -> Result<Data> {
    let xs = normal(seed, "features", (2000, 16), DType::F32);
    let direction = |name: &str| normal(seed, name, (16, 1), DType::F32).affine(0.25, 0.0);
    let (a, b) = (xs.matmul(&direction("a")?)?, xs.matmul(&direction("b")?)?);
    let ys = ((&a + (b.tanh()? * 0.5)?)? + mean)?;
    Ok(Data {
        xs: xs.narrow(0, 0, TRAINING)?,
        ys: ys.narrow(0, 0, TRAINING)?,
        test_xs: xs.narrow(0, TRAINING, 600)?,
        test_ys: ys.narrow(0, TRAINING, 600)?,
    })
}
