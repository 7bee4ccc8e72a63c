//! Numbers as text: rounded for people, with all digits for programs.

use wick_probe::text::{distinct, factor, significant};

/// The significant digits of a number for people.
const DIGITS: usize = 4;

/// A number for people: four significant digits, in scientific notation if it is far from 1.
///
/// ```
/// use wick_bins::output::short;
///
/// assert_eq!(short(0.26359), "0.2636");
/// assert_eq!(short(-12.3456), "-12.35");
/// assert_eq!(short(4.937e-7), "4.937e-7");
/// assert_eq!(short(0.099_999_99), "0.1000");
/// assert_eq!(short(0.0), "0");
/// ```
pub fn short(x: f64) -> String {
    significant(x, DIGITS)
}

/// Numbers for people whose differences matter: as [`short`], with more digits where different numbers would
/// be alike.
///
/// ```
/// use wick_bins::output::apart;
///
/// assert_eq!(apart([0.5, 0.7]), ["0.5000", "0.7000"]);
/// assert_eq!(apart([0.500001, 0.5]), ["0.500001", "0.500000"]);
/// ```
pub fn apart<const N: usize>(numbers: [f64; N]) -> [String; N] {
    distinct(numbers, DIGITS, significant)
}

/// A number for programs: all its digits, in scientific notation beyond 1e±15. It is empty if the number is
/// not finite, where JSON has `null`.
///
/// ```
/// use wick_bins::output::exact;
///
/// assert_eq!([0.1, 0.0, 1e15, -2.5e-16].map(exact), ["0.1", "0", "1e15", "-2.5e-16"]);
/// assert_eq!(exact(f64::NAN), "");
/// ```
pub fn exact(x: f64) -> String {
    if !x.is_finite() {
        String::new()
    } else if x == 0.0 || (1e-15..1e15).contains(&x.abs()) {
        x.to_string()
    } else {
        format!("{x:e}")
    }
}

/// A number of bytes for people, in units of 1024.
///
/// ```
/// use wick_bins::output::size;
///
/// assert_eq!(size(1000.0), "1000.0 B");
/// assert_eq!(size(1536.0 * 1024.0), "1.5 MiB");
/// assert_eq!(size(2f64.powi(80)), "1048576.0 EiB");
/// assert_eq!(size(2f64.powi(360)), "2.0e90 EiB");
/// ```
pub fn size(bytes: f64) -> String {
    size_with(bytes, 1)
}

/// Two numbers of bytes that are compared, with more decimals where they would be alike.
///
/// ```
/// use wick_bins::output::sizes;
///
/// let gib = 2f64.powi(30);
/// assert_eq!(sizes([2.0 * gib, gib]), ["2.0 GiB", "1.0 GiB"]);
/// assert_eq!(sizes([1.001 * gib, gib]), ["1.001 GiB", "1.000 GiB"]);
/// ```
pub fn sizes(bytes: [f64; 2]) -> [String; 2] {
    distinct(bytes, 1, size_with)
}

fn size_with(bytes: f64, decimals: usize) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (bytes.max(1.0).log2() / 10.0) as usize;
    let power = power.min(UNITS.len() - 1);
    if bytes >= 1e33 {
        return format!("{:.decimals$e} {}", bytes / 1024f64.powi(power as i32), UNITS[power]);
    }
    format!("{:.decimals$} {}", bytes / 1024f64.powi(power as i32), UNITS[power])
}

/// A ratio for people: `×0.5`, or a dash if it is not finite. A ratio near 1 shows how far it is from 1.
///
/// ```
/// use wick_bins::output::times;
///
/// assert_eq!([2.0, 0.999_988, f64::NAN].map(times), ["×2.000", "×0.999988", "–"]);
/// ```
pub fn times(ratio: f64) -> String {
    if ratio.is_finite() { factor(ratio, DIGITS) } else { "–".into() }
}

/// The shape of a tensor: `750×800`, or `scalar`.
pub fn shape(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "scalar".into();
    }
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}
