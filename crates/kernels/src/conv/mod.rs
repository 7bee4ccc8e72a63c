//! Convolutions, and transposed ones, as one op each, with the gradients of the input, the weight and the bias.
//!
//! The forward pass multiplies the weight by the matrix of columns, of which only one panel exists at a time: it is
//! packed straight from the image into the order in which the product reads it. The gradient of the weight packs
//! the same columns turned round; the gradient of the input computes a part of the columns' gradients in the cache
//! and adds them to their pixels. Channels that are groups of their own (depthwise) are loops over whole channels.

mod columns;
pub(crate) mod composed;
mod cpu;
pub(crate) mod depthwise;
pub(crate) mod geometry;
mod op;
pub(crate) mod stage;
mod sums;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::cpu::simd::SimdLevel;
use geometry::{Geometry, Window};
use op::Convolution;

/// The convolution of `x` (`[N, C, H, W]`) with `weight` (`[O, C/groups, kh, kw]`), plus `bias` (`[O]`):
/// `y[n, o, h, w] = b[o] + Σ_{c,i,j} weight[o, c, i, j] · x[n, c', h·s + i·d − p, w·s + j·d − p]`, with stride `s`,
/// padding `p` and dilation `d` of the [`Window`], where `c'` is channel `c` of the group of `o` and pixels outside
/// the image are 0.
///
/// The result is `[N, O, oh, ow]` with `oh = ⌊(H + 2p − d·(kh − 1) − 1)/s⌋ + 1`, as PyTorch's `conv2d` has it,
/// differentiable in `x`, `weight` and `bias`; a gradient that no variable wants is not computed. `f32` and `f64` on a
/// CPU are one op; `bf16` and `f16` are computed in `f32` and rounded once. On other devices, and without a fused
/// multiply-add, the same is composed of candle's ops. No bit depends on the number of threads or the SIMD level.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::{Window, conv2d};
///
/// let x = Tensor::new(&[[[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]]], &Device::Cpu)?; // [1, 1, 2, 3]
/// let weight = Tensor::new(&[[[[1f32, 0.0], [0.0, -1.0]]]], &Device::Cpu)?; // [1, 1, 2, 2]
/// let bias = Tensor::new(&[0.5f32], &Device::Cpu)?;
/// let y = conv2d(&x, &weight, Some(&bias), Window::default(), 1)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-3.5, -3.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit together, or the kernel does not fit into the padded image.
pub fn conv2d(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: Window,
    groups: usize,
) -> Result<Tensor> {
    const OP: &str = "conv2d";
    let ((batch, channels, h, w), (out, inputs, kh, kw)) =
        (four(OP, "x", xs)?, four(OP, "the weight", weight)?);
    let geometry = Geometry::new(OP, (batch, channels, [h, w]), (out, inputs, [kh, kw]), window, groups)?;
    apply(OP, geometry, false, [Some(xs), Some(weight), bias])
}

/// The convolution of sequences `x` (`[N, C, L]`) with `weight` (`[O, C/groups, k]`), plus `bias` (`[O]`):
/// [`conv2d`] of images of one row.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::conv1d;
///
/// let x = Tensor::new(&[[[1f32, 2.0, 4.0, 8.0]]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[-1f32, 1.0]]], &Device::Cpu)?;
/// let y = conv1d(&x, &weight, None, 0, 1, 1, 1)?; // padding 0, stride 1, dilation 1, one group
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 2.0, 4.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`conv2d`].
pub fn conv1d(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    padding: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
) -> Result<Tensor> {
    const OP: &str = "conv1d";
    let ((batch, channels, l), (out, inputs, k)) = (three(OP, "x", xs)?, three(OP, "the weight", weight)?);
    let window = Window::of_sequence(stride, padding, dilation);
    let geometry = Geometry::new(OP, (batch, channels, [1, l]), (out, inputs, [1, k]), window, groups)?;
    let (image, kernel) = (xs.unsqueeze(2)?, weight.unsqueeze(2)?);
    apply(OP, geometry, false, [Some(&image), Some(&kernel), bias])?.squeeze(2)
}

/// The transposed convolution of `x` (`[N, C, h, w]`) with `weight` (`[C, O/groups, kh, kw]`), plus `bias` (`[O]`):
/// the gradient of the input of the convolution with that weight, for a gradient `x` of its output.
///
/// The result is `[N, O, H, W]` with `H = (h − 1)·s − 2p + d·(kh − 1) + output_padding + 1`, as PyTorch's
/// `conv_transpose2d` has it, differentiable in all three.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::{Window, conv_transpose2d};
///
/// let x = Tensor::new(&[[[[1f32, 2.0]]]], &Device::Cpu)?; // [1, 1, 1, 2]
/// let weight = Tensor::new(&[[[[1f32, 10.0]]]], &Device::Cpu)?; // [1, 1, 1, 2]
/// let y = conv_transpose2d(&x, &weight, None, Window::default(), [0, 0], 1)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 12.0, 20.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit together, if the padding leaves nothing, or if the output padding is not
/// below the stride or the dilation.
pub fn conv_transpose2d(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    window: Window,
    output_padding: [usize; 2],
    groups: usize,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose2d";
    let ((batch, channels, h, w), (inputs, out, kh, kw)) =
        (four(OP, "x", xs)?, four(OP, "the weight", weight)?);
    let (x, kernel) = ((batch, channels, [h, w]), (inputs, out, [kh, kw]));
    let geometry = Geometry::transposed(OP, x, kernel, window, output_padding, groups)?;
    apply(OP, geometry, true, [Some(xs), Some(weight), bias])
}

