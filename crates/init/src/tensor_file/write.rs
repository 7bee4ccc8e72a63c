//! Writes safetensors files.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use candle_core::Tensor;
use safetensors::{Dtype, tensor::TensorInfo};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::stored::METADATA;
use super::{LARGEST_HEADER, TensorFile};
use crate::error::{Error, quoted};

/// The header's JSON: the metadata in the order of their keys, so that the same file has the same bytes.
struct Header<'a> {
    metadata: &'a BTreeMap<String, String>,
    tensors: &'a [(&'a str, TensorInfo)],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA, self.metadata)?;
        }
        for (name, info) in self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

/// Writes tensors of different names to a file: as the format recommends, in the order of their types, from
/// the widest on, and in the order of their names.
pub(crate) fn write(
    path: &Path,
    mut tensors: Vec<(String, Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    for (name, tensor) in &tensors {
        TensorFile::check_name(name)?;
        TensorFile::check_shape(name, tensor.dims())?;
    }
    tensors.sort_by(|(a, x), (b, y)| Dtype::from(y.dtype()).cmp(&x.dtype().into()).then(a.cmp(b)));
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let begin = end;
        end += tensor.elem_count() * tensor.dtype().size_in_bytes();
        let (dtype, shape) = (tensor.dtype().into(), tensor.dims().to_vec());
        (name.as_str(), TensorInfo { dtype, shape, data_offsets: (begin, end) })
    });
    let infos: Vec<(&str, TensorInfo)> = infos.collect();
    let failed = |source: io::Error| Error::Write { path: path.to_owned(), source };
    let header = serde_json::to_vec(&Header { metadata, tensors: &infos });
    let mut header = header.map_err(|error| failed(error.into()))?;
    // The tensors begin at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = header.len() as u64;
    if length > LARGEST_HEADER {
        return Err(Error::Header { path: path.to_owned(), length, largest: LARGEST_HEADER });
    }
    let mut from_candle = None;
    let written = wick_files::write_with(path, |mut out| {
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&header)?;
        for (name, tensor) in &tensors {
            if let Err(error) = tensor.write_bytes(&mut out) {
                return Err(match error {
                    candle_core::Error::Io(error) => error,
                    error => {
                        let text = format!("the numbers of {} cannot be had", quoted(name));
                        from_candle = Some(error);
                        io::Error::other(text)
                    }
                });
            }
        }
        Ok(())
    });
    match (written, from_candle) {
        (Err(_), Some(error)) => Err(error.into()),
        (written, _) => written.map_err(failed),
    }
}
