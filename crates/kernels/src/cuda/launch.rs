//! Kernels and their launches: what all ops on a GPU share.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, ValidAsZeroBits, sys,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{Layout, Result, Shape, Storage, Tensor, WithDType, bail};

pub(crate) mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// The number of threads in a block: `THREADS` in `tensor.cuh`.
pub(crate) const THREADS: u32 = 256;

/// An element type of a device's tensors. [`by_type!`] gives those that the kernels exist for: `f32`, `f64`,
/// `bf16` and `f16`.
pub(crate) trait DeviceElement: WithDType + CudaDType + DeviceRepr + ValidAsZeroBits {}

impl<T: WithDType + CudaDType + DeviceRepr + ValidAsZeroBits> DeviceElement for T {}

/// Evaluates an expression with `$T` as the type of a tensor's elements.
macro_rules! by_type {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            candle_core::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            candle_core::DType::F16 => {
                type $T = half::f16;
                $body
            }
            other => {
                candle_core::bail!("a floating point tensor was expected, not one of {}", other.as_str())
            }
        }
    };
}
pub(crate) use by_type;

/// A launch over `count` elements, of which each thread takes four at a time, with at most `max` blocks,
/// whose threads go on to further elements.
pub(crate) fn blocks(count: usize, max: usize) -> LaunchConfig {
    let blocks = count.div_ceil(4 * THREADS as usize).clamp(1, max);
    LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// The indices of the first element of a contiguous layout, and of the one behind the last.
pub(crate) fn contiguous(layout: &Layout) -> Result<(usize, usize)> {
    match layout.contiguous_offsets() {
        Some(ends) => Ok(ends),
        None => bail!("a contiguous tensor was expected"),
    }
}

/// The storage of a tensor on a GPU.
pub(crate) fn on_gpu(storage: &Storage) -> Result<&CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => bail!("a tensor on a CUDA device was expected"),
    }
}

/// A tensor, outside any graph, of a storage on a GPU.
pub(crate) fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Allocates memory for `count` elements without initialising it.
///
/// # Safety
/// A kernel must write every element before anything reads one. (All work on a device runs in the order of
/// candle's one stream, so a kernel launched first has written first.)
pub(crate) unsafe fn alloc_uninit<T: DeviceElement>(
    device: &CudaDevice,
    count: usize,
) -> Result<CudaSlice<T>> {
    // SAFETY: the caller's promise.
    unsafe { device.alloc::<T>(count.max(1)) }
}

/// The address of a buffer on its device, for a launch on it. (All work on a device runs in the order of
/// candle's one stream, so no synchronisation is needed.)
pub(crate) fn address<T: DeviceRepr>(buffer: &CudaSlice<T>) -> u64 {
    buffer.device_ptr(buffer.stream()).0
}

/// The address of the first element of a contiguous tensor on its device.
pub(crate) fn address_of<T: DeviceElement>(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    let (start, _) = contiguous(layout)?;
    Ok(address(storage.as_cuda_slice::<T>()?) + (start * size_of::<T>()) as u64)
}

/// A kernel by its name.
pub(crate) fn function(device: &CudaDevice, name: &str, source: &str, ptx: &str) -> Result<CudaFunction> {
    Ok(device.get_or_load_custom_func(name, source, ptx)?.into_cuda_function())
}

/// A kernel by its name and the type of its elements.
pub(crate) fn kernel<T: DeviceElement>(
    device: &CudaDevice,
    name: &str,
    source: &str,
    ptx: &str,
) -> Result<CudaFunction> {
    function(device, &format!("{name}_{}", T::DTYPE.as_str()), source, ptx)
}

/// A kernel by its name and the type of its elements, and the number of its blocks that the device runs at
/// once. No more blocks are launched: their threads loop over all elements.
pub(crate) fn persistent_kernel<T: DeviceElement>(
    device: &CudaDevice,
    name: &str,
    source: &str,
    ptx: &str,
) -> Result<(CudaFunction, usize)> {
    /// The number of blocks by device and kernel, since the driver takes a while to compute it.
    static KNOWN: Mutex<BTreeMap<(usize, String), usize>> = Mutex::new(BTreeMap::new());
    let name = format!("{name}_{}", T::DTYPE.as_str());
    let function = function(device, &name, source, ptx)?;
    let stream = device.cuda_stream();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (stream.context().ordinal(), name);
    let at_once = match known.get(&key) {
        Some(&at_once) => at_once,
        None => {
            let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
            let processors = stream.context().attribute(count).w()? as usize;
            let each =
                function.occupancy_max_active_blocks_per_multiprocessor(THREADS, 0, None).w()? as usize;
            let at_once = (processors * each).max(1);
            known.insert(key, at_once);
            at_once
        }
    };
    Ok((function, at_once))
}
