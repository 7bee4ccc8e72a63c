//! What the tests in `tests/` share: random tensors, their elements as numbers, and statistics.
//!
//! The doctests of this package are the code blocks of the workspace's README and of `docs/`.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod differences;
mod digits;
#[cfg(any(test, doctest))]
mod documents;
mod random;
mod statistics;
mod tensors;

pub use differences::gradient_errors;
pub use digits::digits;
pub use random::{choose, choose_index, log_uniform, normal, uniform};
pub use statistics::{has_std, kolmogorov_smirnov, mean_and_variance, std, std_error};
pub use tensors::{bits, largest, numbers};

use candle_core::Device;

/// The device of the tests.
pub const CPU: Device = Device::Cpu;
