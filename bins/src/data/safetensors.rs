//! Data from safetensors files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};

use super::matrix::{Matrix, numbers};

/// Reads the tensor of this name, or the only one.
pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<Matrix> {
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
    let mut names: Vec<String> = tensors.keys().cloned().collect();
    names.sort();
    let name = match (wanted, &names[..]) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => bail!("there is no tensor in it"),
        _ => bail!("name the tensor with FILE#TENSOR: there are {}", names.join(", ")),
    };
    let tensor = tensors
        .remove(&name)
        .with_context(|| format!("there is no tensor '{name}': there are {}", names.join(", ")))?;
    if !matches!(
        tensor.dtype(),
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::I64 | DType::U32 | DType::U8
    ) {
        bail!("'{name}' is of type {}, which is not read; save it as float32", tensor.dtype().as_str());
    }
    let (rows, columns) = tensor
        .dims2()
        .ok()
        .with_context(|| format!("'{name}' is {:?}, and [samples, features] is needed", tensor.dims()))?;
    let values = numbers(&tensor)?;
    Ok(Matrix { rows, columns, values })
}
