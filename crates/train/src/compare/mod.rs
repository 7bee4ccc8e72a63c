//! Whether one way to train gets there sooner than another.
//!
//! - [`Design`] is an experiment: starts of nets, each at its own best learning rate, which was tuned with the same
//!   budget for all; [`run`] does its runs, many at once, one a thread; [`RecordFile`] keeps those that are done.
//! - [`Race`] trains one model to a [`Threshold`].
//! - [`KaplanMeier`], [`sooner`], [`larger`], [`Mean`], [`holm`] and [`least_p`] are the statistics of what came out: steps to the
//!   threshold, in which runs that never arrive count, figures at the end, and whether differences are real.

mod bootstrap;
mod design;
mod difference;
mod holm;
mod permutation;
mod race;
mod records;
mod runner;
mod survival;
#[cfg(test)]
mod tests;

pub use bootstrap::Mean;
pub use design::{Design, Part, Record, Stage, Trial};
pub use difference::{Difference, differences, larger, log_rank, sooner};
pub use holm::holm;
pub use permutation::least_p;
pub use race::{Course, CourseEnd, Figures, Race, Threshold};
pub use records::RecordFile;
pub use runner::run;
pub use survival::{Interval, KaplanMeier, Steps};
