//! Integrals over the standard normal measure.

mod expectation;
mod legendre;
mod panels;
#[cfg(test)]
mod tests;

pub use expectation::expectation;
pub(crate) use expectation::{Node, expectation_of, nodes};
pub use legendre::integrate;
pub(crate) use panels::Shape;
pub use panels::Tails;
