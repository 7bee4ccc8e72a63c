//! Memory: sizes that the machine does not have are refused before a computation.

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

/// The bytes of memory that are free now, if the machine tells.
pub fn free() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    Some(system.available_memory().min(limit))
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

fn refuse(wanted: f64, free: f64, location: &str, remedy: &str) -> Result<()> {
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
}