/// The transposed convolution of sequences `x` (`[N, C, l]`) with `weight` (`[C, O/groups, k]`), plus `bias` (`[O]`):
/// [`conv_transpose2d`] of images of one row.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::conv_transpose1d;
///
/// let x = Tensor::new(&[[[1f32, 2.0]]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[1f32, 10.0]]], &Device::Cpu)?;
/// let y = conv_transpose1d(&x, &weight, None, 0, 0, 2, 1, 1)?; // paddings 0, stride 2, dilation 1, one group
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 10.0, 2.0, 20.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`conv_transpose2d`].
#[allow(clippy::too_many_arguments)] // Those of candle's method, and the bias.
pub fn conv_transpose1d(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    padding: usize,
    output_padding: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose1d";
    let ((batch, channels, l), (inputs, out, k)) = (three(OP, "x", xs)?, three(OP, "the weight", weight)?);
    let (x, kernel) = ((batch, channels, [1, l]), (inputs, out, [1, k]));
    let window = Window::of_sequence(stride, padding, dilation);
    let geometry = Geometry::transposed(OP, x, kernel, window, [0, output_padding], groups)?;
    let (image, kernel) = (xs.unsqueeze(2)?, weight.unsqueeze(2)?);
    apply(OP, geometry, true, [Some(&image), Some(&kernel), bias])?.squeeze(2)
}

fn four(op: &str, what: &str, tensor: &Tensor) -> Result<(usize, usize, usize, usize)> {
    match *tensor.dims() {
        [a, b, c, d] => Ok((a, b, c, d)),
        ref dims => bail!("{op}: {what} of shape {dims:?} does not have four dimensions"),
    }
}

fn three(op: &str, what: &str, tensor: &Tensor) -> Result<(usize, usize, usize)> {
    match *tensor.dims() {
        [a, b, c] => Ok((a, b, c)),
        ref dims => bail!("{op}: {what} of shape {dims:?} does not have three dimensions"),
    }
}

/// The op for `x`, the weight and the bias, in the type and on the device that they have.
fn apply(
    op: &str,
    geometry: Geometry,
    transposed: bool,
    [xs, weight, bias]: [Option<&Tensor>; 3],
) -> Result<Tensor> {
    let (Some(xs), Some(weight)) = (xs, weight) else { bail!("{op}: no weight") };
    let channels = if transposed { geometry.channels() } else { geometry.out() };
    if let Some(bias) = bias.filter(|bias| bias.dims() != [channels]) {
        bail!("{op}: a bias of shape {:?} for {channels} output channels", bias.dims());
    }
    for tensor in [Some(weight), bias].into_iter().flatten() {
        if tensor.dtype() != xs.dtype() || !tensor.device().same_device(xs.device()) {
            bail!(
                "{op}: x is {:?} on {:?}, but the weight or the bias is {:?} on {:?}",
                xs.dtype(),
                xs.device().location(),
                tensor.dtype(),
                tensor.device().location()
            );
        }
    }
    if !xs.dtype().is_float() {
        bail!("{op}: tensors of {:?} have no convolution; convert them to f32", xs.dtype());
    }
    let level = SimdLevel::best();
    match (xs.device(), xs.dtype()) {
        // candle's ops cannot reshape what has no elements.
        (Device::Cpu, DType::F32 | DType::F64) if level.is_fast() || xs.elem_count() == 0 => {
            let wants = [xs.track_op(), weight.track_op(), bias.is_some_and(Tensor::track_op)];
            let op = Convolution { geometry, transposed, wants, level };
            let (xs, weight) = (xs.contiguous()?, weight.contiguous()?);
            match bias {
                Some(bias) => xs.apply_op3(&weight, &bias.contiguous()?, op),
                None => xs.apply_op2(&weight, op),
            }
        }
        (_, DType::F32 | DType::F64) if transposed => composed::transposed(&geometry, xs, weight, bias),
        (_, DType::F32 | DType::F64) => composed::convolution(&geometry, xs, weight, bias),
        (_, half) => {
            let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
            let (xs, weight, bias) = (wide(xs)?, wide(weight)?, bias.map(wide).transpose()?);
            apply(op, geometry, transposed, [Some(&xs), Some(&weight), bias.as_ref()])?.to_dtype(half)
        }
    }
}
