//! Initial weights for any candle model: seeded, and the same bits on every device and thread count.
//!
//! - [`Initializer`]: the schemes; the named ones are a few lines over one core. Where libraries disagree,
//!   [`torch`], [`jax`], [`keras`] and [`timm`] have each one's convention.
//! - [`Fans`]: how many inputs and outputs a weight of a given shape joins.
//! - [`KeyedV1`]: seeded streams of numbers. What a tensor gets depends on the seed and its full name only.
//! - [`Source`]: where numbers come from: a key, PyTorch's CPU generator to the bit
//!   ([`torch::TorchRng`]), or any generator of `rand`'s.
//! - [`InitMap`]: the backend that gives any candle model its weights through a plain
//!   [`VarBuilder`](candle_nn::VarBuilder), and keeps the variables to train.
//! - [`Rule`]s say which tensors start how, by [`Pattern`]s on names and shapes; [`presets`] are those of whole
//!   libraries and models; a [`Manifest`] says what each tensor got.
//!
//! An unmodified candle layer with Xavier weights, whatever else the model has and in whatever order it is
//! built:
//!
//! ```
//! use candle_core::{DType, Device};
//! use wick_init::{InitMap, Initializer};
//!
//! let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
//! let vb = map.var_builder(DType::F32, &Device::Cpu);
//! let layer = candle_nn::linear(800, 750, vb.pp("fc"))?;
//! assert_eq!(layer.weight().dims(), [750, 800]);
//! assert_eq!(map.vars().len(), 2); // fc.bias and fc.weight, in this order
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! The layout of a weight is candle's and PyTorch's: `[out, in, kernel…]`, so that a linear layer computes
//! `x Wᵀ`.

#[doc = include_str!("../CATALOGUE.md")]
pub mod catalogue {}
mod distribution;
mod error;
mod fans;
mod init_map;
mod initializer;
pub mod jax;
pub mod keras;
mod manifest;
mod pattern;
mod plan;
pub mod presets;
mod rules;
mod schemes;
mod source;
mod spec;
#[cfg(test)]
mod stability_tests;
mod stft;
mod stream;
mod structured;
pub mod timm;
pub mod torch;

pub use distribution::Distribution;
pub use error::Error;
pub use fans::{FanMode, Fans, WeightLayout};
pub use init_map::InitMap;
pub use initializer::{Centre, Family, Initializer, SparseBy, WeightLaw};
pub use manifest::{Manifest, ManifestEntry, Origin};
pub use pattern::{Pattern, PatternError};
pub use rules::{Action, LearningRate, Rule};
pub use source::Source;
pub use stft::{Scaling, Side, Window};
pub use stream::{Key, KeyRng, KeyedV1};
