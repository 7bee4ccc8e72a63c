//! The size of a shard, as the hub's libraries take it.

use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardSize(pub(crate) u64);

/// The text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a size is a number and its unit, as 5GB, 500MB or 2GiB (GB is 10⁹ bytes, GiB 2³⁰); it is above 0")]
pub(crate) struct NoSize;

/// The units and their bytes.
const UNITS: [(&str, f64); 8] = [
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
];

impl FromStr for ShardSize {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let text = text.trim().to_ascii_lowercase();
        let found = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, unit) = found.unwrap_or((text.strip_suffix('b').unwrap_or(&text), 1.0));
        let number: f64 = number.trim().parse().map_err(|_| NoSize)?;
        // Beyond 2⁶⁴, the cast gives the largest number, which is no limit.
        let bytes = (number * unit) as u64;
        if number.is_finite() && bytes > 0 { Ok(Self(bytes)) } else { Err(NoSize) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test fails by panicking.
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_hubs_units() {
        for (text, bytes) in [
            ("5GB", 5_000_000_000),
            ("5gb", 5_000_000_000),
            ("500MB", 500_000_000),
            ("10KB", 10_000),
            ("1.5GB", 1_500_000_000),
            ("2GiB", 1 << 31),
            ("1MiB", 1 << 20),
            ("1 KiB", 1 << 10),
            ("1TB", 1_000_000_000_000),
            ("4096", 4096),
            ("8B", 8),
            ("1e30GB", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ShardSize(bytes)), "{text}");
        }
        for text in ["", "GB", "0", "0GB", "-1GB", "nan", "infGB", "5XB", "5G", "1e-9KB"] {
            assert_eq!(text.parse::<ShardSize>(), Err(NoSize), "{text}");
        }
    }
}
