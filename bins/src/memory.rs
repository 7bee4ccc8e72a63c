//! Sizes that no machine has.

use anyhow::Result;
use candle_core::Device;

use crate::device;
use crate::failure::usage;

/// Refuses what would not fit in the memory that is free now, before it is tried.
///
/// `numbers` is how many numbers of `bytes` bytes each the program will hold at once, in `f64` so that absurd
/// sizes do not overflow.
///
/// # Errors
/// A usage error with both figures.
pub fn check(numbers: f64, bytes: usize, mend: &str) -> Result<()> {
    // A machine that does not tell is given the benefit of the doubt.
    let free = sysinfo::System::new().map_or(f64::INFINITY, |mut system| {
        system.refresh_memory();
        let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
        system.available_memory().min(limit) as f64
    });
    refuse(numbers * bytes as f64, free, "", mend)
}

/// As [`check`], of the memory of the device that holds the numbers.
///
/// # Errors
/// As [`check`].
pub fn check_on(device: &Device, numbers: f64, bytes: usize, mend: &str) -> Result<()> {
    match device::memory(device) {
        Some((free, _)) => refuse(numbers * bytes as f64, free as f64, " on the GPU", mend),
        None => check(numbers, bytes, mend),
    }
}

fn refuse(wanted: f64, free: f64, place: &str, mend: &str) -> Result<()> {
    if wanted > free {
        let (wanted, free) = (size(wanted), size(free));
        return Err(usage(format!("this takes {wanted} of memory and {free} are free{place}: {mend}")));
    }
    Ok(())
}

/// `3.2 GiB`.
pub(crate) fn size(bytes: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (bytes.max(1.0).log2() / 10.0) as usize;
    let power = power.min(UNITS.len() - 1);
    format!("{:.1} {}", bytes / 1024f64.powi(power as i32), UNITS[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(1000.0), "1000.0 B");
        assert_eq!(size(1536.0 * 1024.0), "1.5 MiB");
        assert_eq!(size(2f64.powi(80)), "1048576.0 EiB");
    }

    #[test]
    fn the_absurd_is_refused_and_the_small_is_not() {
        let error = check(1e18, 4, "ask for less").unwrap_err().to_string();
        assert!(error.starts_with("this takes 3.5 EiB of memory and "), "{error}");
        assert!(error.ends_with("ask for less"), "{error}");
        assert!(check(1000.0, 4, "").is_ok());
    }
}
