//! Tensors for comparisons, and their distance.

use candle_core::{DType, Device, Tensor};
use wick_init::{Initializer, KeyedV1};

pub(crate) const CPU: Device = Device::Cpu;

/// Returns standard normal numbers on the CPU.
pub(crate) fn normal(name: &str, shape: impl Into<candle_core::Shape>, dtype: DType) -> Tensor {
    Initializer::normal(1.0).tensor(KeyedV1::new(5).key(name), shape, dtype, &CPU).unwrap()
}

/// Returns all elements in `f64`.
pub(crate) fn flat(xs: &Tensor) -> Vec<f64> {
    let xs = xs.to_device(&CPU).unwrap().to_dtype(DType::F64).unwrap();
    xs.flatten_all().unwrap().to_vec1::<f64>().unwrap()
}

/// Returns the largest distance of two tensors' elements, in units of `relative |expected| + absolute`. It is
/// infinite if one element is NaN or infinite and the other is not the same.
pub(crate) fn apart(got: &Tensor, expected: &Tensor, relative: f64, absolute: f64) -> f64 {
    assert_eq!((got.dims(), got.dtype()), (expected.dims(), expected.dtype()));
    let distance = |(g, e): (f64, f64)| match (g - e).abs() {
        _ if g == e || g.is_nan() && e.is_nan() => 0.0,
        distance if distance.is_finite() => distance / (relative * e.abs() + absolute),
        _ => f64::INFINITY,
    };
    flat(got).into_iter().zip(flat(expected)).map(distance).fold(0.0, f64::max)
}

/// Panics if the distance is more than 1.
pub(crate) fn assert_near(what: &str, got: &Tensor, expected: &Tensor, relative: f64, absolute: f64) {
    let apart = apart(got, expected, relative, absolute);
    assert!(apart <= 1.0, "{what}: {apart} times the bound");
}

/// Returns the largest relative error of one rounding to a type.
pub(crate) fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F32 => f32::EPSILON.into(),
        DType::BF16 => 2f64.powi(-8),
        _ => 2f64.powi(-10),
    }
}

pub(crate) const TYPES: [DType; 4] = [DType::F32, DType::F64, DType::BF16, DType::F16];
