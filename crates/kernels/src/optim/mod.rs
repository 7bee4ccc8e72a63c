//! Optimizers that step a variable in one pass over its numbers, and what they share.
//!
//! An optimizer is a file with its parameters, which are a [`Method`](method::Method), and a
//! [`Rule`](pass::Rule): the loop over the numbers of a part of a variable, its gradient and its state, and
//! the same by candle's ops. On a GPU it can have a kernel in `cuda/optimizer.cu`, launched from the same file
//! on many variables at once.

pub(crate) mod adamw;
pub(crate) mod clip;
#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod ema;
pub(crate) mod lion;
pub(crate) mod method;
pub(crate) mod muon;
mod pass;
mod real;
mod saved;
pub(crate) mod schedule_free;
pub(crate) mod sgd;
pub(crate) mod slot;
pub(crate) mod stepper;
#[cfg(test)]
mod tests;
