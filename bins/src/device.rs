//! The choice of a device.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use candle_core::Device;
use wick_theory::did_you_mean_or;

use crate::cli::usage;

/// A value of `--device`.
///
/// ```
/// use wick_bins::device::DeviceChoice;
///
/// assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Cuda(1)));
/// assert_eq!("CUDA".parse(), Ok(DeviceChoice::Cuda(0)));
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
    /// Opens the device, and returns it with its name.
    ///
    /// # Errors
    /// A usage error names the feature if this build lacks the kind of device, or the devices that exist if
    /// the machine lacks this one. The run fails if the device does not answer.
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

/// Opens a CUDA device that keeps the memory of freed tensors for the next ones, and that does not track
/// events.
fn open_cuda(number: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    {
        let found = names()?;
        if number >= found.len() {
            return Err(usage(format!("no device 'cuda:{number}'; this machine has {}", found.join(", "))));
        }
    }
    let device = Device::new_cuda(number).context(format!("CUDA device {number} does not answer"))?;
    wick_kernels::retain_freed_memory_on(&device)?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = &device {
        // SAFETY: candle does all its work on the stream that the device was opened with, and no program
        // makes another one. The order of that stream therefore ensures that no tensor is used before it is
        // written, and none is freed while it is in use, which is what the two events per tensor would
        // ensure.
        unsafe { device.disable_event_tracking() };
    }
    Ok(device)
}

/// Returns the CUDA devices of this machine, by number and name; at least one.
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

/// Returns the bytes of memory that new tensors can take on a device, and its total memory. The result is
/// `None` if the device does not tell.
pub fn memory(device: &Device) -> Option<(u64, u64)> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        let stream = device.cuda_stream();
        let (free, all) = stream.context().mem_get_info().ok()?;
        // The driver does not count the memory that the pool keeps as free.
        return Some((free as u64 + pool::unused(stream.context()).ok()?, all as u64));
    }
    let _ = device;
    None
}

/// Frees the memory that a device keeps for later tensors and graphs and that is not in use. On a device
/// without such memory this does nothing.
///
/// # Errors
/// Fails if the device does.
pub fn trim(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = device {
        device.synchronize()?;
        pool::trim(cuda.cuda_stream().context())?;
    }
    let _ = device;
    Ok(())
}

/// The memory pool of a CUDA device.
#[cfg(feature = "cuda")]
mod pool {
    use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result, sys};

    /// Returns the bytes of the pool that no tensor uses.
    pub(super) fn unused(context: &CudaContext) -> Result<u64, DriverError> {
        let [reserved, used] = [
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
        ]
        .map(|attribute| {
            let mut bytes = 0u64;
            // SAFETY: the device is open, its default pool lives as long as the device, and both attributes
            // are 64 bits.
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
        // SAFETY: the device is open, and the driver frees only memory that is not in use.
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

/// The text names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device{}; known: auto, cpu, cuda, cuda:N, metal, metal:N", did_you_mean_or(kind_of(.0), &WORDS, KINDS))]
pub struct UnknownDevice(pub String);

const KINDS: [&str; 4] = ["auto", "cpu", "cuda", "metal"];

/// What else the devices are called.
const WORDS: [(&str, &str); 4] = [("gpu", "cuda"), ("nvidia", "cuda"), ("mps", "metal"), ("apple", "metal")];

fn kind_of(text: &str) -> &str {
    text.split_once(':').map_or(text, |(kind, _)| kind)
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(text.to_owned());
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, number.parse().map_err(|_| unknown())?),
            None => (text, 0),
        };
        match kind.to_ascii_lowercase().as_str() {
            "cuda" => Ok(Self::Cuda(number)),
            "metal" => Ok(Self::Metal(number)),
            _ if kind.len() < text.len() => Err(unknown()),
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => Err(unknown()),
        }
    }
}
