//! The layers of `wick_layers` beside candle's own, against difference quotients, and against PyTorch.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod attention;
#[path = "../../../bins/tests/fuzz/memory.rs"]
mod memory;
