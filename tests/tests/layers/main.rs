//! The layers of wick-layers and the ops behind them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod attention;
mod conv;
mod norms;
