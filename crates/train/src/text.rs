//! Texts in messages.

/// A number of bytes for people: `1.5 GiB`.
pub(crate) fn size(bytes: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = ((bytes.max(1.0).log2() / 10.0) as usize).min(UNITS.len() - 1);
    format!("{:.1} {}", bytes / 1024f64.powi(power as i32), UNITS[power])
}
