//! A look into any candle model, without a tap and without a change to it.

mod activation;
mod again;
mod attention;
mod attribution;
mod bands;
mod check;
mod entry;
mod gradient;
mod graph;
mod kind;
mod layer;
mod layer_band;
mod least_squares;
mod node;
mod norms;
mod product;
mod reach;
mod record;
mod rows;
pub(crate) mod sample;
mod start;
mod sums;
mod table;
#[cfg(test)]
mod test_numbers;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_bands;
#[cfg(test)]
mod tests_of_healthy;
mod traced;
mod weights;
mod wide;

pub use attention::Attention;
pub use check::{GradientCheck, check_each_gradient, check_gradient};
pub use graph::Mark;
pub use layer::{GradientBy, Kind, TracedLayer};
pub use layer_band::{LayerBand, Predicted};
pub use reach::{Cut, Reach};
pub use traced::{Trace, reach};
pub use wide::WideBiases;
