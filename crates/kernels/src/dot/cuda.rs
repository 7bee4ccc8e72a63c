//! The sum of products on a GPU, in two stages, and its gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::{DType, Layout, Result, Shape, Tensor};

use crate::cuda::launch::{
    DeviceElement, address, address_of, alloc_uninit, blocks, by_type, contiguous, kernel, on_gpu,
    persistent_kernel, ptx, tensor,
};

/// Whether there are kernels for the type and device of a tensor.
pub(crate) fn has_kernels(xs: &Tensor) -> bool {
    let floating = matches!(xs.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    xs.device().is_cuda() && floating && xs.elem_count() > 0
}

/// `Σ a b` of contiguous tensors of one shape, which are not empty.
pub(crate) fn dot(a: (&CudaStorage, &Layout), b: (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
    Ok((by_type!(a.0.dtype(), T => dot_as::<T>(a, b)?), Shape::from(())))
}

fn dot_as<T: DeviceElement>(a: (&CudaStorage, &Layout), b: (&CudaStorage, &Layout)) -> Result<CudaStorage> {
    let device = a.0.device().clone();
    let (start, end) = contiguous(a.1)?;
    let (function, max_blocks) = persistent_kernel::<T>(&device, "dot", "wick-dot", ptx::DOT)?;
    let config = blocks(end - start, max_blocks);
    // SAFETY: the last block of the kernel writes the sum.
    let mut sum = unsafe { alloc_uninit::<T>(&device, 1)? };
    let mut words = device.alloc_zeros::<u64>(1 + config.grid_dim.0 as usize)?;
    let (a, b, length) = (address_of::<T>(a.0, a.1)?, address_of::<T>(b.0, b.1)?, (end - start) as u64);
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&a).arg(&b).arg(&mut sum).arg(&mut words).arg(&length);
    // SAFETY: the arguments are those of the kernel: `length` elements in `a` and in `b` (`dot` has checked
    // that the shapes are equal), one in `sum`, and in `words`, which are zero, one for each block and one
    // more.
    unsafe { launch.launch(config) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(sum, device.clone()))
}

/// A contiguous tensor times a scalar on the same device.
pub(crate) fn scaled(xs: &Tensor, scale: &Tensor) -> Result<Tensor> {
    by_type!(xs.dtype(), T => scaled_as::<T>(xs, scale))
}

fn scaled_as<T: DeviceElement>(xs: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let ((storage, layout), (scale, scale_layout)) = (xs.storage_and_layout(), scale.storage_and_layout());
    let (storage, scale) = (on_gpu(&storage)?, on_gpu(&scale)?);
    let (device, count) = (storage.device().clone(), xs.elem_count());
    // SAFETY: the kernel writes all `count` elements.
    let ys = unsafe { alloc_uninit::<T>(&device, count)? };
    let function = kernel::<T>(&device, "scaled", "wick-dot", ptx::DOT)?;
    let (from, by, to) =
        (address_of::<T>(storage, layout)?, address_of::<T>(scale, scale_layout)?, address(&ys));
    let length = count as u64;
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&from).arg(&by).arg(&to).arg(&length);
    // SAFETY: the arguments are those of the kernel: `length` elements in `xs` and in `ys`, and one in
    // `scale`.
    unsafe { launch.launch(blocks(count, 1 << 16)) }.w()?;
    Ok(tensor(CudaStorage::wrap_cuda_slice(ys, device.clone()), xs.shape()))
}
