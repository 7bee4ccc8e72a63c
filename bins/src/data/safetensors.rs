//! Data from safetensors files.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use wick_init::{Error, StoredTensor, TensorFile};

use super::matrix::Matrix;
use crate::names::{listed, shown};

/// Splits `FILE.safetensors#TENSOR` at the first `#` behind the name of a file. The name of the tensor, and
/// those of the folders, can have a `#`, too.
pub(super) fn split(source: &str) -> (&Path, Option<&str>) {
    let is_safetensors = |path: &str| {
        Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
    };
    let splits = || {
        let parts = source.match_indices('#').map(|(at, _)| (&source[..at], &source[at + 1..]));
        parts.filter(|(path, _)| is_safetensors(path))
    };
    let existing = || splits().find(|(path, _)| Path::new(path).exists());
    match Path::new(source).exists() {
        true => None,
        false => existing().or_else(|| splits().next()),
    }
    .map_or((Path::new(source), None), |(path, tensor)| (Path::new(path), Some(tensor)))
}

/// Reads the tensor of this name, or the only one; of the others, only what the header says.
pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<Matrix> {
    // The caller adds the name of the file.
    let reason = |error: Error| match error {
        Error::File { reason, .. } => anyhow!(reason),
        Error::StoredType { name, dtype, .. } => {
            anyhow!("'{}' is of type {}, which is not read; save it as float32", shown(&name), shown(&dtype))
        }
        error => error.into(),
    };
    let file = TensorFile::open(path).map_err(reason)?;
    let names = || {
        let mut names: Vec<&str> = file.tensors().iter().map(StoredTensor::name).collect();
        names.sort_unstable();
        listed(names.into_iter())
    };
    let tensor = match (wanted, file.tensors()) {
        (_, []) => bail!("there is no tensor in it"),
        (None, [only]) => only,
        (None, _) => bail!("name the tensor with FILE#TENSOR: there are {}", names()),
        (Some(name), _) => match file.get(name) {
            Some(tensor) => tensor,
            None => bail!("there is no tensor '{}': there are {}", shown(name), names()),
        },
    };
    let &[rows, columns] = tensor.shape() else {
        bail!("'{}' is {:?}, and [samples, features] is needed", shown(tensor.name()), tensor.shape());
    };
    Ok(Matrix { rows, columns, values: file.numbers(tensor.name()).map_err(reason)? })
}

#[cfg(test)]
mod tests {

    #[test]
    fn the_tensor_is_named_behind_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let split = |source: &str| {
            let (file, tensor) = super::split(source);
            (file.to_str().unwrap().to_owned(), tensor.map(str::to_owned))
        };
        for (source, file, tensor) in [
            ("f.safetensors", "f.safetensors", None),
            ("f.safetensors#x", "f.safetensors", Some("x")),
            ("f.SafeTensors#x", "f.SafeTensors", Some("x")),
            ("f.safetensors#a#b", "f.safetensors", Some("a#b")),
            ("f.safetensors#", "f.safetensors", Some("")),
            ("f.safetensors#a/b.c", "f.safetensors", Some("a/b.c")),
            ("a#b.safetensors#x", "a#b.safetensors", Some("x")),
            ("a#b.safetensors", "a#b.safetensors", None),
            ("a#b.csv", "a#b.csv", None),
        ] {
            let expected = (path(file), tensor.map(str::to_owned));
            assert_eq!(split(&path(source)), expected, "{source}");
        }
        // A file that exists has precedence.
        std::fs::create_dir(path("d.safetensors#1")).unwrap();
        for name in ["f.safetensors#x.safetensors", "d.safetensors#1/f.safetensors"] {
            std::fs::write(path(name), "").unwrap();
            assert_eq!(split(&path(name)), (path(name), None));
            assert_eq!(split(&path(&format!("{name}#y"))), (path(name), Some("y".to_owned())));
        }
    }
}
