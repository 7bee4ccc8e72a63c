//! Statistics of tensors and of streams of numbers.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod deferred;
pub(crate) mod histogram;
pub(crate) mod moments;
pub(crate) mod partial;
pub(crate) mod running;
pub(crate) mod summary;
