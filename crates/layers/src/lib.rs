//! Layers for candle models that train, with the names and the signatures of candle-nn.
//!
//! A model moves here by its `use` lines; weights from candle's or PyTorch's files fit. The ops behind the layers
//! are in `wick_kernels`, each with its backward pass.
