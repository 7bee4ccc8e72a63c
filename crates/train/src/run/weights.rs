//! Files of weights, with a hash of their contents.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use wick_init::TensorFile;

use super::hash;
use crate::error::Error;

/// Writes weights and what the file says about itself.
pub(crate) fn write(
    path: &Path,
    weights: &[(String, Tensor)],
    mut about: BTreeMap<String, String>,
) -> Result<(), Error> {
    let found = hash::of(&about, weights)?;
    about.insert(hash::KEY.to_owned(), found);
    Ok(TensorFile::write(path, weights, &about)?)
}

/// Weights by name, and what their file says about itself.
type Contents = (Vec<(String, Tensor)>, BTreeMap<String, String>);

/// Reads weights and what their file says about itself.
pub(crate) fn read(path: &Path) -> Result<Contents, Error> {
    let file = TensorFile::open(path)?;
    let mut weights = Vec::with_capacity(file.tensors().len());
    for stored in file.tensors() {
        weights.push((stored.name().to_owned(), file.tensor(stored.name())?));
    }
    let mut about = file.metadata().clone();
    match about.remove(hash::KEY) {
        Some(stored) if stored != hash::of(&about, &weights)? => {
            let reason = "its contents do not have its hash: the file is damaged".to_owned();
            Err(Error::File { path: path.to_owned(), reason })
        }
        _ => Ok((weights, about)),
    }
}

/// Refuses a file of weights that a run has written and whose contents do not have its hash. A file without a hash is
/// not looked at.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// assert!(wick_train::check_weights(folder.path().join("none.safetensors")).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn check_weights(path: impl AsRef<Path>) -> Result<(), Error> {
    read(path.as_ref()).map(drop)
}
