//! What the tasks are drawn with.

use candle_core::{DType, Device};
use wick_init::{Initializer, Key};

use crate::error::Error;

/// Samples, `[samples, features]`, and their targets, row by row.
pub(super) struct Drawn {
    pub(super) features: Vec<f64>,
    pub(super) targets: Numbers,
}

/// The targets.
pub(super) enum Numbers {
    Classes(Vec<u32>),
    /// Of each sample, the targets.
    Targets(Vec<f64>),
}

/// Numbers that an initializer draws, row by row.
pub(super) fn drawn(initializer: &Initializer, key: Key, shape: (usize, usize)) -> Result<Vec<f64>, Error> {
    let tensor = initializer
        .tensor(key, shape, DType::F64, &Device::Cpu)
        .map_err(|error| Error::Data(format!("the task cannot be drawn: {error}")))?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// `W x` for each row `x` of `xs`, with `W` of shape `[outputs, inputs]`.
pub(super) fn product(xs: &[f64], weights: &[f64], inputs: usize) -> Vec<f64> {
    let dot = |x: &[f64], w: &[f64]| -> f64 { x.iter().zip(w).map(|(x, w)| x * w).sum() };
    xs.chunks_exact(inputs).flat_map(|x| weights.chunks_exact(inputs).map(move |w| dot(x, w))).collect()
}
