//! Matrix products and orthonormal rows, on slices.

pub mod gemm;
pub mod haar;
pub mod qr;
mod reflections;
