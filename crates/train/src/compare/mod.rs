//! Whether one way to train gets there sooner than another: statistics of steps to a threshold, in which runs that
//! never arrive count.

mod difference;
mod survival;
#[cfg(test)]
mod tests;

pub use difference::{Difference, differences, log_rank};
pub use survival::{Interval, KaplanMeier, Steps};
