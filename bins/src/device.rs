//! The choice of a device.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use candle_core::Device;

use crate::cli::usage;

/// What `--device` can say.
///
/// ```
/// use wick_bins::device::DeviceChoice;
///
/// assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Cuda(1)));
/// assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
/// assert!("tpu".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA or Metal device that this build can use, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device by its number.
    Cuda(usize),
    /// A Metal device by its number.
    Metal(usize),
}

impl DeviceChoice {
    /// Opens the device, and says its name.
    ///
    /// # Errors
    /// A usage error that names the feature if this build has not got that kind of device, and one that names the devices that
    /// are there if this one is not; a failed run if the device does not answer.
    pub fn open(self) -> Result<(Device, String)> {
        match self {
            Self::Cpu => Ok((Device::Cpu, "cpu".into())),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(missing(self, "cuda")),
            Self::Metal(_) if !cfg!(feature = "metal") => Err(missing(self, "metal")),
            Self::Cuda(number) => Ok((open_cuda(number)?, self.to_string())),
            Self::Metal(number) => {
                let device =
                    Device::new_metal(number).context(format!("Metal device {number} does not answer"))?;
                Ok((device, self.to_string()))
            }
            Self::Auto => {
                let accelerators =
                    [(cfg!(feature = "cuda"), Self::Cuda(0)), (cfg!(feature = "metal"), Self::Metal(0))];
                let first =
                    accelerators.into_iter().filter(|(built, _)| *built).find_map(|(_, d)| d.open().ok());
                first.map_or_else(|| Self::Cpu.open(), Ok)
            }
        }
    }
}

/// A CUDA device that keeps the memory that its tensors have freed for the next ones, and does not watch over streams.
fn open_cuda(number: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    {
        let there = names()?;
        if number >= there.len() {
            return Err(usage(format!("there is no device 'cuda:{number}'; there is {}", there.join(", "))));
        }
    }
    let device = Device::new_cuda(number).context(format!("CUDA device {number} does not answer"))?;
    wick_kernels::retain_freed_memory_on(&device)?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = &device {
        // SAFETY: candle does all its work on the one stream that the device has just been opened with, and no program makes
        // another, so that nothing is used before it is there nor freed while it is used. (Two events for each tensor would
        // see to the same.)
        unsafe { device.disable_event_tracking() };
    }
    Ok(device)
}

/// The CUDA devices of this machine, by number and name; at least one.
#[cfg(feature = "cuda")]
fn names() -> Result<Vec<String>> {
    use candle_core::cuda_backend::cudarc::driver::result;

    let none = "no CUDA device on this machine: use --device cpu";
    let count = result::init().and_then(|()| result::device::get_count()).context(none)?;
    let name = |number: i32| -> Result<String> {
        let name = result::device::get_name(result::device::get(number)?)?;
        Ok(format!("cuda:{number} ({name})"))
    };
    let names = (0..count).map(name).collect::<Result<Vec<_>>>()?;
    if names.is_empty() { Err(anyhow::anyhow!(none)) } else { Ok(names) }
}

/// The bytes of memory that new tensors can have on a device, and all it has; `None` where it does not tell.
pub fn memory(device: &Device) -> Option<(u64, u64)> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        let stream = device.cuda_stream();
        let (free, all) = stream.context().mem_get_info().ok()?;
        // To the driver, what the pool keeps is not free.
        return Some((free as u64 + pool::unused(stream.context()).ok()?, all as u64));
    }
    let _ = device;
    None
}

/// Gives back the memory that a device keeps for the next tensors and for recorded work, and that nothing uses. Where there is
/// no such memory nothing happens.
///
/// # Errors
/// If the device fails.
pub fn trim(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(there) = device {
        device.synchronize()?;
        pool::trim(there.cuda_stream().context())?;
    }
    let _ = device;
    Ok(())
}

/// The memory that a CUDA device keeps.
#[cfg(feature = "cuda")]
mod pool {
    use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result, sys};

    /// The bytes that no tensor has.
    pub(super) fn unused(context: &CudaContext) -> Result<u64, DriverError> {
        let [reserved, used] = [
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
        ]
        .map(|attribute| {
            let mut bytes = 0u64;
            // SAFETY: the device is open, its default pool is there as long as it is, and both attributes are 64 bits.
            unsafe {
                let pool = result::device::get_default_mem_pool(context.cu_device())?;
                result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast())?;
            }
            Ok(bytes)
        });
        Ok(reserved?.saturating_sub(used?))
    }

    pub(super) fn trim(context: &CudaContext) -> Result<(), DriverError> {
        context.bind_to_thread()?;
        // SAFETY: the device is open, and only what is not in use is given back.
        unsafe {
            result::mem_pool::trim_to(result::device::get_default_mem_pool(context.cu_device())?, 0)?;
            sys::cuDeviceGraphMemTrim(context.cu_device()).result()
        }
    }
}

fn missing(choice: DeviceChoice, feature: &str) -> anyhow::Error {
    usage(format!(
        "this build has no device '{choice}': build it with `--features {feature}`, or use --device cpu"
    ))
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

/// What was read names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device; known: auto, cpu, cuda, cuda:N, metal, metal:N")]
pub struct UnknownDevice;

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, number.parse().map_err(|_| UnknownDevice)?),
            None => (text, 0),
        };
        match kind {
            "cuda" => Ok(Self::Cuda(number)),
            "metal" => Ok(Self::Metal(number)),
            _ if kind.len() < text.len() => Err(UnknownDevice),
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => Err(UnknownDevice),
        }
    }
}
