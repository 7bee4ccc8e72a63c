//! What each tensor of a model got, and from where.

use candle_core::{DType, Result, Tensor};
use serde::Serialize;

/// What each tensor got: serializes to the JSON of `init-weights`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    /// `keyed_v1`, `torch` or `rand`, with the seed where there is one.
    pub stream: String,
    /// In the order of their names.
    pub tensors: Vec<ManifestEntry>,
}

/// What one tensor got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ManifestEntry {
    /// The full name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The type.
    pub dtype: &'static str,
    /// `drawn` or `loaded`.
    pub origin: Origin,
    /// The pattern of the rule that it met, or `weights`, or `hint`; empty for what was loaded.
    pub rule: String,
    /// The initializer, as a SPEC; empty for what was loaded.
    pub init: String,
    /// `None` for what has no fans.
    pub fan_in: Option<f64>,
    /// `None` for what has no fans.
    pub fan_out: Option<f64>,
    /// The standard deviation that the initializer means; `None` for a structure, and for what was loaded.
    pub std_meant: Option<f64>,
    /// The standard deviation that the elements have now.
    pub std: f64,
    /// By what the learning rate is to be multiplied.
    pub learning_rate: f64,
    /// The hash of the name that the keyed stream used, in hexadecimal; `None` for other streams.
    pub key: Option<String>,
}

/// Where a tensor came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From an initializer.
    Drawn,
    /// From a file.
    Loaded,
}

/// The population standard deviation of the elements.
pub(crate) fn std(tensor: &Tensor) -> Result<f64> {
    let values = tensor.to_device(&candle_core::Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    let values = values.to_vec1::<f64>()?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    Ok((values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
}
