//! What Wick's programs share: arguments, devices, data, results on stdout, pictures.
//!
//! A program is a folder in `src/bin`: `main.rs` has its arguments and its steps in order, `report.rs` what
//! it prints, `picture.rs` what it draws.

pub mod allocator;
pub mod args;
pub mod cli;
pub mod data;
pub mod device;
pub mod limits;
pub mod memory;
pub mod names;
pub mod objective;
pub mod output;
pub mod peak;
pub mod picture;
pub mod progress;
pub mod saved_model;
pub mod threads;
pub mod values;
pub mod warning;
pub mod weights;
