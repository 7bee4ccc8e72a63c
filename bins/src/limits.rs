//! The limits of the floating point types.

use candle_core::DType;

/// The largest finite number of a type.
pub fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => (2.0 - 2f64.powi(-7)) * 2f64.powi(127),
        _ => f64::from(f32::MAX),
    }
}

/// The smallest number of a type above 0.
pub fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::from_bits(1),
        DType::F32 => 2f64.powi(-149),
        DType::F16 => 2f64.powi(-24),
        _ => 2f64.powi(-133),
    }
}

/// The distance from 1 to the next number of a type.
pub fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F32 => f64::from(f32::EPSILON),
        DType::F16 => 2f64.powi(-10),
        _ => 2f64.powi(-7),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    /// Each limit is a number of its type, and the next step is not.
    #[test]
    fn limits_are_those_of_the_types() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let rounded = |x: f64| -> f64 {
                let x = Tensor::new(x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                x.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
            };
            let (largest, smallest, epsilon) = (largest(dtype), smallest(dtype), epsilon(dtype));
            assert_eq!(rounded(largest), largest, "{dtype:?}");
            assert_eq!(rounded(largest * (1.0 + epsilon)), f64::INFINITY, "{dtype:?}");
            assert_eq!((rounded(smallest), rounded(smallest / 4.0)), (smallest, 0.0), "{dtype:?}");
            assert_eq!(
                (rounded(1.0 + epsilon), rounded(1.0 + epsilon / 4.0)),
                (1.0 + epsilon, 1.0),
                "{dtype:?}"
            );
        }
    }
}
