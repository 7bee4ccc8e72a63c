//! The elements of a tensor before they are rounded to its type.

use candle_core::{DType, Device, Shape, Tensor, Var, WithDType};
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

    /// Rounds the elements to the type, once, and moves them to the device, as a variable's tensor or as any.
    pub(crate) fn into_tensor(
        self,
        shape: Shape,
        dtype: DType,
        device: &Device,
        kind: Kind,
    ) -> Result<Tensor, Error> {
        use Values::{F32, F64};
        Ok(match (dtype, self) {
            (DType::F64, F64(values)) => kind.tensor(values, shape, device)?,
            (DType::F64, F32(values)) => kind.tensor(rounded(values, f64::from), shape, device)?,
            (DType::F32, F32(values)) => kind.tensor(values, shape, device)?,
            (DType::F32, F64(values)) => kind.tensor(rounded(values, |x| x as f32), shape, device)?,
            (DType::BF16, F32(values)) => kind.tensor(rounded(values, bf16::from_f32), shape, device)?,
            (DType::BF16, F64(values)) => kind.tensor(rounded(values, bf16::from_f64), shape, device)?,
            (DType::F16, F32(values)) => kind.tensor(rounded(values, f16::from_f32), shape, device)?,
            (DType::F16, F64(values)) => kind.tensor(rounded(values, f16::from_f64), shape, device)?,
            (other, _) => return Err(Error::Type(other)),
        })
    }
}

fn rounded<T: Send, U: Send>(values: Vec<T>, round: impl Fn(T) -> U + Sync + Send) -> Vec<U> {
    values.into_par_iter().map(round).collect()
}

/// What a tensor is drawn for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tensor,
    /// The tensor of a variable, which takes it without a copy.
    Variable,
}

impl Kind {
    pub(crate) fn tensor<T: WithDType>(
        self,
        values: Vec<T>,
        shape: Shape,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        match self {
            Self::Tensor => Tensor::from_vec(values, shape, device),
            Self::Variable => Ok(Var::from_vec(values, shape, device)?.into_inner()),
        }
    }
}

/// The smallest number of a type above 0.
pub(crate) fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::from_bits(1),
        DType::F32 => 2f64.powi(-149),
        DType::F16 => 2f64.powi(-24),
        _ => 2f64.powi(-133),
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
