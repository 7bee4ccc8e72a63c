//! Initial weights for any candle model: seeded, and the same bits on every device and thread count.
//!
//! - [`Initializer`]: the schemes. All the arithmetic is in one core, [`Initializer::distribution`]; the
//!   named schemes are a few lines over it.
//! - [`Fans`]: how many inputs and outputs a weight of a given shape joins.
//! - [`KeyedV1`]: seeded streams of numbers. What a tensor gets depends on the seed and its full name only.
//! - [`InitMap`]: the backend that gives any candle model its weights through a plain
//!   [`VarBuilder`](candle_nn::VarBuilder), and keeps the variables to train.
//!
//! An unmodified candle layer with Xavier weights, whatever else the model has and in whatever order it is
//! built:
//!
//! ```
//! use candle_core::{DType, Device};
//! use wick_init::{InitMap, Initializer};
//!
//! let map = InitMap::new(42).with_weights(Initializer::xavier_normal());
//! let vb = map.var_builder(DType::F32, &Device::Cpu);
//! let layer = candle_nn::linear(800, 750, vb.pp("fc"))?;
//! assert_eq!(layer.weight().dims(), [750, 800]);
//! assert_eq!(map.vars().len(), 2); // fc.bias and fc.weight, in this order
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! The layout of a weight is candle's and PyTorch's: `[out, in, kernel…]`, so that a linear layer computes
//! `x Wᵀ`.

mod error;
mod fans;
mod init_map;
mod initializer;
mod spec;
mod stream;

pub use error::Error;
pub use fans::{FanMode, Fans};
pub use init_map::InitMap;
pub use initializer::{Distribution, Family, Initializer};
pub use stream::{Key, KeyRng, KeyedV1};
