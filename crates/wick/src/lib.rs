//! Wick: start neural networks well, see their signals, and train them, on candle.

pub use wick_init as init;
pub use wick_kernels as kernels;
pub use wick_model as model;
pub use wick_probe as probe;
pub use wick_theory as theory;
