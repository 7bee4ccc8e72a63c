//! The errors of this crate.

/// An error of this crate. The text of each variant names the condition that does not hold and what to do
/// about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no samples, or more than an order can have.
    #[error("an order needs 1 to 2^62 samples, and there are {0}: give data with samples")]
    Samples(usize),
    /// The batch is empty or larger than the data.
    #[error("a batch of {batch} is not between 1 and the {samples} samples")]
    Batch {
        /// The samples of a batch.
        batch: usize,
        /// The samples of the data.
        samples: usize,
    },
    /// A parameter is NaN or outside its range.
    #[error("{parameter} = {value} is out of range: it must be {range}")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// The value that was given.
        value: f64,
        /// The allowed range, in words.
        range: &'static str,
    },
    /// The parts of a schedule do not fit each other.
    #[error("{0}")]
    Schedule(String),
    /// The text names no known schedule.
    #[error(
        "unknown schedule '{name}'{}; known: {known}",
        if .similar.is_empty() { String::new() } else { format!(" (did you mean {}?)", .similar.join(" or ")) }
    )]
    UnknownSchedule {
        /// The name that was read.
        name: String,
        /// The nearest of the known names, at most three.
        similar: Vec<&'static str>,
        /// All known names.
        known: String,
    },
    /// The text names a known schedule with a parameter that it does not have or that cannot be used.
    #[error("cannot read schedule '{spec}': {reason}")]
    Spec {
        /// The text that was read.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
}
