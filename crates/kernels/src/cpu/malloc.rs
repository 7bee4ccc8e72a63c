//! What the system does with fresh memory, and the CPU's allocator with freed memory.

use std::mem::MaybeUninit;

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

/// Asks the system for large pages behind memory that nothing has been written to yet.
///
/// The first write to a page stops at the kernel, which finds a page and zeroes it. For a tensor of 1 GiB, that is
/// a quarter of a million stops with pages of 4 KiB, and 512 with pages of 2 MiB. Linux gives such pages to those
/// who ask (`/sys/kernel/mm/transparent_hugepage/enabled` is `madvise` or `always`). The advice is for the whole
/// large pages within the slice, if there are some; the contents do not change. Other systems are not asked.
///
/// ```
/// let mut numbers: Vec<f32> = Vec::with_capacity(4 << 20);
/// wick_kernels::advise_large_pages(numbers.spare_capacity_mut());
/// numbers.resize(4 << 20, 1.0);
/// ```
pub fn advise_large_pages<T>(fresh: &mut [MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        /// The large page of x86-64, and of aarch64 with pages of 4 KiB. Where it is larger, the kernel takes the
        /// part of the advice that fits its own.
        const PAGE: usize = 2 << 20;
        let bytes = size_of_val(fresh);
        let start = fresh.as_mut_ptr().cast::<u8>();
        let before = start.align_offset(PAGE);
        let pages = bytes.saturating_sub(before) / PAGE;
        if pages > 1 {
            // SAFETY: the range lies within the slice, and the advice changes no contents. An error means that
            // the kernel has no such pages.
            unsafe { libc::madvise(start.add(before).cast(), pages * PAGE, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = fresh;
}

/// Room for a tensor of `count` elements that are about to be written: on large pages if the allocator takes it from
/// the system anew each time.
pub(crate) fn room<T>(count: usize) -> Vec<T> {
    /// About the size from which glibc does so, whatever [`retain_freed_memory`] asks for.
    const LARGE: usize = 32 << 20;
    let mut room = Vec::with_capacity(count);
    if count >= LARGE / size_of::<T>().max(1) {
        advise_large_pages(&mut room.spare_capacity_mut()[..count]);
    }
    room
}
