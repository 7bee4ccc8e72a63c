//! The stream drawn on a GPU, where the tensor is wanted: the same bits, and nothing to copy.

use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Device, Result, Shape, Storage, Tensor, bail};
use half::{bf16, f16};

use super::Key;
use crate::Distribution;

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// Threads in a block.
const THREADS: u32 = 256;
/// Blocks at most; a thread draws more than four elements then.
const BLOCKS: usize = 1 << 16;

/// `Key` in `stream.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct There {
    seed: u64,
    name: u64,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for There {}

/// A tensor drawn on its device, if that is a GPU that can draw this distribution.
pub(crate) fn draw(
    key: Key,
    distribution: Distribution,
    shape: &Shape,
    dtype: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    let (Device::Cuda(device), true) = (device, shape.elem_count() > 0) else { return Ok(None) };
    let (name, a, b) = match distribution {
        Distribution::Normal { mean, std } => ("normal", mean, std),
        Distribution::Uniform { low, high } => ("uniform", low, high),
        Distribution::Constant(_) | Distribution::TruncatedNormal { .. } => return Ok(None),
    };
    let count = shape.elem_count();
    let storage = match dtype {
        DType::F32 => launch::<f32>(device, key, &format!("{name}_f32"), a, b, count)?,
        DType::F64 => launch::<f64>(device, key, &format!("{name}_f64"), a, b, count)?,
        DType::BF16 => launch::<bf16>(device, key, &format!("{name}_bf16"), a, b, count)?,
        DType::F16 => launch::<f16>(device, key, &format!("{name}_f16"), a, b, count)?,
        other => bail!("a floating point tensor was expected, not one of {}", other.as_str()),
    };
    let none = candle_core::op::BackpropOp::none();
    Ok(Some(Tensor::from_storage(Storage::Cuda(storage), shape, none, false)))
}

fn launch<T: CudaDType + DeviceRepr>(
    device: &CudaDevice,
    key: Key,
    name: &str,
    a: f64,
    b: f64,
    count: usize,
) -> Result<CudaStorage> {
    let function = device.get_or_load_custom_func(name, "wick-stream", ptx::STREAM)?;
    let blocks = count.div_ceil(4 * THREADS as usize).clamp(1, BLOCKS);
    let config =
        LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel writes every element, before anything that comes behind it on candle's one stream.
    let mut out = unsafe { device.alloc::<T>(count)? };
    let (key, length) = (There { seed: key.seed, name: key.name }, count as u64);
    let mut launch = function.builder();
    launch.arg(&key).arg(&a).arg(&b).arg(&mut out).arg(&length);
    // SAFETY: the arguments are the kernel's, and `out` holds `count` elements.
    unsafe { launch.launch(config) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}
