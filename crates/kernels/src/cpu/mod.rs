//! What the ops share on a CPU: vector units, threads, element types, slices of tensors, the allocator.

#[cfg(test)]
pub(crate) mod checks;
pub(crate) mod element;
pub(crate) mod idle;
pub(crate) mod lanes;
pub(crate) mod malloc;
pub mod parallel;
pub mod simd;
pub(crate) mod slice;
