//! The sum of products, in two stages, and its gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::cuda_backend::{CudaStorage, WrapErr};
use candle_core::{DType, Layout, Result, Shape, Tensor};

use super::{
    Element, address, address_of, blocks, by_type, contiguous, kernel, lasting_kernel, on_gpu, ptx, room,
    tensor,
};

/// Whether the kernels are there for a tensor.
pub(crate) fn has_dot(xs: &Tensor) -> bool {
    let floating = matches!(xs.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    xs.device().is_cuda() && floating && xs.elem_count() > 0
}

/// `Σ a b` of contiguous tensors of one shape, which are not empty.
pub(crate) fn dot(a: (&CudaStorage, &Layout), b: (&CudaStorage, &Layout)) -> Result<(CudaStorage, Shape)> {
    Ok((by_type!(a.0.dtype(), T => dot_as::<T>(a, b)?), Shape::from(())))
}

fn dot_as<T: Element>(a: (&CudaStorage, &Layout), b: (&CudaStorage, &Layout)) -> Result<CudaStorage> {
    let device = a.0.device().clone();
    let (start, end) = contiguous(a.1)?;
    let (function, most) = lasting_kernel::<T>(&device, "dot", "wick-dot", ptx::DOT)?;
    let config = blocks(end - start, most);
    let mut sum = room::<T>(&device, 1)?;
    let mut words = device.alloc_zeros::<u64>(1 + config.grid_dim.0 as usize)?;
    let (a, b, length) = (address_of::<T>(a.0, a.1)?, address_of::<T>(b.0, b.1)?, (end - start) as u64);
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&a).arg(&b).arg(&mut sum).arg(&mut words).arg(&length);
    // SAFETY: the arguments are the kernel's: as many elements in `a` and in `b`, one number for the sum, and a word for each
    // block and one more.
    unsafe { launch.launch(config) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(sum, device.clone()))
}

/// A contiguous tensor times a number that lies on the same device.
pub(crate) fn scaled(xs: &Tensor, scale: &Tensor) -> Result<Tensor> {
    by_type!(xs.dtype(), T => scaled_as::<T>(xs, scale))
}

fn scaled_as<T: Element>(xs: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let ((storage, layout), (scale, scale_layout)) = (xs.storage_and_layout(), scale.storage_and_layout());
    let (storage, scale) = (on_gpu(&storage)?, on_gpu(&scale)?);
    let (device, count) = (storage.device().clone(), xs.elem_count());
    let ys = room::<T>(&device, count)?;
    let function = kernel::<T>(&device, "scaled", "wick-dot", ptx::DOT)?;
    let (from, by, to) =
        (address_of::<T>(storage, layout)?, address_of::<T>(scale, scale_layout)?, address(&ys));
    let length = count as u64;
    let stream = device.cuda_stream();
    let mut launch = stream.launch_builder(&function);
    launch.arg(&from).arg(&by).arg(&to).arg(&length);
    // SAFETY: the arguments are the kernel's: `count` elements in both buffers, and one number.
    unsafe { launch.launch(blocks(count, 1 << 16)) }.w()?;
    Ok(tensor(CudaStorage::wrap_cuda_slice(ys, device.clone()), xs.shape()))
}
