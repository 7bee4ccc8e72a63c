//! The hot loops of a network, vectorised, as candle ops that any model can use.
//!
//! - [`dense`]: a layer's product, bias, activation and, for a [`Observer`], its statistics in one op, forward and backward.
//! - [`activate`], [`activation_gradient`]: every activation and its derivative, on any tensor.
//! - [`summarize`], [`fraction_outside`], and the [`Moments`] and [`Histogram`] they are made of: the same bits with any
//!   number of threads.
//! - [`dot`]: the sum of products, which losses and penalties are made of.
//! - [`tap`]: the identity, with an open ear for the gradient.
//! - [`AdamW`], [`Sgd`]: in one pass over the parameters.
//! - [`CudaGraph`]: a forward pass or a training step as a CUDA graph.
//! - [`retain_freed_memory`], [`retain_freed_memory_on`]: for programs that train.
//! - [`gemm`](mod@gemm), [`qr`], [`haar`]: matrix products, and orthonormal rows, given and random, on slices.
//! - [`simd`], [`parallel`]: loops compiled for each vector unit, and on every core.
//!
//! With the feature `cuda`, the same ops have kernels for NVIDIA's GPUs (in `cuda`), and [`DeferredStats`] lets statistics wait
//! there until a pass is over. On a CPU without a fused multiply-add, and on other devices, candle's own ops do the work. `WICK_SIMD` limits the
//! vector units that are used (see [`SimdLevel`]).

mod activation;
mod adamw;
mod compose;
#[cfg(feature = "cuda")]
mod cuda;
mod deferred;
mod dense;
mod dot;
mod function;
pub mod gemm;
pub mod haar;
mod histogram;
mod math;
mod memory;
mod moments;
pub mod parallel;
pub mod qr;
mod recorded;
mod reflections;
mod sgd;
pub mod simd;
mod slice;
mod stats;
mod summary;
mod tap;

pub use activation::{activate, activation_gradient};
pub use adamw::AdamW;
pub use deferred::DeferredStats;
pub use dense::{DenseGradients, DensePass, ObservedGradient, ObservedOutput, Observer, dense};
pub use dot::dot;
pub use histogram::Histogram;
pub use memory::{retain_freed_memory, retain_freed_memory_on};
pub use moments::Moments;
pub use recorded::CudaGraph;
pub use sgd::{ParamsSgd, Sgd};
pub use simd::SimdLevel;
pub use slice::Number;
pub use stats::Stats;
pub use summary::{Summary, fraction_outside, summarize};
pub use tap::tap;
