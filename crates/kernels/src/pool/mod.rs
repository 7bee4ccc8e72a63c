//! Pools over windows of an image: the maximum, whose gradient goes to the first one, and the mean.

mod composed;
mod cpu;
mod pooling;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::conv::geometry::{Geometry, Window};
use crate::cpu::element::Number;
use crate::cpu::slice;
use pooling::Pooling;

/// The largest number of entries of a window, of which each output keeps one as 16 bits.
const LARGEST: usize = 1 << 16;

/// The largest pixel of each window of `x` (`[N, C, H, W]`), as `[N, C, oh, ow]` with
/// `oh = ⌊(H + 2p − d·(kh − 1) − 1)/s⌋ + 1`: PyTorch's `max_pool2d`.
///
/// Rows and columns that no window reaches get no gradient. Of several largest pixels the first, row by row, gets the
/// gradient; a NaN is larger than every number. Any kernel, stride, padding (at most half the kernel) and dilation will
/// do. `f32` and `f64` on a CPU are one op, which keeps 16 bits for each output; `bf16` and `f16` are computed in `f32`;
/// other devices take candle's ops.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::{Window, max_pool2d};
///
/// let x = Var::new(&[[[[1f32, 3.0, 3.0], [2.0, 0.0, 9.0]]]], &Device::Cpu)?; // [1, 1, 2, 3]
/// let y = max_pool2d(&x, [2, 2], Window::square(2, 0, 1))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [3.0]);
/// let gradients = y.sum_all()?.backward()?;
/// let gradient = gradients.get(&x).map(|g| g.flatten_all()?.to_vec1::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0]));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `x` does not have four dimensions and a float type, if the kernel is empty or does not fit into the padded image,
/// or if the padding is more than half the kernel.
pub fn max_pool2d(xs: &Tensor, kernel: [usize; 2], window: Window) -> Result<Tensor> {
    pool("max_pool2d", Pooling::Max, xs, kernel, window)
}

/// The mean of each window of `x` (`[N, C, H, W]`), as `[N, C, oh, ow]`: PyTorch's `avg_pool2d`. The zeros of the padding
/// count as pixels if `include_padding` holds, as they do by PyTorch's default.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::{Window, avg_pool2d};
///
/// let x = Tensor::new(&[[[[1f32, 3.0, 5.0], [2.0, 2.0, 9.0]]]], &Device::Cpu)?; // [1, 1, 2, 3]
/// let y = avg_pool2d(&x, [2, 2], Window::square(1, 0, 1), true)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [2.0, 4.75]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`max_pool2d`].
pub fn avg_pool2d(xs: &Tensor, kernel: [usize; 2], window: Window, include_padding: bool) -> Result<Tensor> {
    pool("avg_pool2d", Pooling::Mean { include_padding }, xs, kernel, window)
}

fn pool(op: &str, pooling: Pooling, xs: &Tensor, kernel: [usize; 2], window: Window) -> Result<Tensor> {
    let &[batch, channels, height, width] = xs.dims() else {
        bail!("{op}: x of shape {:?} does not have four dimensions", xs.dims());
    };
    if !xs.dtype().is_float() {
        bail!("{op}: a pool of {:?} has no gradient; convert x to f32", xs.dtype());
    }
    if (0..2).any(|axis| window.padding[axis] > kernel[axis] / 2) {
        bail!("{op}: a padding of {:?} is more than half of the kernel {kernel:?}", window.padding);
    }
    // Each channel of each image is an image of its own.
    let planes = batch * channels;
    let geometry = Geometry::new(op, (planes, 1, [height, width]), (1, 1, kernel), window, 1)?;
    if geometry.taps() > LARGEST {
        bail!("{op}: a kernel of {kernel:?} has more than {LARGEST} entries");
    }
    let [rows, columns] = geometry.places;
    match (xs.device(), xs.dtype()) {
        (Device::Cpu, DType::F32 | DType::F64) => {
            let kept = xs.track_op().then(OnceLock::new);
            let pooled = xs.contiguous()?.apply_op1(Pool { pooling, geometry, kept })?;
            pooled.reshape((batch, channels, rows, columns))
        }
        (_, DType::F32 | DType::F64) => {
            composed::pool(pooling, &geometry, xs)?.reshape((batch, channels, rows, columns))
        }
        (_, half) => pool(op, pooling, &xs.to_dtype(DType::F32)?, kernel, window)?.to_dtype(half),
    }
}

/// A pool as an op in candle's graph.
struct Pool {
    pooling: Pooling,
    geometry: Geometry,
    /// The entry of the window that each output is, if there will be a gradient.
    kept: Option<OnceLock<Vec<u16>>>,
}

impl Pool {
    fn forward_as<T: Number>(&self, xs: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
        let (g, xs) = (&self.geometry, slice::of::<T>(xs, layout)?);
        let ys = match (self.pooling, &self.kept) {
            (Pooling::Mean { include_padding }, _) => cpu::mean(g, xs, include_padding),
            (Pooling::Max, None) => cpu::max::<T, false>(g, xs).0,
            (Pooling::Max, Some(kept)) => {
                let (ys, entries) = cpu::max::<T, true>(g, xs);
                // An op goes forward once; a second pass would have the same result.
                let _ = kept.set(entries);
                ys
            }
        };
        Ok(T::to_cpu_storage_owned(ys))
    }

    fn backward_as<T: Number>(&self, gradient: &Tensor) -> Result<Vec<T>> {
        let g = &self.geometry;
        slice::with(&gradient.contiguous()?, |dys: &[T]| match self.pooling {
            Pooling::Mean { include_padding } => Ok(cpu::of_mean(g, dys, include_padding)),
            Pooling::Max => match self.kept.as_ref().and_then(OnceLock::get) {
                Some(entries) => Ok(cpu::of_max(g, dys, entries)),
                None => bail!("the pool has not gone forward"),
            },
        })?
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let ys = match xs {
            CpuStorage::F32(_) => self.forward_as::<f32>(xs, layout)?,
            _ => self.forward_as::<f64>(xs, layout)?,
        };
        let [rows, columns] = self.geometry.places;
        Ok((ys, (self.geometry.batch, rows, columns).into()))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let of_input = match xs.dtype() {
            DType::F32 => Tensor::from_vec(self.backward_as::<f32>(gradient)?, xs.shape(), &Device::Cpu)?,
            _ => Tensor::from_vec(self.backward_as::<f64>(gradient)?, xs.shape(), &Device::Cpu)?,
        };
        Ok(Some(of_input))
    }
}
