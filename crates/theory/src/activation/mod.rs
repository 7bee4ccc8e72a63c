//! Activations: what each one computes ([`Activation`]), how its name is written and read, its gain, and its
//! saturation thresholds.
//!
//! A new activation is one variant in `kind.rs` with its entry in [`Activation::ALL`], its row in the table
//! of the docs, and one arm in each of `properties`, `value` and `derivative` of that file.

mod gain;
mod kind;
mod scalar;
#[cfg(test)]
mod tests;
mod text;

pub use kind::Activation;
pub use scalar::{GELU_CUBIC, SELU_ALPHA, SELU_SCALE};
pub use text::UnknownActivation;
