//! Memory: sizes that the machine does not have are refused before a computation.

use std::fs;

use anyhow::Result;
use candle_core::Device;

use crate::cli::usage;
use crate::device;
use crate::output::sizes;

/// Refuses a computation that needs more memory than is free now, before it starts.
///
/// `numbers` is how many numbers of `bytes` bytes each the program holds at once. It is an `f64`, so that
/// absurd sizes do not overflow. `remedy` is what the user can do.
///
/// # Errors
/// A usage error with both sizes and the remedy.
pub fn check(numbers: f64, bytes: usize, remedy: &str) -> Result<()> {
    // If the machine does not tell, nothing is refused.
    let free = free().map_or(f64::INFINITY, |free| free as f64);
    refuse(numbers * bytes as f64, free, "", remedy)
}

/// The bytes of memory that this process can have now, if the machine tells: what is free on the machine and in
/// the container, and what the limits of the process (`ulimit -v` and `ulimit -d`) leave.
pub fn free() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let container = system.cgroup_limits().map(|limits| {
        // The file cache counts as used, and the system takes it back when memory is short.
        limits.free_memory.saturating_add(file_cache()).min(limits.total_memory)
    });
    let free = [Some(system.available_memory()), container, within_limits()];
    free.into_iter().flatten().min()
}

/// The bytes of the container's file cache that have not been used of late. Version 2 of Linux' control groups
/// has its own place and key.
fn file_cache() -> u64 {
    let files = [
        ("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file"),
        ("/sys/fs/cgroup/memory.stat", "inactive_file"),
    ];
    let bytes = |(path, key): (&str, &str)| number_after(&fs::read_to_string(path).ok()?, key);
    files.into_iter().find_map(bytes).unwrap_or(0)
}

/// What the limits on the address space and on the data of this process leave. `None` where the system has no
/// such files, or no limits.
fn within_limits() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let left = |(limit, used): (&str, &str)| {
        let used = number_after(&status, used)?.saturating_mul(1024);
        Some(number_after(&limits, limit)?.saturating_sub(used))
    };
    [("Max address space", "VmSize:"), ("Max data size", "VmData:")].into_iter().filter_map(left).min()
}

/// The number that follows a key at the beginning of a line. `None` for `unlimited`.
fn number_after(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key).filter(|rest| !rest.starts_with('_')))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// As [`check`], for the memory of a device.
///
/// # Errors
/// As [`check`].
pub fn check_on(device: &Device, numbers: f64, bytes: usize, remedy: &str) -> Result<()> {
    match device::memory(device) {
        Some((free, _)) => refuse(numbers * bytes as f64, free as f64, " on the GPU", remedy),
        None => check(numbers, bytes, remedy),
    }
}

/// Refuses a computation that needs more bytes than are free.
pub(crate) fn refuse(wanted: f64, free: f64, location: &str, remedy: &str) -> Result<()> {
    if wanted > free {
        let [wanted, free] = sizes([wanted, free]);
        return Err(usage(format!("this takes {wanted} of memory and {free} are free{location}: {remedy}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_sizes_are_refused_and_small_ones_are_not() {
        let error = check(1e18, 4, "ask for less").unwrap_err().to_string();
        assert!(error.starts_with("this takes 3.5 EiB of memory and "), "{error}");
        assert!(error.ends_with("ask for less"), "{error}");
        assert!(check(1000.0, 4, "").is_ok());
    }

    #[test]
    fn limits_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max data size             unlimited            unlimited            bytes     \n\
                      Max address space         1536000000           unlimited            bytes     \n";
        assert_eq!(number_after(limits, "Max address space"), Some(1_536_000_000));
        assert_eq!(number_after(limits, "Max data size"), None);
        assert_eq!(number_after("VmPeak:\t 9 kB\nVmSize:\t    3892 kB\n", "VmSize:"), Some(3892));
        assert_eq!(number_after("inactive_file 5\n", "inactive_file"), Some(5));
        assert_eq!(number_after("inactive_file_x 5\n", "inactive_file"), None);
    }
}
