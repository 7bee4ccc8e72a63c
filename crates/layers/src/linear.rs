//! Linear layers as one op.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Init, VarBuilder, init};
use wick_kernels::dense;
use wick_theory::Activation;

/// `x Wᵀ + b` for `x` of shape `[…, in]`, as [`candle_nn::Linear`], computed forward and backward as one op
/// ([`wick_kernels::dense`]).
///
/// ```
/// use candle_core::{Device, Module, Tensor};
/// use wick_layers::Linear;
///
/// let layer = Linear::new(Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?, None);
/// let ys = layer.forward(&Tensor::new(&[[10f32, 100.0]], &Device::Cpu)?)?;
/// assert_eq!(ys.to_vec2::<f32>()?, [[210.0, 430.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// A layer of a weight `[out, in]` and a bias `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// The weight, `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Module for Linear {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        dense(xs, &self.weight, self.bias.as_ref(), Activation::Identity, None)
    }
}

/// A layer of the variables `weight` and `bias`, with candle's hints for their start.
///
/// # Errors
/// If the variables are missing or have other shapes.
pub fn linear(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Linear> {
    let weight = vb.get_with_hints((out_dim, in_dim), "weight", init::DEFAULT_KAIMING_NORMAL)?;
    let bound = 1.0 / (in_dim as f64).sqrt();
    let bias = vb.get_with_hints(out_dim, "bias", Init::Uniform { lo: -bound, up: bound })?;
    Ok(Linear::new(weight, Some(bias)))
}

/// A layer of the variable `weight`, without bias.
///
/// # Errors
/// If the variable is missing or has another shape.
pub fn linear_no_bias(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Linear> {
    let weight = vb.get_with_hints((out_dim, in_dim), "weight", init::DEFAULT_KAIMING_NORMAL)?;
    Ok(Linear::new(weight, None))
}

/// [`linear`] or [`linear_no_bias`].
///
/// # Errors
/// Theirs.
pub fn linear_b(in_dim: usize, out_dim: usize, bias: bool, vb: VarBuilder) -> Result<Linear> {
    if bias { linear(in_dim, out_dim, vb) } else { linear_no_bias(in_dim, out_dim, vb) }
}
