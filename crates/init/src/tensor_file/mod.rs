//! Safetensors files: their headers, single tensors of them, and files that everybody can read.

mod header;
mod numbers;
pub(crate) mod stored;
#[cfg(test)]
mod tests;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, quoted};
use header::Header;
use stored::{METADATA, StoredTensor};

/// The largest header that the format allows.
pub(crate) const LARGEST_HEADER: u64 = 100_000_000;
/// The bytes of the number that says how long the header is.
const LENGTH: u64 = 8;

/// A safetensors file, of which only the header is in memory. A tensor is read when it is asked for, so that
/// other tensors of the file, also those of types that candle does not have, cost nothing and spoil nothing.
///
/// The file stays open: if another file takes its name, the tensors are still those of the old one.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{InitMap, Initializer, TensorFile};
///
/// let path = std::env::temp_dir().join("wick-init-tensor-file.safetensors");
/// let map = InitMap::new(42).with_metadata([("format", "pt")]).with_default_init(Initializer::ones());
/// map.var_builder(DType::F32, &Device::Cpu).get((2, 3), "fc.weight")?;
/// map.save(&path)?;
///
/// let file = TensorFile::open(&path)?;
/// assert_eq!(file.metadata()["format"], "pt");
/// let [weight] = file.tensors() else { unreachable!("the map has one tensor") };
/// assert_eq!((weight.name(), weight.dtype(), weight.shape()), ("fc.weight", "F32", &[2, 3][..]));
/// assert_eq!(file.numbers("fc.weight")?, [1.0; 6]);
/// # std::fs::remove_file(path).ok();
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    data: Data,
    header: Header,
    /// The places of the tensors in the header.
    places: BTreeMap<String, usize>,
}

/// The bytes behind the header.
#[derive(Debug)]
enum Data {
    File {
        file: Mutex<File>,
        /// The place of the first byte behind the header.
        start: u64,
    },
    /// What came out of a pipe.
    Memory(Vec<u8>),
}

