//! What training on candle needs beside a model and its gradients.
//!
//! - [`Order`]: which samples a step sees. Each epoch is another keyed permutation ([`PermutationV1`]), of
//!   which any step is computed at once and nothing is kept.
//! - [`data`]: files of samples and labels ([`data::Samples`], [`data::Labels`]), their parts for training,
//!   validation and test ([`data::Prepared`]), data sets in memory in the type that they have
//!   ([`data::InMemory`]), batches made ahead ([`data::Prefetch`]) and samples changed at random
//!   ([`data::Augmented`]).
//!
//! ```
//! use wick_init::KeyedV1;
//! use wick_train::Order;
//!
//! let order = Order::new(60_000, KeyedV1::new(42).key("order"))?;
//! let position = order.position(1_000_000, 128)?;
//! assert_eq!((position.epoch, position.indices.len()), (2132, 128));
//! # Ok::<(), wick_train::Error>(())
//! ```

pub mod data;
mod error;
mod order;
mod schedule;
mod text;

pub use error::Error;
pub use order::{Epoch, LastBatch, Order, PermutationV1, Position};
pub use schedule::{Closure, Curve, Schedule, Warmup};
