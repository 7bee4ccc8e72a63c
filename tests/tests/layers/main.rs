//! The layers: gradients against difference quotients and PyTorch's values, and candle's faults beside them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod conv;
