//! A look into any candle model, without a tap and without a change to it.

mod activation;
mod again;
mod attribution;
mod bands;
mod check;
mod entry;
mod gradient;
mod graph;
mod kind;
mod layer;
mod node;
mod product;
mod reach;
mod record;
pub(crate) mod sample;
mod table;
#[cfg(test)]
mod test_numbers;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_healthy;
mod traced;
mod weights;

pub use bands::LayerBand;
pub use check::{GradientCheck, check_each_gradient, check_gradient};
pub use graph::Mark;
pub use layer::{GradientBy, Kind, TracedLayer};
pub use reach::{Cut, Reach};
pub use traced::{Trace, reach};
