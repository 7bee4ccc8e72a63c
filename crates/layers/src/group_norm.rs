//! Group norm.

use candle_core::{Module, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

/// Group norm of `[batch, channels, …]`: the op [`wick_kernels::group_norm`] with its weight and bias, `[channels]`.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use wick_layers::GroupNorm; // instead of candle_nn::GroupNorm
///
/// let (w, b) = (Tensor::ones(4, DType::F32, &Device::Cpu)?, Tensor::zeros(4, DType::F32, &Device::Cpu)?);
/// let norm = GroupNorm::new(w, b, 4, 2, 0.0)?;
/// let x = Tensor::new(&[[[1f32], [3.0], [10.0], [30.0]]], &Device::Cpu)?;
/// assert_eq!(norm.forward(&x)?.flatten_all()?.to_vec1::<f32>()?, [-1.0, 1.0, -1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    num_channels: usize,
    num_groups: usize,
}

impl GroupNorm {
    /// A group norm of weight and bias, `[num_channels]` each.
    ///
    /// # Errors
    /// If the groups do not divide the channels.
    pub fn new(
        weight: Tensor,
        bias: Tensor,
        num_channels: usize,
        num_groups: usize,
        eps: f64,
    ) -> Result<Self> {
        if num_groups == 0 || !num_channels.is_multiple_of(num_groups) {
            bail!("a group norm of {num_groups} groups takes channels that they divide, not {num_channels}");
        }
        Ok(Self { weight, bias, eps, num_channels, num_groups })
    }
}

impl Module for GroupNorm {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        if xs.rank() < 2 || xs.dims()[1] != self.num_channels {
            bail!(
                "a group norm of {} channels takes [batch, channels, …], not {:?}",
                self.num_channels,
                xs.shape()
            );
        }
        wick_kernels::group_norm(xs, self.num_groups, &self.weight, &self.bias, self.eps)
    }
}

/// A group norm with the variables `weight` (1) and `bias` (0), `[num_channels]` each.
///
/// # Errors
/// If the groups do not divide the channels, and those of the `VarBuilder`.
pub fn group_norm(num_groups: usize, num_channels: usize, eps: f64, vb: VarBuilder) -> Result<GroupNorm> {
    let weight = vb.get_with_hints(num_channels, "weight", Init::Const(1.0))?;
    let bias = vb.get_with_hints(num_channels, "bias", Init::Const(0.0))?;
    GroupNorm::new(weight, bias, num_channels, num_groups, eps)
}
