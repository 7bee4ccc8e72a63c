//! The keyed stream, drawn on a GPU: the same bits as on the CPU, and nothing to copy.

use candle_core::cuda_backend::cudarc::driver::{CudaFunction, DeviceRepr, LaunchConfig, PushKernelArg, sys};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{DType, Device, Result, Shape, Storage, Tensor, bail};
use half::{bf16, f16};

use super::truncated::Truncated;
use super::{Key, philox};
use crate::rng::law::Law;

mod ptx {
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// The number of threads in a block.
const THREADS: u32 = 256;

/// `Key` in `stream.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct DeviceKey {
    seed: u64,
    /// The halves of each round's key.
    low: [u32; philox::ROUNDS],
    high: [u32; philox::ROUNDS],
}

// SAFETY: the struct is plain numbers, laid out as in C.
unsafe impl DeviceRepr for DeviceKey {}

impl From<Key> for DeviceKey {
    fn from(key: Key) -> Self {
        let half =
            |half: usize| std::array::from_fn(|round| philox::round_key(key.philox_key(), round)[half]);
        Self { seed: key.seed, low: half(0), high: half(1) }
    }
}

/// `Truncated` in `stream.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct DeviceTruncated {
    mean: f64,
    std: f64,
    low: f64,
    high: f64,
    cdf: [f64; 2],
    middle: f32,
    half: f32,
    near: i32,
    mirrored: i32,
}

// SAFETY: the struct is plain numbers, laid out as in C.
unsafe impl DeviceRepr for DeviceTruncated {}

impl From<Truncated> for DeviceTruncated {
    fn from(truncated: Truncated) -> Self {
        let Truncated { mean, std, low, high, near, cdf, mirrored } = truncated;
        let (middle, half) = near.unwrap_or_default();
        Self {
            mean,
            std,
            low,
            high,
            cdf: [cdf.0, cdf.1],
            middle,
            half,
            near: near.is_some().into(),
            mirrored: mirrored.into(),
        }
    }
}

/// The arguments of a kernel besides key, output and count.
enum Parameters {
    Two(f64, f64),
    Truncated(DeviceTruncated),
}

/// Draws a tensor on its device; `None` if the device is not a CUDA GPU, or for a constant.
pub(crate) fn draw(
    key: Key,
    law: Law,
    shape: &Shape,
    dtype: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    let (Device::Cuda(device), true) = (device, shape.elem_count() > 0) else { return Ok(None) };
    let (name, parameters) = match law {
        Law::Normal { mean, std } => ("normal", Parameters::Two(mean, std)),
        Law::Uniform { low, high } => ("uniform", Parameters::Two(low, high)),
        Law::TruncatedNormal { mean, std, low, high } => {
            ("truncated", Parameters::Truncated(Truncated::new(mean, std, low, high).into()))
        }
        Law::Constant(_) => return Ok(None),
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
    let blocks = count.div_ceil(4 * THREADS as usize).clamp(1, resident_blocks(device, &function)?);
    let config =
        LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the kernel below writes all `count` elements, and everything that reads them comes after it on
    // candle's one stream.
    let mut out = unsafe { device.alloc::<T>(count)? };
    let (key, length) = (DeviceKey::from(key), count as u64);
    let mut launch = function.builder();
    launch.arg(&key);
    match parameters {
        Parameters::Two(a, b) => launch.arg(a).arg(b),
        Parameters::Truncated(truncated) => launch.arg(truncated),
    };
    launch.arg(&mut out).arg(&length);
    // SAFETY: the types and the order of the arguments are those of the kernel in `stream.cu`; `out` holds
    // `count` elements, and `length`, which bounds every write, is `count`.
    unsafe { launch.launch(config) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// Returns the number of a kernel's blocks that the device runs at once. No more blocks are launched, and
/// their threads loop over all elements.
fn resident_blocks(device: &CudaDevice, function: &CudaFunction) -> Result<usize> {
    let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let processors = device.cuda_stream().context().attribute(count).w()?;
    let each = function.occupancy_max_active_blocks_per_multiprocessor(THREADS, 0, None).w()?;
    Ok((processors as usize * each as usize).max(1))
}
