//! Layers for candle models that train, with the names and the signatures of candle-nn.
//!
//! A model moves here by its `use` lines; weights from candle's or PyTorch's files fit. The ops behind the layers
//! are in `wick_kernels`, each with its backward pass.

pub mod attention;
mod embedding;
pub mod kv_cache;
mod linear;
pub mod rotary_emb;

pub use embedding::{Embedding, embedding};
pub use linear::{Linear, linear, linear_b, linear_no_bias};