impl TensorFile {
    /// Opens a file and reads its header. A pipe is read to the end of its tensors.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, is cut short, or is no safetensors file: if its header is
    /// longer than the file, names a tensor twice, or gives bytes to two tensors or to none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let error = |(reason, source)| Error::File { path: path.to_owned(), reason, source };
        let system = |source: io::Error| error((source.to_string(), Some(source)));
        let mut file = File::open(path).map_err(system)?;
        let about = file.metadata().map_err(system)?;
        let length = about.is_file().then_some(about.len());
        let mut size = Vec::new();
        file.by_ref().take(LENGTH).read_to_end(&mut size).map_err(system)?;
        let Ok(size) = <[u8; LENGTH as usize]>::try_from(size) else {
            return Err(error(("it is too short for a safetensors file".to_owned(), None)));
        };
        let size = u64::from_le_bytes(size);
        let most = length.map_or(LARGEST_HEADER, |length| LARGEST_HEADER.min(length.saturating_sub(LENGTH)));
        if size > most {
            let mut beginning = size.to_le_bytes().to_vec();
            file.take(64).read_to_end(&mut beginning).map_err(system)?;
            let reason = match foreign_file(&beginning) {
                Some(what) => what.to_owned(),
                None => format!("it is no safetensors file: its header would be {size} bytes long"),
            };
            return Err(error((reason, None)));
        }
        let mut text = Vec::new();
        file.by_ref().take(size).read_to_end(&mut text).map_err(system)?;
        let header = Header::read(&text).map_err(|reason| error((reason, None)))?;
        let data_length = header.tensors.last().map_or(0, |tensor| tensor.end);
        let whole = (LENGTH + size).saturating_add(data_length as u64);
        let (data, length) = match length {
            Some(length) => (Data::File { file: Mutex::new(file), start: LENGTH + size }, length),
            None => {
                let mut bytes = Vec::new();
                file.take(data_length as u64).read_to_end(&mut bytes).map_err(system)?;
                let length = LENGTH + size + bytes.len() as u64;
                (Data::Memory(bytes), length)
            }
        };
        if length != whole {
            let reason = format!("it is {length} bytes long, and by its header {whole}");
            return Err(error((reason, None)));
        }
        let names = header.tensors.iter().enumerate();
        let places = names.map(|(place, tensor)| (tensor.name.clone(), place)).collect();
        Ok(Self { path: path.to_owned(), data, header, places })
    }

    /// Checks that a safetensors file can have a tensor of this name. Every other text is a name, also one with
    /// control characters, and the empty one.
    ///
    /// # Errors
    /// [`Error::ReservedName`] for `__metadata__`, where the format keeps what a file says about itself.
    pub fn check_name(name: &str) -> Result<(), Error> {
        if name == METADATA { Err(Error::ReservedName(name.to_owned())) } else { Ok(()) }
    }

    /// Checks that a tensor of this name can have this shape: its sizes, those beside a 0 too, because tensors have
    /// strides, multiply to a number of addresses.
    ///
    /// ```
    /// use wick_init::TensorFile;
    ///
    /// assert!(TensorFile::check_shape("w", &[0, 1 << 32]).is_ok());
    /// assert!(TensorFile::check_shape("w", &[0, 1 << 32, 1 << 32]).is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::ImpossibleShape`].
    pub fn check_shape(name: &str, shape: &[usize]) -> Result<(), Error> {
        stored::check_shape(name, shape)
    }

    /// The texts that the file says about itself, as `format: pt`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The tensors, in the order of their bytes.
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.header.tensors
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.places.get(name).map(|&place| &self.header.tensors[place])
    }

    /// Reads a tensor in its own type.
    ///
    /// # Errors
    /// [`Error::NotInFile`] if there is no such tensor, [`Error::StoredType`] if candle has no such type,
    /// [`Error::File`] if the bytes cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let stored = self.wanted(name)?;
        let dtype = stored.candle_dtype().ok_or_else(|| self.type_error(stored))?;
        let bytes = self.bytes(stored)?;
        if dtype == DType::U8 {
            // Bytes need no copy.
            return Ok(Tensor::from_vec(bytes, stored.shape.as_slice(), &Device::Cpu)?);
        }
        Ok(Tensor::from_raw_buffer(&bytes, dtype, &stored.shape, &Device::Cpu)?)
    }

    /// Reads the numbers of a tensor, row by row: of any type of floats, integers or truth values (0 and 1).
    /// Integers beyond 2⁵³ are rounded.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor); [`Error::StoredType`] is for complex numbers and numbers of less than a
    /// byte.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, Error> {
        let stored = self.wanted(name)?;
        let decode =
            stored.known_dtype().and_then(numbers::decoder).ok_or_else(|| self.type_error(stored))?;
        Ok(decode(&self.bytes(stored)?))
    }

    fn wanted(&self, name: &str) -> Result<&StoredTensor, Error> {
        let missing = || Error::NotInFile { path: self.path.clone(), name: name.to_owned() };
        self.get(name).ok_or_else(missing)
    }

    fn type_error(&self, stored: &StoredTensor) -> Error {
        Error::StoredType { path: self.path.clone(), name: stored.name.clone(), dtype: stored.dtype.clone() }
    }

    fn bytes(&self, stored: &StoredTensor) -> Result<Vec<u8>, Error> {
        let (begin, length) = (stored.begin, stored.end - stored.begin);
        let (file, start) = match &self.data {
            // The length was checked when the file was opened.
            Data::Memory(bytes) => return Ok(bytes[begin..stored.end].to_vec()),
            Data::File { file, start } => (file, start),
        };
        let error = |source: io::Error| Error::File {
            path: self.path.clone(),
            reason: format!("{}: {source}", quoted(&stored.name)),
            source: Some(source),
        };
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| error(io::ErrorKind::OutOfMemory.into()))?;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start + begin as u64)).map_err(error)?;
        file.by_ref().take(length as u64).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() < length {
            // Somebody has cut the file since it was opened.
            return Err(error(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

/// What a file is that a download often gives in place of the data, by its first bytes, and what to do: a
/// pointer of Git LFS, or a page of the web.
///
/// ```
/// let what = wick_init::foreign_file(b"version https://git-lfs.github.com/spec/v1\n");
/// assert_eq!(what, Some("it is a pointer of Git LFS and not the file itself: get that with git lfs pull"));
/// assert_eq!(wick_init::foreign_file(b"1,2\n"), None);
/// ```
pub fn foreign_file(beginning: &[u8]) -> Option<&'static str> {
    let text = beginning.trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
    if begins(b"version https://git-lfs.") {
        Some("it is a pointer of Git LFS and not the file itself: get that with git lfs pull")
    } else if begins(b"<!doctype") || begins(b"<html") {
        Some("it is a page of HTML and not the file itself: get that from the page's link for downloads")
    } else {
        None
    }
}
