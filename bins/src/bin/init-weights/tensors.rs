//! The tensors that are wanted, and the file that they are written to.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use safetensors::SafeTensors;
use wick::failure::usage;
use wick_init::InitMap;

/// A tensor by its full name and shape.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

impl Wanted {
    /// How many elements, in `f64` so that absurd shapes do not overflow.
    pub(crate) fn numbers(&self) -> f64 {
        self.shape.iter().map(|&size| size as f64).product()
    }
}

/// What was read is not `NAME=800x750`.
#[derive(Debug, thiserror::Error)]
#[error("a tensor is named as NAME=800x750, its dimensions with an x between them")]
pub(crate) struct NoShape;

impl FromStr for Wanted {
    type Err = NoShape;

    fn from_str(text: &str) -> Result<Self, NoShape> {
        let (name, shape) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NoShape)?;
        let shape = shape.split(['x', '×']).map(|size| size.parse().map_err(|_| NoShape));
        Ok(Self { name: name.to_owned(), shape: shape.collect::<Result<_, _>>()? })
    }
}

/// The names and shapes in a safetensors file, in the order in which they lie there.
pub(crate) fn of_file(path: &Path) -> Result<Vec<Wanted>> {
    let reading = || format!("cannot read '{}'", path.display());
    let bytes = std::fs::read(path).with_context(reading)?;
    let file = SafeTensors::deserialize(&bytes).with_context(reading)?;
    let mut tensors = file.tensors();
    tensors.sort_by_key(|(name, view)| (view.data().as_ptr() as usize, name.clone()));
    Ok(tensors.into_iter().map(|(name, view)| Wanted { name, shape: view.shape().to_vec() }).collect())
}

/// Two tensors of one name would be one.
pub(crate) fn check_names(wanted: &[Wanted]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match wanted.iter().find(|wanted| !seen.insert(&wanted.name)) {
        Some(twice) => Err(usage(format!("'{}' is named twice", twice.name))),
        None => Ok(()),
    }
}

/// The variables as the bytes of a safetensors file.
pub(crate) fn serialized(map: &InitMap) -> Result<Vec<u8>> {
    let tensors = map.named_vars().into_iter().map(|(name, var)| (name, var.as_tensor().clone()));
    Ok(safetensors::serialize(tensors, None)?)
}
