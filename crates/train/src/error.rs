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
}
