//! The hot loops of a network, vectorised.

mod activation;
mod function;
pub mod gemm;
mod histogram;
mod math;
mod moments;
mod simd;
mod summary;

pub use activation::{activate, activation_gradient};
pub use histogram::Histogram;
pub use moments::Moments;
pub use simd::Level;
pub use summary::{Summary, share_outside, summarize};
