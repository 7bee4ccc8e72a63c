//! Pools and images of another size, as functions in place of candle's tensor methods of the same names and arguments.

use candle_core::{Result, Tensor, ToUsize2};
use wick_kernels::Window;

pub use wick_kernels::{
    gather, scatter, scatter_add, upsample_bilinear2d, upsample_nearest1d, upsample_nearest2d,
};

/// What a pool has besides its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// The distance from one window to the next; `None` is the kernel's size.
    pub stride: Option<(usize, usize)>,
    /// The rows and the columns beside the image, at most half the kernel.
    pub padding: (usize, usize),
    /// The distance between two entries of a window.
    pub dilation: (usize, usize),
    /// Whether zeros of the padding count as pixels of a mean, as by PyTorch's default.
    pub count_include_pad: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { stride: None, padding: (0, 0), dilation: (1, 1), count_include_pad: true }
    }
}

impl PoolOptions {
    /// The same with a stride.
    pub fn with_stride(self, stride: impl ToUsize2) -> Self {
        Self { stride: Some(stride.to_usize2()), ..self }
    }

    /// The same with a padding.
    pub fn with_padding(self, padding: impl ToUsize2) -> Self {
        Self { padding: padding.to_usize2(), ..self }
    }

    fn window(&self, kernel: (usize, usize)) -> Window {
        let pair = |(rows, columns)| [rows, columns];
        let stride = pair(self.stride.unwrap_or(kernel));
        Window { stride, padding: pair(self.padding), dilation: pair(self.dilation) }
    }
}

/// The largest pixel of each window, for `x` of `[N, C, H, W]`: windows side by side, as candle's
/// `Tensor::max_pool2d`. The whole gradient goes to the first of the largest pixels ([`wick_kernels::max_pool2d`]);
/// candle's own passes back one part in as many as the window has entries.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_layers::max_pool2d;
///
/// let x = Tensor::new(&[[[[1f32, 3.0], [2.0, 0.0]]]], &Device::Cpu)?;
/// assert_eq!(max_pool2d(&x, 2)?.flatten_all()?.to_vec1::<f32>()?, [3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `x` does not have four dimensions, or a window does not fit into it.
pub fn max_pool2d(xs: &Tensor, sz: impl ToUsize2) -> Result<Tensor> {
    max_pool2d_with(xs, sz, PoolOptions::default())
}

/// The same with a stride of its own.
///
/// # Errors
/// As [`max_pool2d`].
pub fn max_pool2d_with_stride(
    xs: &Tensor,
    kernel_size: impl ToUsize2,
    stride: impl ToUsize2,
) -> Result<Tensor> {
    max_pool2d_with(xs, kernel_size, PoolOptions::default().with_stride(stride))
}

/// The same with stride, padding and dilation: the stem of a ResNet is
/// `max_pool2d_with(&x, 3, PoolOptions::default().with_stride(2).with_padding(1))`.
///
/// # Errors
/// As [`max_pool2d`], and if the padding is more than half the kernel.
pub fn max_pool2d_with(xs: &Tensor, kernel_size: impl ToUsize2, options: PoolOptions) -> Result<Tensor> {
    let kernel = kernel_size.to_usize2();
    wick_kernels::max_pool2d(xs, [kernel.0, kernel.1], options.window(kernel))
}

/// The mean of each window, for `x` of `[N, C, H, W]`: windows side by side, as candle's `Tensor::avg_pool2d`, whose
/// gradient is wrong where the windows do not fill the image.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_layers::avg_pool2d;
///
/// let x = Tensor::new(&[[[[1f32, 3.0, 7.0], [2.0, 0.0, 7.0]]]], &Device::Cpu)?;
/// assert_eq!(avg_pool2d(&x, 2)?.flatten_all()?.to_vec1::<f32>()?, [1.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`max_pool2d`].
pub fn avg_pool2d(xs: &Tensor, sz: impl ToUsize2) -> Result<Tensor> {
    avg_pool2d_with(xs, sz, PoolOptions::default())
}

/// The same with a stride of its own.
///
/// # Errors
/// As [`avg_pool2d`].
pub fn avg_pool2d_with_stride(
    xs: &Tensor,
    kernel_size: impl ToUsize2,
    stride: impl ToUsize2,
) -> Result<Tensor> {
    avg_pool2d_with(xs, kernel_size, PoolOptions::default().with_stride(stride))
}

/// The same with stride, padding and dilation, and with or without the padding's zeros.
///
/// # Errors
/// As [`avg_pool2d`], and if the padding is more than half the kernel.
pub fn avg_pool2d_with(xs: &Tensor, kernel_size: impl ToUsize2, options: PoolOptions) -> Result<Tensor> {
    let kernel = kernel_size.to_usize2();
    let window = options.window(kernel);
    wick_kernels::avg_pool2d(xs, [kernel.0, kernel.1], window, options.count_include_pad)
}
