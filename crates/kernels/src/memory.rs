//! What the allocator does with freed memory.

/// Keeps freed memory with the process, for the next tensors; returns whether that was possible.
///
/// A training step frees and takes tens of tensors of megabytes. glibc gives each back to the kernel, which hands it out
/// again page by page, zeroed: on the job of `layer-stats`, more than a tenth of the time (`benches/run.py`). Call it once
/// at the start of a program that computes; a library should leave the choice to its users. The process then stays as
/// large as it was at its largest. On systems without glibc nothing happens.
///
/// ```
/// let kept = wick_kernels::keep_freed_memory();
/// assert_eq!(kept, cfg!(all(target_os = "linux", target_env = "gnu")));
/// ```
pub fn keep_freed_memory() -> bool {
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
