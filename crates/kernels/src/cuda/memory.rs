//! The memory pool of a GPU.

use candle_core::{Device, Result};

/// Keeps the memory that tensors on a GPU have freed with the process. By default, CUDA's pool returns the
/// memory whenever the process waits for the device, and has to allocate it again. Call this once for each
/// device. On other devices nothing happens.
///
/// # Errors
/// If the driver refuses.
///
/// ```
/// use candle_core::Device;
///
/// wick_kernels::retain_freed_memory_on(&Device::Cpu)?;
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn retain_freed_memory_on(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::sys;

        let mut pool = std::ptr::null_mut();
        let mut threshold = u64::MAX;
        let cu_device = device.cuda_stream().context().cu_device();
        // SAFETY: the device is open, `pool` is written before it is used, and the threshold is the 64 bits
        // that this attribute takes.
        unsafe {
            sys::cuDeviceGetDefaultMemPool(&raw mut pool, cu_device).result().w()?;
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result().w()?;
        }
    }
    let _ = device;
    Ok(())
}
