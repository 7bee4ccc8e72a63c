//! The files that a map loads its tensors from.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};

use crate::error::Error;
use crate::tensor_file::TensorFile;
use crate::tensor_file::stored::StoredTensor;

/// The files that a map loads from.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// The file of each tensor.
    pub(super) tensors: BTreeMap<String, Arc<TensorFile>>,
    /// Whether a tensor may be of another type than the model asks for.
    pub(super) cast: bool,
}

impl Files {
    pub(super) fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)?.get(name)
    }

    /// Reads the numbers of a tensor of any shape; `None` if no file has it, or if it is of another type and is not to
    /// be converted.
    pub(super) fn numbers(&self, name: &str, dtype: DType) -> Result<Option<Vec<f64>>, Error> {
        let Some(file) = self.tensors.get(name) else { return Ok(None) };
        let is_same_type = file.get(name).and_then(StoredTensor::candle_dtype) == Some(dtype);
        if is_same_type || self.cast { file.numbers(name).map(Some) } else { Ok(None) }
    }

    /// Reads a tensor; `None` if no file has it.
    pub(super) fn load(
        &self,
        name: &str,
        shape: &Shape,
        dtype: DType,
        device: &Device,
    ) -> Result<Option<Tensor>, Error> {
        let Some(file) = self.tensors.get(name) else { return Ok(None) };
        let Some(stored) = file.get(name) else { return Ok(None) };
        let is_same_type = stored.candle_dtype() == Some(dtype);
        let can_be_cast = matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16);
        if stored.shape() != shape.dims() || !(is_same_type || self.cast && can_be_cast) {
            let type_name = stored.candle_dtype().map_or(stored.dtype(), |dtype| dtype.as_str());
            let advice = match stored.shape() == shape.dims() && can_be_cast {
                true => "; InitMap::with_cast_on_load converts it",
                false => "",
            };
            return Err(Error::Mismatch {
                name: name.to_owned(),
                made: format!("{:?} {type_name} in the file", stored.shape()),
                asked: format!("{:?} {}{advice}", shape.dims(), dtype.as_str()),
            });
        }
        let tensor = match is_same_type {
            true => file.tensor(name)?,
            false => cast(file.numbers(name)?, shape, dtype).map_err(|error| error.of_tensor(name))?,
        };
        Ok(Some(tensor.to_device(device)?))
    }
}

/// Rounds numbers to a type.
pub(super) fn cast(numbers: Vec<f64>, shape: &Shape, dtype: DType) -> Result<Tensor, Error> {
    let largest = numbers.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
    let rounded = Tensor::new(largest, &Device::Cpu)?.to_dtype(dtype)?.to_dtype(DType::F64)?;
    if !rounded.to_scalar::<f64>()?.is_finite() {
        return Err(Error::Overflow { value: largest, dtype });
    }
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(dtype)?)
}
