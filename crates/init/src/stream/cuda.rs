//! The stream drawn on a GPU, where the tensor is wanted: the same bits, and nothing to copy.

use candle_core::cuda_backend::cudarc::driver::{CudaFunction, DeviceRepr, LaunchConfig, PushKernelArg, sys};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Device, Result, Shape, Storage, Tensor, bail};
use half::{bf16, f16};

use super::{Key, fill::Truncated};
use crate::Distribution;

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// Threads in a block.
const THREADS: u32 = 256;
/// Rounds of Philox; `ROUNDS` in `stream.cu`.
const ROUNDS: usize = 10;

/// `Key` in `stream.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct There {
    seed: u64,
    /// The halves of each round's key.
    low: [u32; ROUNDS],
    high: [u32; ROUNDS],
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for There {}

impl There {
    fn new(key: Key) -> Self {
        let rounds = |first: u32, step: u32| {
            std::array::from_fn(|round| first.wrapping_add(step.wrapping_mul(round as u32)))
        };
        Self {
            seed: key.seed,
            low: rounds(key.name as u32, 0x9E37_79B9),
            high: rounds((key.name >> 32) as u32, 0xBB67_AE85),
        }
    }
}

/// `Truncated` in `stream.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct TruncatedThere {
    pub(super) mean: f64,
    pub(super) std: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) cdf: [f64; 2],
    pub(super) middle: f32,
    pub(super) half: f32,
    pub(super) near: i32,
    pub(super) mirrored: i32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for TruncatedThere {}

/// What a kernel takes besides key, place and count.
enum Parameters {
    Two(f64, f64),
    Truncated(TruncatedThere),
}

/// A tensor drawn on its device, if that is a GPU that can draw this distribution.
pub(crate) fn draw(
    key: Key,
    distribution: Distribution,
    shape: &Shape,
    dtype: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    let (Device::Cuda(device), true) = (device, shape.elem_count() > 0) else { return Ok(None) };
    let (name, parameters) = match distribution {
        Distribution::Normal { mean, std } => ("normal", Parameters::Two(mean, std)),
        Distribution::Uniform { low, high } => ("uniform", Parameters::Two(low, high)),
        Distribution::TruncatedNormal { .. } => {
            ("truncated", Parameters::Truncated(Truncated::new(distribution).for_gpu()))
        }
        Distribution::Constant(_) => return Ok(None),
    };
    let count = shape.elem_count();
    let storage = match dtype {
        DType::F32 => launch::<f32>(device, key, &format!("{name}_f32"), &parameters, count)?,
        DType::F64 => launch::<f64>(device, key, &format!("{name}_f64"), &parameters, count)?,
        DType::BF16 => launch::<bf16>(device, key, &format!("{name}_bf16"), &parameters, count)?,
        DType::F16 => launch::<f16>(device, key, &format!("{name}_f16"), &parameters, count)?,
        other => bail!("a floating point tensor was expected, not one of {}", other.as_str()),
    };
    let none = candle_core::op::BackpropOp::none();
    Ok(Some(Tensor::from_storage(Storage::Cuda(storage), shape, none, false)))
}

fn launch<T: CudaDType + DeviceRepr>(
    device: &CudaDevice,
    key: Key,
    name: &str,
    parameters: &Parameters,
    count: usize,
) -> Result<CudaStorage> {
    let function = device.get_or_load_custom_func(name, "wick-stream", ptx::STREAM)?;
    let blocks = count.div_ceil(4 * THREADS as usize).clamp(1, at_once(device, &function)?);
    let config =
        LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel writes every element, before anything that comes behind it on candle's one stream.
    let mut out = unsafe { device.alloc::<T>(count)? };
    let (key, length) = (There::new(key), count as u64);
    let mut launch = function.builder();
    launch.arg(&key);
    match parameters {
        Parameters::Two(a, b) => launch.arg(a).arg(b),
        Parameters::Truncated(truncated) => launch.arg(truncated),
    };
    launch.arg(&mut out).arg(&length);
    // SAFETY: the arguments are the kernel's, and `out` holds `count` elements.
    unsafe { launch.launch(config) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// How many blocks of a kernel the device runs at once: more are not launched, and the threads of these go on through all
/// elements.
fn at_once(device: &CudaDevice, function: &CudaFunction) -> Result<usize> {
    let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let processors = device.cuda_stream().context().attribute(count).w()?;
    let each = function.occupancy_max_active_blocks_per_multiprocessor(THREADS, 0, None).w()?;
    Ok((processors as usize * each as usize).max(1))
}
