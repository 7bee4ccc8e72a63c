//! What the CPU's allocator does with freed memory.

/// Keeps freed memory with the process, for the next tensors; returns whether that was possible.
///
/// A training step allocates and frees tens of tensors of megabytes. glibc returns each to the kernel, which
/// hands it out again page by page, zeroed: on the job of `layer-stats`, that takes more than a tenth of the
/// time (`benches/run.py`).
///
/// The function sets glibc's `mallopt` thresholds for the whole process: blocks of up to 32 MiB stay on the
/// heap, and the heap is not trimmed, so that the process stays as large as it was at its largest. Call it
/// once, at the start of a program that computes; a library should leave the choice to its users. On systems
/// without glibc nothing happens.
///
/// ```
/// let kept = wick_kernels::retain_freed_memory();
/// assert_eq!(kept, cfg!(all(target_os = "linux", target_env = "gnu")));
/// ```
pub fn retain_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// The largest threshold that glibc takes on 64 bits.
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
