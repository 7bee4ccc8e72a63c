//! The ranges of the floating point types.

use candle_core::DType;

/// The largest finite number of a type, and that of `f64` for types that are not floating point.
pub(crate) fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => half::f16::MAX.to_f64(),
        DType::BF16 => half::bf16::MAX.to_f64(),
        DType::F32 => f64::from(f32::MAX),
        _ => f64::MAX,
    }
}

/// The smallest positive number of a type that has all its digits; `f32` stands for an unknown type.
pub(crate) fn smallest_normal(dtype: Option<DType>) -> f64 {
    match dtype {
        Some(DType::F64) => f64::MIN_POSITIVE,
        Some(DType::F16) => half::f16::MIN_POSITIVE.to_f64(),
        // bf16 has the exponents of f32.
        _ => f64::from(f32::MIN_POSITIVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_ieee_754() {
        assert_eq!(largest(DType::F16), 65504.0);
        assert_eq!(largest(DType::BF16), 2f64.powi(127) * (2.0 - 2f64.powi(-7)));
        assert_eq!(smallest_normal(Some(DType::F16)), 2f64.powi(-14));
        assert_eq!(smallest_normal(Some(DType::BF16)), 2f64.powi(-126));
    }
}
