//! What the ops share on an NVIDIA GPU: kernels and their launches, graphs, the memory pool.

pub(crate) mod graph;
#[cfg(feature = "cuda")]
pub(crate) mod launch;
pub(crate) mod memory;
