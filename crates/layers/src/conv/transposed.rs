//! Transposed convolutions of sequences and images.

use candle_core::{Module, Result, Tensor};
use candle_nn::{ConvTranspose1dConfig, ConvTranspose2dConfig, Init, VarBuilder};
use wick_kernels::Window;

use crate::conv::of_group;

/// A transposed convolution of sequences: `x` of `[N, in, l]`, a weight of `[in, out/groups, k]`, the result
/// `[N, out, L]` with `L = (l − 1)·stride − 2·padding + dilation·(k − 1) + output_padding + 1`
/// ([`wick_kernels::conv_transpose1d`]). candle's own has no backward pass.
#[derive(Clone, Debug)]
pub struct ConvTranspose1d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: ConvTranspose1dConfig,
}

impl ConvTranspose1d {
    /// The layer of a weight of `[in, out/groups, k]` and a bias of `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: ConvTranspose1dConfig) -> Self {
        Self { weight, bias, config }
    }

    /// Paddings, stride, dilation and groups.
    pub fn config(&self) -> &ConvTranspose1dConfig {
        &self.config
    }

    /// The weight, `[in, out/groups, k]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Module for ConvTranspose1d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ConvTranspose1dConfig { padding, output_padding, stride, dilation, groups } = self.config;
        let (weight, bias) = (&self.weight, self.bias());
        wick_kernels::conv_transpose1d(xs, weight, bias, padding, output_padding, stride, dilation, groups)
    }
}

/// A transposed convolution of images: `x` of `[N, in, h, w]`, a weight of `[in, out, kh, kw]`, the result
/// `[N, out, H, W]` with `H = (h − 1)·stride − 2·padding + dilation·(kh − 1) + output_padding + 1`
/// ([`wick_kernels::conv_transpose2d`], which knows groups too).
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use candle_nn::VarBuilder;
/// use wick_layers::{ConvTranspose2dConfig, conv_transpose2d};
///
/// let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let layer = conv_transpose2d(8, 3, 2, ConvTranspose2dConfig { stride: 2, ..Default::default() }, vb)?;
/// let images = Tensor::zeros((4, 8, 5, 6), DType::F32, &Device::Cpu)?;
/// assert_eq!(layer.forward(&images)?.dims(), [4, 3, 10, 12]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    weight: Tensor,
    bias: Option<Tensor>,
    config: ConvTranspose2dConfig,
}

impl ConvTranspose2d {
    /// The layer of a weight of `[in, out, kh, kw]` and a bias of `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: ConvTranspose2dConfig) -> Self {
        Self { weight, bias, config }
    }

    /// Paddings, stride and dilation.
    pub fn config(&self) -> &ConvTranspose2dConfig {
        &self.config
    }

    /// The weight, `[in, out, kh, kw]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ConvTranspose2dConfig { padding, output_padding, stride, dilation } = self.config;
        let window = Window::square(stride, padding, dilation);
        wick_kernels::conv_transpose2d(xs, &self.weight, self.bias(), window, [output_padding; 2], 1)
    }
}

/// The hint for the weight and the bias: uniform within one over the root of `out` times the kernel's entries.
fn hint(out_channels: usize, entries: usize) -> Init {
    let bound = 1.0 / (out_channels as f64 * entries as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// A [`ConvTranspose1d`] with the variables `weight` and `bias` of `vb`.
///
/// # Errors
/// If the channels cannot be split into the groups, or `vb` does not have the variables.
pub fn conv_transpose1d(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: ConvTranspose1dConfig,
    vb: VarBuilder,
) -> Result<ConvTranspose1d> {
    let layer = conv_transpose1d_no_bias(in_channels, out_channels, kernel_size, cfg, vb.clone())?;
    let bias = vb.get_with_hints(out_channels, "bias", hint(out_channels, kernel_size))?;
    Ok(ConvTranspose1d { bias: Some(bias), ..layer })
}

/// A [`ConvTranspose1d`] with the variable `weight` of `vb`.
///
/// # Errors
/// As [`conv_transpose1d`].
pub fn conv_transpose1d_no_bias(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: ConvTranspose1dConfig,
    vb: VarBuilder,
) -> Result<ConvTranspose1d> {
    let shape = (in_channels, of_group(out_channels, cfg.groups)?, kernel_size);
    let weight = vb.get_with_hints(shape, "weight", hint(out_channels, kernel_size))?;
    Ok(ConvTranspose1d::new(weight, None, cfg))
}

/// A [`ConvTranspose2d`] with the variables `weight` and `bias` of `vb`.
///
/// # Errors
/// If `vb` does not have the variables.
pub fn conv_transpose2d(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: ConvTranspose2dConfig,
    vb: VarBuilder,
) -> Result<ConvTranspose2d> {
    let layer = conv_transpose2d_no_bias(in_channels, out_channels, kernel_size, cfg, vb.clone())?;
    let bias = vb.get_with_hints(out_channels, "bias", hint(out_channels, kernel_size * kernel_size))?;
    Ok(ConvTranspose2d { bias: Some(bias), ..layer })
}

/// A [`ConvTranspose2d`] with the variable `weight` of `vb`.
///
/// # Errors
/// As [`conv_transpose2d`].
pub fn conv_transpose2d_no_bias(
    in_channels: usize,
    out_channels: usize,
    kernel_size: usize,
    cfg: ConvTranspose2dConfig,
    vb: VarBuilder,
) -> Result<ConvTranspose2d> {
    let shape = (in_channels, out_channels, kernel_size, kernel_size);
    let weight = vb.get_with_hints(shape, "weight", hint(out_channels, kernel_size * kernel_size))?;
    Ok(ConvTranspose2d::new(weight, None, cfg))
}
