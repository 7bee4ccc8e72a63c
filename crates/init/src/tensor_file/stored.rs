//! A tensor by what the header of its file says of it.

use candle_core::DType;
use safetensors::Dtype;

use crate::error::Error;

/// The key of a header that is no tensor's name.
pub(crate) const METADATA: &str = "__metadata__";

/// A tensor of a [`TensorFile`](crate::TensorFile), by what the header says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    pub(super) begin: usize,
    pub(super) end: usize,
}

impl StoredTensor {
    /// The full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type by its name in the format, such as `F32` or `BOOL`. It can be one that candle, or this crate,
    /// does not know.
    pub fn dtype(&self) -> &str {
        &self.dtype
    }

    /// The type as candle's; `None` if candle does not compute with this type.
    pub fn candle_dtype(&self) -> Option<DType> {
        let dtype = DType::try_from(self.known_dtype()?).ok()?;
        use DType::{BF16, F16, F32, F64, I16, I32, I64, U8, U32};
        // Of other types, candle's tensors hold the bytes and no numbers, or, of 8 bits, cannot convert them:
        // float8 0.7 does not end for subnormal numbers.
        matches!(dtype, BF16 | F16 | F32 | F64 | I16 | I32 | I64 | U8 | U32).then_some(dtype)
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn known_dtype(&self) -> Option<Dtype> {
        let name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&self.dtype);
        serde::Deserialize::deserialize(name).ok()
    }
}

/// Refuses a shape whose sizes, those beside a 0 too, because tensors have strides, multiply to more than memory
/// has addresses for.
pub(super) fn check_shape(name: &str, shape: &[usize]) -> Result<(), Error> {
    match shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size.max(1))) {
        Some(_) => Ok(()),
        None => Err(Error::ImpossibleShape { name: name.to_owned(), shape: shape.to_vec() }),
    }
}
