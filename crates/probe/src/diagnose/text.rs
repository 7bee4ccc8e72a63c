//! How numbers are written in verdicts.

/// A number with three digits.
pub(crate) fn short(x: f64) -> String {
    if (1e-3..1e4).contains(&x.abs()) {
        let digits = (2 - x.abs().log10().floor() as i32).max(0) as usize;
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

/// A factor, such as `×0.22`.
pub(crate) fn times(x: f64) -> String {
    if (0.01..100.0).contains(&x) {
        format!("×{}", short((x * 100.0).round() / 100.0).trim_end_matches('0').trim_end_matches('.'))
    } else {
        format!("×{}", short(x))
    }
}
