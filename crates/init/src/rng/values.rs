//! The elements of a tensor before they are rounded to its type.

use candle_core::{DType, Device, Shape, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::error::Error;

/// The elements of a tensor before they are rounded to its type.
pub(crate) enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Values {
    /// Returns an error if an element is beyond the largest number of a type.
    pub(crate) fn check_type(&self, dtype: DType) -> Result<(), Error> {
        let largest = largest(dtype);
        let beyond = |x: &f64| x.abs() > largest;
        let found = match self {
            Self::F32(values) => values.iter().map(|x| f64::from(*x)).find(beyond),
            Self::F64(values) => values.iter().copied().find(beyond),
        };
        found.map_or(Ok(()), |value| Err(Error::Overflow { value, dtype }))
    }

    /// Converts the elements to `f64`.
    pub(crate) fn into_f64(self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.into_iter().map(f64::from).collect(),
            Self::F64(values) => values,
        }
    }

    /// Rounds the elements to the type, once, and moves them to the device.
    pub(crate) fn into_tensor(self, shape: Shape, dtype: DType, device: &Device) -> Result<Tensor, Error> {
        fn rounded<T: Send, U: Send>(values: Vec<T>, round: impl Fn(T) -> U + Sync + Send) -> Vec<U> {
            values.into_par_iter().map(round).collect()
        }
        use Values::{F32, F64};
        Ok(match (dtype, self) {
            (DType::F64, F64(values)) => Tensor::from_vec(values, shape, device)?,
            (DType::F64, F32(values)) => Tensor::from_vec(rounded(values, f64::from), shape, device)?,
            (DType::F32, F32(values)) => Tensor::from_vec(values, shape, device)?,
            (DType::F32, F64(values)) => Tensor::from_vec(rounded(values, |x| x as f32), shape, device)?,
            (DType::BF16, F32(values)) => Tensor::from_vec(rounded(values, bf16::from_f32), shape, device)?,
            (DType::BF16, F64(values)) => Tensor::from_vec(rounded(values, bf16::from_f64), shape, device)?,
            (DType::F16, F32(values)) => Tensor::from_vec(rounded(values, f16::from_f32), shape, device)?,
            (DType::F16, F64(values)) => Tensor::from_vec(rounded(values, f16::from_f64), shape, device)?,
            (other, _) => return Err(Error::Type(other)),
        })
    }
}

/// The largest number of a floating point type.
pub(crate) fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => f16::MAX.to_f64(),
        DType::BF16 => bf16::MAX.to_f64(),
        _ => f64::from(f32::MAX),
    }
}
