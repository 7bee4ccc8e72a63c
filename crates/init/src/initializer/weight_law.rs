//! The law of a weight, as far as a signal that goes through the weight depends on it.

/// The law of a weight of mean 0, as [`Initializer::weight_law`](crate::Initializer::weight_law) returns it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightLaw {
    /// The variance of an element.
    pub variance: f64,
    /// Whether rows or columns, whichever are fewer, are orthogonal and of equal length. Otherwise the
    /// elements are independent.
    pub orthogonal: bool,
}
