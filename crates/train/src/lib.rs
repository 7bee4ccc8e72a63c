//! Training for candle: a trainer for any model whose variables have names, and what belongs to it.
//!
//! - [`Trainer`]: the loop, with validation, early stopping, checkpoints from which a killed run goes on to the bit,
//!   a log, and the probe; [`Config`] has the settings.
//! - [`compare`]: whether one way to train gets there sooner: Kaplan and Meier, log-rank, Holm.
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

pub mod compare;
mod coordinate_check;
pub mod data;
pub mod data_dependent;
mod error;
pub mod metrics;
mod optimizer;
mod order;
mod rate_finder;
mod run;
mod schedule;
mod text;
mod trainer;

pub use coordinate_check::{
    CoordinateCheck, CoordinatePoint, CoordinateTable, Coordinates, Power, Size, Subject,
};
pub use error::Error;
pub use optimizer::OptimizerSpec;
pub use order::{Epoch, LastBatch, Order, PermutationV1, Position};
pub use rate_finder::{RateFinder, RatePoint, RateTest, RateTrial};
pub use run::RunFolder;
pub use run::weights::check_weights;
pub use schedule::{Closure, Curve, Schedule, Warmup};
pub use trainer::{
    Best, Config, EarlyStopping, Ended, Group, Length, Monitor, NamedVars, Outcome, Point, Replay, Step,
    Trainer, evaluate,
};
