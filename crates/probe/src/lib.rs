//! What each layer of a candle model does, forward and backward, and what is wrong with it.
//!
//! - [`Probe`] records statistics of the values that pass and of the gradients that come back, by a tap in
//!   any forward pass, by an observer of a fused dense layer, or around a module ([`Probe::watch`]). It
//!   changes neither outputs nor parameter gradients by a bit, as long as all that follows uses the tensor
//!   that the tap returns.
//! - [`Probe::layer_reports`] and [`judge`] tell what is wrong, in which layer first, and how to fix it.
//! - [`Probe::first_bad`] tells where NaN came from, and [`Probe::totals`] has [`Stats`] over all steps.
//! - [`Trace`] finds the layers of any candle model in the graph behind its loss, without a tap; [`reach`] tells
//!   which parameters the loss cannot train, and [`check_gradient`] whether a gradient is whole.
//! - [`Preflight`] checks a model, a loss and a batch before the training.
//! - [`Parameters`] tells how far a step moves the weights, and [`judge_updates`] whether that is too far.
//! - [`singular_values`] and [`jacobian_moments`] measure the Jacobian of a map, which
//!   [`wick_theory::jacobian_spectrum`] predicts.
//! - [`tap`] is the bare tap, which hands over the gradient itself.
//! - [`summarize`] gives mean, std, rms, min, max and histogram of a tensor, and [`fraction_outside`] the
//!   fraction that is saturated, with the same bits for any number of threads. They are made of [`Moments`]
//!   and [`Histogram`], which can be merged.
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

mod baselines;
mod diagnose;
mod jacobian;
mod kept;
mod limits;
mod number;
mod observe;
mod preflight;
pub mod text;
mod trace;

pub use baselines::Baseline;
pub use diagnose::drift::judge_drift;
pub use diagnose::fault::{Fault, Level, Verdict};
pub use diagnose::few::not_judged;
pub use diagnose::judge;
pub use diagnose::layer_report::LayerReport;
pub use diagnose::loss::judge_loss;
pub use diagnose::notes::notes;
pub use diagnose::trend::describe_trend;
pub use diagnose::updates::judge_updates;
pub use jacobian::{jacobian, jacobian_moments, singular_values};
pub use observe::bad::{BadTensor, Past, Side, What};
pub use observe::parameters::{ParameterGradient, Parameters, Update};
pub use observe::probe::Probe;
pub use observe::record::{Record, Totals};
pub use observe::units::Units;
pub use observe::watch::{Watched, WatchedSequential};
pub use preflight::{Check, Finding, Preflight};
pub use trace::{
    Cut, GradientBy, GradientCheck, Kind, LayerBand, Mark, Reach, Trace, TracedLayer, check_each_gradient,
    check_gradient, reach,
};
pub use wick_kernels::{Histogram, Moments, Stats, Summary, fraction_outside, summarize, tap};
pub use wick_theory::BatchGeometry;
