//! Starts that look at the data: initial weights that are corrected by what a batch does in the model.
//!
//! - [`Lsuv`]: each layer's output has a standard deviation of one (Mishkin and Matas 2015), before or behind its
//!   activation.
//! - [`AutoInit`]: each layer's *expected* output has, from the moments of its measured input (after Bingham and
//!   Miikkulainen 2023).
//! - [`PerChannel`]: each channel of each output has mean 0 and standard deviation 1 (Salimans and Kingma 2016).
//! - [`prior_bias`]: the last bias says how frequent each class is.
//!
//! The first three go through any candle model by [`Trace`](wick_probe::Trace), without a change of the model: they
//! take the variables by name and a closure that passes one batch forward. They draw nothing, so that the seed of the
//! start before them is theirs too, and they return a list of what they changed ([`Changes`]). Every variable that was
//! passed and is not corrected has the values that it had, as the running statistics of a batch norm that the passes
//! moved; after an error all have. Of variables that are not passed nothing is known: pass the statistics too, or call
//! the norm without training.

mod auto_init;
mod changes;
mod layers;
mod lsuv;
mod per_channel;
mod prior;
mod signal;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_reasons;

pub use auto_init::AutoInit;
pub use changes::{Change, Changes, Skipped};
pub use lsuv::Lsuv;
pub use per_channel::PerChannel;
pub use prior::prior_bias;
pub use signal::Signal;
