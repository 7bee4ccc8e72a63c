//! The hot loops of a network, vectorised, as candle ops that any model can use.
//!
//! - [`dense`]: a layer's product, bias, activation and, for an [`Observer`], its statistics in one op,
//!   forward and backward; [`DensePass`]: the same outside candle's graph.
//! - [`activate`], [`activation_gradient`]: every activation and its derivative, on any tensor.
//! - [`attention`], [`attention_joined`]: scaled dot-product attention without the matrix of scores.
//! - [`rope`]: rotary positions; [`embedding`]: rows of a table.
//! - [`summarize`], [`moments`], [`fraction_outside`], and the [`Moments`] and [`Histogram`] that a [`Summary`] consists
//!   of; [`Stats`] of a whole stream: the same bits with any number of threads.
//! - [`conv2d`] and its kin: convolutions, also grouped, depthwise and transposed, with all gradients in one op.
//! - [`max_pool2d`], [`avg_pool2d`], [`upsample_nearest2d`], [`upsample_bilinear2d`], [`gather`], [`scatter`],
//!   [`scatter_add`]: with the gradients that PyTorch has.
//! - [`loss`], [`loss_and_gradient`]: cross entropy and the squared error, with the gradient in the same pass.
//! - [`layer_norm`], [`rms_norm`], [`group_norm`], [`batch_norm`], [`softmax`], [`log_softmax`], [`dropout`]: each
//!   with its backward pass.
//! - [`CrossEntropy`], [`binary_cross_entropy`]: losses with the options of PyTorch.
//! - [`dot`]: the sum of products, which penalties consist of.
//! - [`weighted_sum`]: gradients of parts of a batch, added in one pass.
//! - [`tap`]: the identity, with a callback for the gradient.
//! - [`AdamW`], [`Sgd`], [`Lion`], [`Muon`], [`ScheduleFree`]: optimizers in one pass over the parameters, with
//!   groups, clipping and a state that is saved by name ([`Stepper`]); [`Ema`]: averaged weights.
//! - [`CudaGraph`]: a forward pass or a training step as a CUDA graph.
//! - [`limit_idle_spinning`], [`retain_freed_memory`], [`retain_freed_memory_on`]: for programs that train; [`advise_large_pages`]: for
//!   tensors that are filled for the first time.
//! - [`gemm`](mod@gemm), [`qr`], [`haar`]: matrix products, and orthonormal rows, given and random, on
//!   slices.
//! - [`simd`], [`parallel`]: loops compiled for each vector unit, and on every core.
//!
//! Each op is a folder that holds its CPU loops, its CUDA launches and its composition of candle's own ops
//! side by side; the CUDA sources are in `cuda/*.cu`. With the feature `cuda`, the ops have kernels for
//! NVIDIA's GPUs, and [`DeferredStats`] keeps statistics on the GPU until a pass is over. On a CPU without a
//! fused multiply-add, and on other devices, candle's own ops do the work. The environment variable
//! `WICK_SIMD` limits the vector units that are used (see [`SimdLevel`]).
//!
//! Loops run on rayon's global pool, and candle starts threads of its own at its first op on a large tensor. Both
//! panic if the system refuses a thread (`ulimit -u`, a container's limit on processes). A program that has to run
//! there sets `RAYON_NUM_THREADS=1` and `CANDLE_NUM_THREADS=1` in its environment before the first op, and builds
//! rayon's pool with `use_current_thread`.

mod activation;
mod attention;
mod conv;
mod cpu;
mod cuda;
mod dense;
mod dot;
mod dropout;
mod embedding;
mod indexed;
mod linalg;
mod loss;
mod norm;
mod optim;
mod pool;
mod resize;
mod rope;
mod softmax;
mod stats;
mod tap;
mod weighted;

pub use activation::{activate, activation_gradient};
pub use attention::{attention, attention_joined};
pub use conv::geometry::Window;
pub use conv::{conv_transpose1d, conv_transpose2d, conv1d, conv2d};
pub use cpu::element::Number;
pub use cpu::idle::limit_idle_spinning;
pub use cpu::malloc::{advise_large_pages, retain_freed_memory};
pub use cpu::simd::SimdLevel;
pub use cpu::{parallel, simd};
pub use cuda::graph::CudaGraph;
pub use cuda::memory::retain_freed_memory_on;
pub use dense::dense;
pub use dense::detached::{DenseGradients, DensePass};
pub use dense::observer::{ObservedGradient, ObservedOutput, Observer};
pub use dot::dot;
pub use dropout::{MaskKey, dropout};
pub use embedding::embedding;
pub use indexed::{gather, scatter, scatter_add};
pub use linalg::{gemm, haar, qr};
pub use loss::binary::binary_cross_entropy;
pub use loss::classes::CrossEntropy;
pub use loss::{LossFunction, loss, loss_and_gradient};
pub use norm::channels::{BatchStatistics, batch_norm, batch_norm_with, group_norm};
pub use norm::rows::{layer_norm, rms_norm};
pub use optim::adamw::AdamW;
pub use optim::clip::{Clip, ClipRule, LossScale};
pub use optim::ema::Ema;
pub use optim::lion::{Lion, ParamsLion};
pub use optim::method::Method;
pub use optim::muon::{Muon, MuonScaling, ParamsMuon};
pub use optim::schedule_free::{ParamsScheduleFree, ScheduleFree};
pub use optim::sgd::{ParamsSgd, Sgd};
pub use optim::slot::Named;
pub use optim::stepper::Stepper;
pub use pool::{avg_pool2d, max_pool2d};
pub use resize::{upsample_bilinear2d, upsample_nearest1d, upsample_nearest2d};
pub use rope::layout::RopeLayout;
pub use rope::rope;
pub use softmax::{log_softmax, softmax};
pub use stats::deferred::DeferredStats;
pub use stats::histogram::Histogram;
pub use stats::moments::Moments;
pub use stats::partial::Summary;
pub use stats::running::Stats;
pub use stats::summary::{fraction_outside, moments, summarize};
pub use tap::tap;
pub use weighted::weighted_sum;
