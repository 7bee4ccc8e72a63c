//! Writes safetensors files.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorInfo};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::stored::METADATA;
use super::{LARGEST_HEADER, TensorFile};
use crate::error::{Error, quoted};

impl TensorFile {
    /// Writes tensors of different names, and what the file says about itself, whole or not at all. The same
    /// tensors and texts give the same bytes, in whatever order they come.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use candle_core::{Device, Tensor};
    /// use wick_init::TensorFile;
    ///
    /// let path = std::env::temp_dir().join("wick-init-write.safetensors");
    /// let step = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
    /// let about = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    /// TensorFile::write(&path, &[("step".to_owned(), step)], &about)?;
    /// let file = TensorFile::open(&path)?;
    /// assert_eq!((file.numbers("step")?, &file.metadata()["format"][..]), (vec![1.0, 2.0], "pt"));
    /// # std::fs::remove_file(path).ok();
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Names the file, and what is wrong: a name or a shape that no file can have, or an error of the system. The
    /// old file is untouched.
    pub fn write(
        path: impl AsRef<Path>,
        tensors: &[(String, Tensor)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        write(path.as_ref(), tensors, metadata)
    }

    /// Writes the numbers of a tensor as a file has them: row by row, the bytes of each from the lowest on.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_init::TensorFile;
    ///
    /// let mut bytes = Vec::new();
    /// TensorFile::write_numbers(&mut bytes, &Tensor::new(&[1f32], &Device::Cpu)?)?;
    /// assert_eq!(bytes, 1f32.to_le_bytes());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the writer, or if the numbers cannot be copied from their device.
    pub fn write_numbers(out: &mut dyn Write, tensor: &Tensor) -> Result<(), Error> {
        write_tensor(out, tensor, |_| ())
    }
}

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

/// What a file has before the bytes of its tensors, and their order.
pub(crate) struct Layout {
    /// The length of the header and the header.
    pub(crate) head: Vec<u8>,
    /// The tensors in the order of their bytes, as indices of those that were given.
    pub(crate) order: Vec<usize>,
}

/// The name, type and shape of a tensor.
pub(crate) type Described<'a> = (&'a str, DType, &'a [usize]);

impl Layout {
    /// Lays out tensors of different names: as the format recommends, in the order of their types, from the widest
    /// on, and in the order of their names.
    pub(crate) fn new(
        path: &Path,
        tensors: &[Described],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        for (name, _, shape) in tensors {
            TensorFile::check_name(name)?;
            TensorFile::check_shape(name, shape)?;
        }
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by(|&a, &b| {
            let ((a, x, _), (b, y, _)) = (tensors[a], tensors[b]);
            Dtype::from(y).cmp(&x.into()).then(a.cmp(b))
        });
        let mut end = 0;
        let infos = order.iter().map(|&index| {
            let (name, dtype, shape) = tensors[index];
            let begin = end;
            end += shape.iter().product::<usize>() * dtype.size_in_bytes();
            (name, TensorInfo { dtype: dtype.into(), shape: shape.to_vec(), data_offsets: (begin, end) })
        });
        let infos: Vec<(&str, TensorInfo)> = infos.collect();
        let header = serde_json::to_vec(&Header { metadata, tensors: &infos });
        let mut header =
            header.map_err(|error| Error::Write { path: path.to_owned(), source: error.into() })?;
        // The tensors begin at a multiple of 8.
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = header.len() as u64;
        if length > LARGEST_HEADER {
            return Err(Error::Header { path: path.to_owned(), length, largest: LARGEST_HEADER });
        }
        Ok(Self { head: [&length.to_le_bytes()[..], &header].concat(), order })
    }
}

/// Writes tensors of different names to a file.
pub(crate) fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let described = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype(), tensor.dims()));
    let layout = Layout::new(path, &described.collect::<Vec<_>>(), metadata)?;
    fallible(path, |failed| {
        wick_files::write_with(path, |out| {
            out.write_all(&layout.head)?;
            layout.order.iter().try_for_each(|&index| {
                let (name, tensor) = &tensors[index];
                write_tensor(out, tensor, |_| ()).map_err(|error| failed.take(name, error))
            })
        })
    })
}

/// The error of this crate that stopped a write, which itself can only fail by an error of the system.
#[derive(Default)]
pub(crate) struct Failed(Option<Error>);

impl Failed {
    /// Keeps an error, and returns the one that stops the write.
    pub(crate) fn take(&mut self, name: &str, error: Error) -> io::Error {
        match error {
            Error::Write { source, .. } => source,
            Error::Candle(candle_core::Error::Io(error)) => error,
            error => {
                self.0 = Some(error);
                io::Error::other(format!("the numbers of {} cannot be had", quoted(name)))
            }
        }
    }
}

/// Runs a write, and returns the error that stopped it.
pub(crate) fn fallible(path: &Path, write: impl FnOnce(&mut Failed) -> io::Result<()>) -> Result<(), Error> {
    let mut failed = Failed::default();
    let written = write(&mut failed);
    match (written, failed.0) {
        (Err(_), Some(error)) => Err(error),
        (written, _) => written.map_err(|source| Error::Write { path: path.to_owned(), source }),
    }
}

/// Writes the numbers of a tensor, in parts of some megabytes, so that a signal need not wait for all of them.
/// `each` is told the bytes of each part.
pub(crate) fn write_tensor(
    out: &mut dyn Write,
    tensor: &Tensor,
    mut each: impl FnMut(u64),
) -> Result<(), Error> {
    const PART: usize = 1 << 20;
    let system = |error: io::Error| Error::Candle(error.into());
    let (storage, layout) = tensor.storage_and_layout();
    let bytes = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F64(values)), Some((start, end))) => bytes_of(&values[start..end]),
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => bytes_of(&values[start..end]),
        (Storage::Cpu(CpuStorage::BF16(values)), Some((start, end))) => bytes_of(&values[start..end]),
        (Storage::Cpu(CpuStorage::F16(values)), Some((start, end))) => bytes_of(&values[start..end]),
        _ => None,
    };
    if let Some(bytes) = bytes {
        return bytes.chunks(PART).try_for_each(|part| {
            out.write_all(part).map_err(system)?;
            each(part.len() as u64);
            Ok(())
        });
    }
    drop(storage);
    let mut out = out;
    tensor.write_bytes(&mut out)?;
    each((tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64);
    Ok(())
}

/// A number without padding, of which every byte can be read.
trait Plain: Copy {}
impl Plain for f64 {}
impl Plain for f32 {}
impl Plain for bf16 {}
impl Plain for f16 {}

/// The bytes of numbers as a file has them; `None` on a machine that orders bytes the other way.
fn bytes_of<T: Plain>(values: &[T]) -> Option<&[u8]> {
    // SAFETY: the numbers have no padding, and any bytes are valid `u8`s.
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    cfg!(target_endian = "little").then_some(bytes)
}
