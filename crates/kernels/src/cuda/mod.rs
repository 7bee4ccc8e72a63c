//! The same ops on a GPU, by the kernels in `cuda`.

mod activation;
mod dense;
mod dot;
mod optimizer;
mod stats;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, DevicePtr, DeviceRepr, LaunchConfig, ValidAsZeroBits, sys,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{Layout, Result, Storage, Tensor, bail};
use half::{bf16, f16};
use wick_theory::{Activation, SELU_ALPHA, SELU_SCALE};

pub(crate) use activation::{gradient, value};
pub(crate) use dense::{Gradient, Layer, Operand};
pub(crate) use dot::{dot, has_dot, scaled};
pub(crate) use optimizer::{Adam, Momentum};
pub(crate) use stats::{Board, MOST_BINS, Place, has, outside, summarize};

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// Threads in a block; `THREADS` in `tensor.cuh`.
const THREADS: u32 = 256;

/// An element that the kernels are there for.
trait Element: CudaDType + DeviceRepr + ValidAsZeroBits + 'static {
    /// What the kernels' names end in.
    const SUFFIX: &'static str;
}

impl Element for f32 {
    const SUFFIX: &'static str = "f32";
}

impl Element for f64 {
    const SUFFIX: &'static str = "f64";
}

impl Element for bf16 {
    const SUFFIX: &'static str = "bf16";
}

impl Element for f16 {
    const SUFFIX: &'static str = "f16";
}

/// Does something with `$T` as the type of a tensor's elements.
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
use by_type;

/// `Activation` in `activation.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Code {
    code: i32,
    unused: i32,
    slope: f64,
    scale: f64,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Code {}

impl Code {
    fn of(activation: Activation) -> Self {
        let (code, slope, scale) = match activation {
            Activation::Identity => (0, 0.0, 1.0),
            Activation::Sigmoid => (1, 0.0, 1.0),
            Activation::Tanh => (2, 0.0, 1.0),
            Activation::Relu => (3, 0.0, 1.0),
            Activation::LeakyRelu { slope } => (4, slope, 1.0),
            Activation::Elu { alpha } => (5, alpha, 1.0),
            Activation::Selu => (5, SELU_ALPHA, SELU_SCALE),
            Activation::Gelu => (6, 0.0, 1.0),
            Activation::GeluTanh => (7, 0.0, 1.0),
            Activation::Silu => (8, 0.0, 1.0),
            Activation::Softplus => (9, 0.0, 1.0),
            Activation::Softsign => (10, 0.0, 1.0),
            Activation::Hardtanh => (11, 0.0, 1.0),
            Activation::Hardswish => (12, 0.0, 1.0),
            Activation::Mish => (13, 0.0, 1.0),
            Activation::Sin => (14, 0.0, 1.0),
            Activation::Erf => (15, 0.0, 1.0),
        };
        Self { code, unused: 0, slope, scale }
    }
}

/// Blocks for `count` elements, of which a thread takes four at a time, or more where `most` blocks do not suffice.
fn blocks(count: usize, most: usize) -> LaunchConfig {
    let blocks = count.div_ceil(4 * THREADS as usize).clamp(1, most);
    LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// Where the elements of a contiguous layout begin and end.
fn contiguous(layout: &Layout) -> Result<(usize, usize)> {
    match layout.contiguous_offsets() {
        Some(place) => Ok(place),
        None => bail!("a contiguous tensor was expected"),
    }
}

/// What a storage on a GPU is made of.
fn on_gpu(storage: &Storage) -> Result<&CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => bail!("a tensor on a CUDA device was expected"),
    }
}

/// A tensor of what lies on a GPU.
fn tensor(storage: CudaStorage, shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, candle_core::op::BackpropOp::none(), false)
}

/// Memory for elements that a kernel is going to write, all of them, before anything reads one.
fn room<T: Element>(device: &CudaDevice, count: usize) -> Result<CudaSlice<T>> {
    // SAFETY: every caller's kernel writes all elements, in the order of the stream before anything else.
    unsafe { device.alloc::<T>(count.max(1)) }
}

/// Where a buffer begins on its device, for a launch on it. (All work on a device is in the order of candle's one stream,
/// so that nobody has to wait for anybody.)
fn address<T: DeviceRepr>(buffer: &CudaSlice<T>) -> u64 {
    buffer.device_ptr(buffer.stream()).0
}

/// Where the elements of a contiguous tensor begin on their device.
fn address_of<T: Element>(storage: &CudaStorage, layout: &Layout) -> Result<u64> {
    let (start, _) = contiguous(layout)?;
    Ok(address(storage.as_cuda_slice::<T>()?) + (start * size_of::<T>()) as u64)
}

/// A kernel by its name.
fn function(device: &CudaDevice, name: &str, source: &str, ptx: &str) -> Result<CudaFunction> {
    Ok(device.get_or_load_custom_func(name, source, ptx)?.into_cuda_function())
}

/// A kernel by its name and the type of its elements.
fn kernel<T: Element>(device: &CudaDevice, name: &str, source: &str, ptx: &str) -> Result<CudaFunction> {
    function(device, &format!("{name}_{}", T::SUFFIX), source, ptx)
}

/// A kernel whose threads go on through all elements, and how many of its blocks the device runs at once: more are not
/// launched.
fn lasting_kernel<T: Element>(
    device: &CudaDevice,
    name: &str,
    source: &str,
    ptx: &str,
) -> Result<(CudaFunction, usize)> {
    /// By device and kernel, for the driver has to think about it.
    static KNOWN: Mutex<BTreeMap<(usize, String), usize>> = Mutex::new(BTreeMap::new());
    let name = format!("{name}_{}", T::SUFFIX);
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
