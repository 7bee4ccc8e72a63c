//! A hash of contents, by which damage is seen.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::{self, Write};

use candle_core::Tensor;
use siphasher::sip128::{Hasher128, SipHasher13};
use wick_init::TensorFile;

use crate::error::Error;

/// SipHash-1-3 of 128 bits over texts and tensors, in the order of their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContentHash(SipHasher13);

impl Write for ContentHash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ContentHash {
    /// Adds bytes. Where they are parted makes no difference.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Adds a text. Its length keeps it apart from the next.
    pub(crate) fn text(&mut self, text: &str) {
        self.0.write_u64(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    /// Adds a tensor: its type, its shape and its bytes.
    pub(crate) fn tensor(&mut self, tensor: &Tensor) -> Result<(), Error> {
        self.text(tensor.dtype().as_str());
        self.0.write_u64(tensor.rank() as u64);
        tensor.dims().iter().for_each(|dim| self.0.write_u64(*dim as u64));
        Ok(TensorFile::write_numbers(self, tensor)?)
    }

    /// The hash in hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        format!("{:032x}", self.0.finish128().as_u128())
    }
}

/// The key of the hash in the string map of a file.
pub(crate) const KEY: &str = "wick.hash";

/// The hash of a file: of its texts without the hash itself, and of its tensors.
pub(crate) fn of(texts: &BTreeMap<String, String>, tensors: &[(String, Tensor)]) -> Result<String, Error> {
    let mut hash = ContentHash::default();
    for (key, text) in texts {
        hash.text(key);
        hash.text(text);
    }
    let sorted: BTreeMap<&str, &Tensor> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    for (name, tensor) in sorted {
        hash.text(name);
        hash.tensor(tensor)?;
    }
    Ok(hash.finish())
}
