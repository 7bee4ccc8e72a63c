//! Multilayer perceptrons on candle tensors, their losses and their training loop.
//!
//! - [`Mlp`]: any widths, with or without biases, with one activation for the hidden layers and one for the
//!   last, built from a plain [`VarBuilder`](candle_nn::VarBuilder). [`Mlp::forward_with`] passes every
//!   layer's signals to a callback.
//! - [`activate`]: the tensor op of every [`Activation`], with its exact derivative.
//! - [`loss`]: squared error, cross entropy, and the L2 penalty.
//! - [`fit`]: gradient descent with any candle optimizer on a loss in candle's graph. [`fit_with`]: the same
//!   with gradients that the caller computes, for example by [`Mlp::tape`].
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{Module, VarBuilder, VarMap};
//! use wick_model::{Activation, Mlp, MlpConfig};
//!
//! let vars = VarMap::new();
//! let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
//! let mlp = Mlp::new(&MlpConfig::new(8, [16, 16, 3], Activation::Tanh), vb)?;
//! let output = mlp.forward(&Tensor::ones((5, 8), DType::F32, &Device::Cpu)?)?;
//! assert_eq!(output.dims(), [5, 3]);
//! assert!(output.abs()?.max_all()?.to_scalar::<f32>()? <= 1.0);
//! # Ok::<(), candle_core::Error>(())
//! ```

pub mod loss;
mod mlp;
mod train;

pub use mlp::{Mlp, MlpConfig, Signal, Tape};
pub use train::{fit, fit_with};
pub use wick_kernels::{activate, activation_gradient};
pub use wick_theory::Activation;
