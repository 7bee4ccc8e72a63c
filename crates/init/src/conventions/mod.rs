//! The conventions of other libraries, where they differ in what a name means.

pub mod jax;
pub mod keras;
pub mod timm;
pub mod torch;
