//! What passes through a model: taps and observers, and the records that they make.

mod axis;
pub(crate) mod bad;
mod late;
pub(crate) mod log;
mod looks;
mod measure;
pub(crate) mod observer;
pub(crate) mod parameters;
pub(crate) mod probe;
pub(crate) mod record;
mod rows;
mod sums;
pub(crate) mod units;
pub(crate) mod watch;

#[cfg(test)]
mod tests;
