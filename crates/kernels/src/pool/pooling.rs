//! The two kinds of pools.

/// What is taken of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The largest pixel; the padding is never taken.
    Max,
    /// The mean of the pixels.
    Mean {
        /// Whether zeros of the padding count as pixels.
        include_padding: bool,
    },
}
