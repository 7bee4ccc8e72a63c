//! Names of tensors and files in lines that people read.

pub use wick_theory::{listed, on_one_line, shown};
