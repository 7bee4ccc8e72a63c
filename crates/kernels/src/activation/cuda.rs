//! Activations and their gradients on a GPU.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::{Layout, Result, Shape, bail};
use wick_theory::Activation;

use crate::activation::code::Code;
use crate::cuda::launch::{DeviceElement, alloc_uninit, blocks, by_type, contiguous, kernel, ptx};

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Code {}

/// The largest number of blocks of a pass over elements.
const MAX_BLOCKS: usize = 1 << 16;

/// `φ` of every element, of any layout.
pub(crate) fn value(
    activation: Activation,
    xs: &CudaStorage,
    layout: &Layout,
) -> Result<(CudaStorage, Shape)> {
    if !layout.is_contiguous() {
        let mut laid_out = xs.device().zeros_impl(layout.shape(), xs.dtype())?;
        xs.copy_strided_src(&mut laid_out, 0, layout)?;
        return value(activation, &laid_out, &Layout::contiguous(layout.shape()));
    }
    let output = by_type!(xs.dtype(), T => value_as::<T>(activation, xs, layout)?);
    Ok((output, layout.shape().clone()))
}

fn value_as<T: DeviceElement>(
    activation: Activation,
    xs: &CudaStorage,
    layout: &Layout,
) -> Result<CudaStorage> {
    let (device, (start, end)) = (xs.device(), contiguous(layout)?);
    let count = end - start;
    // SAFETY: the kernel writes all `count` elements.
    let mut ys = unsafe { alloc_uninit::<T>(device, count)? };
    let xs = xs.as_cuda_slice::<T>()?.slice(start..end);
    if count > 0 {
        let function = kernel::<T>(device, "value", "wick-activation", ptx::ACTIVATION)?;
        let (code, length) = (Code::new(activation), count as u64);
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&code).arg(&xs).arg(&mut ys).arg(&length);
        // SAFETY: the arguments are those of the kernel: `xs` and `ys` have `count` elements each.
        unsafe { launch.launch(blocks(count, MAX_BLOCKS)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(ys, device.clone()))
}

/// `φ'·g` of every element, of contiguous tensors of one shape.
pub(crate) fn gradient(
    activation: Activation,
    (xs, x_layout): (&CudaStorage, &Layout),
    (gs, g_layout): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    if x_layout.shape() != g_layout.shape() || xs.dtype() != gs.dtype() {
        bail!("a gradient of {:?} for an input of {:?}", g_layout.shape(), x_layout.shape());
    }
    let output = by_type!(xs.dtype(), T => gradient_as::<T>(activation, (xs, x_layout), (gs, g_layout))?);
    Ok((output, x_layout.shape().clone()))
}

fn gradient_as<T: DeviceElement>(
    activation: Activation,
    (xs, x_layout): (&CudaStorage, &Layout),
    (gs, g_layout): (&CudaStorage, &Layout),
) -> Result<CudaStorage> {
    let ((x0, x1), (g0, g1)) = (contiguous(x_layout)?, contiguous(g_layout)?);
    let (device, count) = (xs.device(), x1 - x0);
    // SAFETY: the kernel writes all `count` elements.
    let mut ys = unsafe { alloc_uninit::<T>(device, count)? };
    let (xs, gs) = (xs.as_cuda_slice::<T>()?.slice(x0..x1), gs.as_cuda_slice::<T>()?.slice(g0..g1));
    if count > 0 {
        let function = kernel::<T>(device, "gradient", "wick-activation", ptx::ACTIVATION)?;
        let (code, length) = (Code::new(activation), count as u64);
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&code).arg(&xs).arg(&gs).arg(&mut ys).arg(&length);
        // SAFETY: the arguments are those of the kernel: `xs`, `gs` and `ys` have `count` elements each
        // (`gradient` has checked that the shapes are equal).
        unsafe { launch.launch(blocks(count, MAX_BLOCKS)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(ys, device.clone()))
}
