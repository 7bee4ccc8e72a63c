//! Convolutions of sequences and images.

use candle_core::{Module, Result, Tensor, bail};
use candle_nn::init::DEFAULT_KAIMING_NORMAL;
use candle_nn::{Conv1dConfig, Conv2dConfig, Init, VarBuilder};
use wick_kernels::Window;

use crate::BatchNorm;
use crate::conv::of_group;

/// A convolution of sequences: `x` of `[N, in, L]`, a weight of `[out, in/groups, k]`, the result `[N, out, l]` with
/// `l = ⌊(L + 2·padding − dilation·(k − 1) − 1)/stride⌋ + 1` ([`wick_kernels::conv1d`]).
///
/// candle's own has a wrong gradient of the weight on a CPU, for batches of 2 and more.
#[derive(Clone, Debug)]
pub struct Conv1d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: Conv1dConfig,
}

impl Conv1d {
    /// The layer of a weight of `[out, in/groups, k]` and a bias of `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv1dConfig) -> Self {
        Self { weight, bias, config }
    }

    /// Padding, stride, dilation and groups.
    pub fn config(&self) -> &Conv1dConfig {
        &self.config
    }

    /// The weight, `[out, in/groups, k]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Module for Conv1d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let Conv1dConfig { padding, stride, dilation, groups, .. } = self.config;
        wick_kernels::conv1d(xs, &self.weight, self.bias(), padding, stride, dilation, groups)
    }
}

/// A convolution of images: `x` of `[N, in, H, W]`, a weight of `[out, in/groups, kh, kw]`, the result
/// `[N, out, h, w]` with `h = ⌊(H + 2·padding − dilation·(kh − 1) − 1)/stride⌋ + 1` ([`wick_kernels::conv2d`]).
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use candle_nn::VarBuilder;
/// use wick_layers::{Conv2dConfig, conv2d};
///
/// let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let layer = conv2d(3, 8, 3, Conv2dConfig { stride: 2, padding: 1, ..Default::default() }, vb)?;
/// let images = Tensor::zeros((4, 3, 8, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&images)?.dims(), [4, 8, 4, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: Conv2dConfig,
}

impl Conv2d {
    /// The layer of a weight of `[out, in/groups, kh, kw]` and a bias of `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Self {
        Self { weight, bias, config }
    }

    /// Padding, stride, dilation and groups.
    pub fn config(&self) -> &Conv2dConfig {
        &self.config
    }

    /// The weight, `[out, in/groups, kh, kw]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// The layer that is this one followed by a [`BatchNorm`] in evaluation: with the norm's `γ/√(v + ε)` in the weight
    /// and the rest in the bias. The running statistics are constants there, as they are in the norm.
    ///
    /// # Errors
    /// If the norm has no weight and bias, or its shape is another one.
    pub fn absorb_bn(&self, norm: &BatchNorm) -> Result<Self> {
        let Some((gamma, beta)) = norm.weight_and_bias() else {
            bail!("the batch norm has no weight and no bias to absorb");
        };
        let (mean, variance) = (norm.running_mean().detach(), norm.running_var().detach());
        let scale = gamma.div(&(variance + norm.eps())?.sqrt()?)?;
        let weight = self.weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
        let center = match &self.bias {
            None => mean.neg()?,
            Some(bias) => bias.sub(&mean)?,
        };
        Ok(Self { weight, bias: Some((beta + scale.mul(&center)?)?), config: self.config })
    }
}

impl Module for Conv2d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let Conv2dConfig { padding, stride, dilation, groups, .. } = self.config;
        wick_kernels::conv2d(xs, &self.weight, self.bias(), Window::square(stride, padding, dilation), groups)
    }
}

/// The hint for a bias: uniform within `1/√in`.
fn bias_hint(inputs: usize) -> Init {
    let bound = 1.0 / (inputs as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// A [`Conv1d`] with the variables `weight` and `bias` of `vb`.
///
/// # Errors
/// If the channels cannot be split into the groups, or `vb` does not have the variables.
pub fn conv1d(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv1dConfig,
    vb: VarBuilder,
) -> Result<Conv1d> {
    let layer = conv1d_no_bias(in_channels, out_channels, kernel_size, cfg, vb.clone())?;
    let bias = vb.get_with_hints(out_channels, "bias", bias_hint(in_channels))?;
    Ok(Conv1d { bias: Some(bias), ..layer })
}

/// A [`Conv1d`] with the variable `weight` of `vb`.
///
/// # Errors
/// As [`conv1d`].
pub fn conv1d_no_bias(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv1dConfig,
    vb: VarBuilder,
) -> Result<Conv1d> {
    let shape = (out_channels, of_group(in_channels, cfg.groups)?, kernel_size);
    Ok(Conv1d::new(vb.get_with_hints(shape, "weight", DEFAULT_KAIMING_NORMAL)?, None, cfg))
}

/// A [`Conv2d`] with the variables `weight` and `bias` of `vb`.
///
/// # Errors
/// If the channels cannot be split into the groups, or `vb` does not have the variables.
pub fn conv2d(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv2dConfig,
    vb: VarBuilder,
) -> Result<Conv2d> {
    let layer = conv2d_no_bias(in_channels, out_channels, kernel_size, cfg, vb.clone())?;
    let bias = vb.get_with_hints(out_channels, "bias", bias_hint(in_channels))?;
    Ok(Conv2d { bias: Some(bias), ..layer })
}

/// A [`Conv2d`] with the variable `weight` of `vb`.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_no_bias(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: Conv2dConfig,
    vb: VarBuilder,
) -> Result<Conv2d> {
    let shape = (out_channels, of_group(in_channels, cfg.groups)?, kernel_size, kernel_size);
    Ok(Conv2d::new(vb.get_with_hints(shape, "weight", DEFAULT_KAIMING_NORMAL)?, None, cfg))
}
