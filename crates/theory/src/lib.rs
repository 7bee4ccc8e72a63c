//! Signal propagation theory: what to expect of the signals and gradients of a network, in plain `f64`,
//! without tensors.
//!
//! - [`Activation`] has every activation of the workspace, with its value, derivative, gain and saturation
//!   thresholds. It is the only such enum in Wick; the tensor ops and the programs are keyed on it.
//! - [`MeanField`] has the maps of lengths and correlations, `χ₁` and `χ_∥`, fixed points, depth scales and
//!   the critical line of wide layers that are all alike.
//! - [`predict`] follows a network with its own widths and variances, layer by layer, forward and backward.
//! - [`finite_width`] does the same for layers that are not wide: the median, and the band that holds 95 % of
//!   the draws.
//! - [`jacobian_spectrum`] gives the mean and the variance of the squared singular values of a net's
//!   Jacobian.
//! - [`SoftmaxLaw`] has the entropy of an attention's rows, [`token_correlation`] tokens that come to be alike.
//! - [`lyapunov_exponent`] and [`log_norm_of_product`] are about products of Gaussian matrices.
//! - [`special`] has the normal distribution function and the other functions that activations have in
//!   common.
//! - [`spec`] reads a SPEC, `name:key=value,…`, the text by which programs name initializers and schedules.
//! - [`gaussian::expectation`] integrates `E[f(√q z)]`, `z ~ N(0, 1)`, split at the kinks of `f`.
//!
//! `docs/theory.md` in the repository has one page on which function answers which question,
//! `docs/finite-width.md` the derivation behind [`finite_width`].
//!
//! ```
//! use wick_theory::Activation;
//!
//! // The gain that keeps the variance of a ReLU net is √2 (He et al. 2015, equation 10).
//! assert!((Activation::Relu.gain() - 2f64.sqrt()).abs() < 1e-12);
//! ```

mod activation;
mod attention;
mod finite_width;
mod formula;
pub mod gaussian;
mod hermite;
mod mean_field;
mod names;
mod network;
mod nonlinearity;
mod products;
mod response;
pub mod spec;
pub mod special;

pub use activation::{Activation, GELU_CUBIC, SELU_ALPHA, SELU_SCALE, UnknownActivation};
pub use attention::{SoftmaxLaw, token_correlation};
pub use finite_width::{Band, BatchGeometry, LayerBands, finite_width};
pub use formula::{read_number, write_number};
pub use mean_field::{Critical, DepthScales, MeanField, Phase};
pub use names::{did_you_mean, did_you_mean_or, listed, nearest_names, on_one_line, shown};
pub use network::{
    LayerLaw, LayerPrediction, inverse_width_sum, jacobian_spectrum, length_second_moment, predict,
};
pub use nonlinearity::{Custom, Nonlinearity};
pub use products::{log_norm_of_product, lyapunov_exponent};
