//! The hot loops of a network, vectorised.

mod activation;
mod adamw;
mod dense;
mod function;
pub mod gemm;
mod histogram;
mod math;
mod moments;
mod simd;
mod slice;
mod summary;
mod tap;

pub use activation::{activate, activation_gradient};
pub use adamw::AdamW;
pub use dense::{Listener, dense};
pub use histogram::Histogram;
pub use moments::Moments;
pub use simd::Level;
pub use summary::{Summary, share_outside, summarize};
pub use tap::tap;
