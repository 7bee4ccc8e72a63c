//! What signal propagation theory says of a network, in plain `f64`, without tensors.
//!
//! - [`Activation`]: every activation of the workspace with its value, derivative, gain and flat tails.
//!   There is one such enum in Wick; the tensor ops and the programs are keyed on it.
//! - [`MeanField`]: maps of lengths and correlations, `χ₁` and `χ_∥`, fixed points, depth scales, the critical line.
//! - [`predict`]: a network as it is given, layer by layer, forward and backward.
//! - [`finite_width`]: the same for layers that are not wide, with the band that 95 % of the draws fall in.
//! - [`lyapunov_exponent`], [`log_norm_of_product`]: products of Gaussian matrices; [`jacobian_spectrum`] of a net.
//! - [`special`]: the normal distribution function and what else activations have in common.
//! - [`gaussian::expectation`]: integrals `E[f(√q z)]`, `z ~ N(0, 1)`, split at the kinks of `f`.
//!
//! ```
//! use wick_theory::Activation;
//!
//! // The gain that keeps the variance of a ReLU net is √2 (He et al. 2015, equation 10).
//! assert!((Activation::Relu.gain() - 2f64.sqrt()).abs() < 1e-12);
//! ```

mod activation;
mod finite_width;
pub mod gaussian;
mod mean_field;
mod network;
mod products;
mod response;
pub mod special;

pub use activation::{Activation, GELU_CUBIC, SELU_ALPHA, SELU_SCALE, UnknownActivation};
pub use finite_width::{Band, BatchGeometry, LayerBands, finite_width};
pub use mean_field::{Critical, Custom, DepthScales, MeanField, Nonlinearity, Phase};
pub use network::{
    LayerLaw, LayerPrediction, inverse_width_sum, jacobian_spectrum, length_second_moment, predict,
};
pub use products::{log_norm_of_product, lyapunov_exponent};
