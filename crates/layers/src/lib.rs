//! Layers for candle models that train, with the names and the signatures of candle-nn.
//!
//! A model moves here by its `use` lines; weights from candle's or PyTorch's files fit. The ops behind the layers
//! are in `wick_kernels`, each with its backward pass.

pub mod batch_norm;
pub mod dropout;
pub mod group_norm;
pub mod layer_norm;
pub mod loss;
pub mod ops;

pub use batch_norm::{BatchNorm, BatchNormConfig, batch_norm};
pub use dropout::{Dropout, MaskKey};
pub use group_norm::{GroupNorm, group_norm};
pub use layer_norm::{LayerNorm, LayerNormConfig, RmsNorm, layer_norm, layer_norm_no_bias, rms_norm};
pub mod attention;
mod embedding;
pub mod kv_cache;
mod linear;
pub mod rotary_emb;

pub use embedding::{Embedding, embedding};
pub use linear::{Linear, linear, linear_b, linear_no_bias};
pub mod conv;
pub mod pool;

pub use conv::{
    Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, ConvTranspose1d, ConvTranspose1dConfig, ConvTranspose2d,
    ConvTranspose2dConfig, conv_transpose1d, conv_transpose1d_no_bias, conv_transpose2d,
    conv_transpose2d_no_bias, conv1d, conv1d_no_bias, conv2d, conv2d_no_bias,
};
pub use pool::{
    PoolOptions, avg_pool2d, avg_pool2d_with, avg_pool2d_with_stride, gather, max_pool2d, max_pool2d_with,
    max_pool2d_with_stride, scatter, scatter_add, upsample_bilinear2d, upsample_nearest1d,
    upsample_nearest2d,
};
