//! What the allocators do with freed memory.

use candle_core::{Device, Result};

/// Keeps freed memory with the process, for the next tensors; returns whether that was possible.
///
/// A training step frees and takes tens of tensors of megabytes. glibc gives each back to the kernel, which hands it out
/// again page by page, zeroed: on the job of `layer-stats`, more than a tenth of the time (`benches/run.py`). Call it once
/// at the start of a program that computes; a library should leave the choice to its users. The process then stays as
/// large as it was at its largest. On systems without glibc nothing happens.
///
/// ```
/// let kept = wick_kernels::retain_freed_memory();
/// assert_eq!(kept, cfg!(all(target_os = "linux", target_env = "gnu")));
/// ```
pub fn retain_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest that glibc takes on 64 bits.
        const LARGEST: libc::c_int = 32 << 20;
        // SAFETY: `mallopt` may be called at any time; it changes settings and moves nothing.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST) == 1
                && libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX) == 1
        }
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

/// Keeps the memory that tensors on a GPU have freed with the process. CUDA's pool gives it back whenever the device is waited
/// for, by default, and has to ask for it again; call this once for each device. On other devices nothing happens.
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
        // SAFETY: the device is open, `pool` is written before it is used, and the threshold is the 64 bits that this
        // attribute takes.
        unsafe {
            sys::cuDeviceGetDefaultMemPool(&raw mut pool, cu_device).result().w()?;
            let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result().w()?;
        }
    }
    let _ = device;
    Ok(())
}
