//! Initial weights for any candle model: seeded, and the same bits on every device and thread count.
//!
//! - [`Initializer`]: all initializers; the named ones are a few lines over one core. Where libraries
//!   disagree, [`torch`], [`jax`], [`keras`] and [`timm`] have each one's convention. The [`catalogue`] has a
//!   section on each.
//! - [`Fans`]: the number of inputs and outputs that a weight of a given shape connects.
//! - [`KeyedV1`]: seeded streams of random numbers. The values of a tensor depend on the seed and its full
//!   name only.
//! - [`RngSource`]: where random numbers come from: a key, PyTorch's CPU generator to the bit
//!   ([`torch::TorchRng`]), JAX's keys ([`jax::JaxKey`]), or any generator of `rand`'s.
//! - [`InitMap`]: the backend that gives any candle model its weights through a plain
//!   [`VarBuilder`](candle_nn::VarBuilder), and keeps the variables to train.
//! - [`Rule`]s choose the initializers of tensors by [`Pattern`]s on names and shapes; [`presets`] are the
//!   rules of whole libraries and models; a [`Manifest`] records what each tensor was initialized from.
//! - [`TensorFile`]: single tensors of a safetensors file.
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
mod conventions;
mod error;
mod fans;
mod initializer;
mod layout;
mod map;
mod rng;
#[cfg(test)]
mod stability;
mod structures;
mod tensor_file;

pub use conventions::{jax, keras, timm, torch};
pub use error::Error;
pub use fans::{FanMode, Fans};
pub use initializer::Initializer;
pub use initializer::distribution::Distribution;
pub use initializer::weight_law::WeightLaw;
pub use layout::WeightLayout;
pub use map::InitMap;
pub use map::manifest::{Cell, Manifest, ManifestEntry, Origin};
pub use map::pattern::{Pattern, PatternError};
pub use map::presets;
pub use map::rules::{Action, LearningRate, Rule};
pub use map::stream::WantedTensor;
pub use rng::RngSource;
pub use rng::keyed::{Key, KeyRng, KeyedV1};
pub use structures::convolution::Centre;
pub use structures::ramp::RampOver;
pub use structures::shape_gain::ShapeGain;
pub use structures::sparse::SparseBy;
pub use structures::stft::{Scaling, Side, Window};
pub use structures::structure::Structured;
pub use tensor_file::stored::StoredTensor;
pub use tensor_file::{TensorFile, foreign_file};
