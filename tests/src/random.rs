//! Random tensors and choices, each fixed by a seed and a name.

use candle_core::{DType, Shape, Tensor};
use wick_init::{Initializer, KeyedV1};

use crate::CPU;

/// Draws a tensor from N(0, 1).
pub fn normal(seed: u64, name: &str, shape: impl Into<Shape>, dtype: DType) -> Tensor {
    Initializer::normal(1.0).tensor(KeyedV1::new(seed).key(name), shape, dtype, &CPU).unwrap()
}

/// Draws a number from `[0, 1)`.
pub fn uniform(seed: u64, name: &str) -> f64 {
    let uniform = Initializer::Uniform { low: 0.0, high: 1.0 };
    uniform.tensor(KeyedV1::new(seed).key(name), 1, DType::F64, &CPU).unwrap().to_vec1::<f64>().unwrap()[0]
}

/// Draws a number between `low` and `high` that is uniform on a logarithmic scale.
pub fn log_uniform(seed: u64, name: &str, low: f64, high: f64) -> f64 {
    low * (high / low).powf(uniform(seed, name))
}

/// Draws an index below `count`.
pub fn choose_index(seed: u64, name: &str, count: usize) -> usize {
    (uniform(seed, name) * count as f64) as usize
}

/// Draws one of the items.
pub fn choose<T: Clone>(seed: u64, name: &str, items: &[T]) -> T {
    items[choose_index(seed, name, items.len())].clone()
}
