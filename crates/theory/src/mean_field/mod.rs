//! The mean field theory of signals in deep networks: what becomes of variances, correlations and gradients
//! from layer to layer when the layers are wide.
//!
//! `maps.rs` has the maps of one layer, `fixed_point.rs` what many equal layers come to, `critical.rs` the
//! line `χ₁ = 1`.

mod critical;
mod fixed_point;
mod maps;
mod search;
#[cfg(test)]
mod tests;

pub use critical::Critical;
pub use fixed_point::{DepthScales, Phase};
pub use maps::MeanField;
