//! Models of candle-transformers, unmodified, built from a config as the hub has it: what `model-stats` looks at.
//!
//! [`architectures`] has a row for each. Its [`Architecture::read`] makes a [`Net`] of a config, and [`Net::build`]
//! a forward pass of any `VarBuilder`.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use wick_init::{InitMap, Initializer, Rule};
//! use wick_model_stats::architecture;
//! use wick_probe::reach;
//!
//! let gemma = architecture("gemma").ok_or_else(|| anyhow::anyhow!("a row"))?;
//! let map = InitMap::new(42)
//!     .with_rules([Rule::draw("**.weight [*]", Initializer::zeros())?])
//!     .with_default_init(Initializer::lecun_normal());
//! let mut forward = gemma.read(&gemma.small()?)?.build(map.var_builder(DType::F32, &Device::Cpu))?;
//! let tokens = Tensor::new(&[[3u32, 10, 17, 24, 31, 38]], &Device::Cpu)?;
//! let reach = reach(&map.named_vars(), || forward(&tokens)?.sqr()?.mean_all())?;
//! assert_eq!((reach.parameters, reach.unreached.len()), (20, 4));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod architecture;
mod config;
mod images;
mod table;
mod text;

pub use architecture::{Architecture, Forward, Net, Takes};
pub use config::ConfigError;
pub use table::{architecture, architecture_of, architectures};
