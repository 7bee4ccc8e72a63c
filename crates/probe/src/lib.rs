//! What each layer of a candle model does, forward and backward.
//!
//! - [`Probe`]: taps that sit in any forward pass, one line each, and record statistics of the value that
//!   passes and of the gradient that comes back. They change neither outputs nor parameter gradients by a bit, as long as all that follows takes the
//!   tensor that the tap returns.
//! - [`judge`]: what is wrong, in which layer first, and what would remedy it, from the [`Record`]s of all layers.
//! - [`Probe::first_bad`]: where NaN came from. [`Probe::totals`]: [`Stats`] over all steps. [`Probe::watch`]: a tap around a module.
//! - [`Parameters`]: by how much a step moves the weights.
//! - [`singular_values`], [`jacobian_moments`]: the Jacobian of a map, beside [`wick_theory::jacobian_spectrum`].
//! - [`tap`]: the bare tap, for whoever wants the gradient itself.
//! - [`summarize`]: mean, std, rms, min, max and histogram of a tensor; [`fraction_outside`]: how much of it is
//!   saturated. The same bits with any number of threads.
//! - [`Moments`] and [`Histogram`]: what these are made of; both merge.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use wick_probe::Probe;
//!
//! let w = Var::new(&[[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
//! let x = Tensor::new(&[[1.0f32, -1.0]], &Device::Cpu)?;
//!
//! let probe = Probe::new();
//! let h = probe.tap("hidden", &x.matmul(&w)?)?; // [[-2, -2]]
//! h.sqr()?.sum_all()?.backward()?;
//!
//! let records = probe.records();
//! assert_eq!(records[0].name, "hidden");
//! assert_eq!(records[0].forward.mean, -2.0);
//! assert_eq!(records[0].backward.as_ref().map(|gradient| gradient.rms), Some(4.0));
//! # Ok::<(), candle_core::Error>(())
//! ```

mod bad;
mod bands;
mod baselines;
mod jacobian;
mod log;
mod parameters;
mod probe;
mod reading;
mod remedy;
mod trend;
mod units;
mod verdict;
mod watch;

pub use bad::{BadTensor, Past, Side, What};
pub use baselines::Baseline;
pub use jacobian::{jacobian, jacobian_moments, singular_values};
pub use log::{Record, Totals};
pub use parameters::{ParameterGradient, Parameters, Update, judge_updates};
pub use probe::Probe;
pub use reading::LayerReport;
pub use trend::describe_trend;
pub use units::Units;
pub use verdict::{Fault, Verdict, judge};
pub use watch::{Watched, WatchedSequential};
pub use wick_kernels::{Histogram, Moments, Stats, Summary, fraction_outside, summarize, tap};
pub use wick_theory::BatchGeometry;
