//! The requested tensors, and the bytes of the file that they are written to.

use std::collections::BTreeSet;
use std::str::FromStr;

use anyhow::{Result, bail};
use candle_core::DType;
use wick_bins::cli::usage;
use wick_bins::names::shown;
use wick_bins::warning::warn;
use wick_init::{TensorFile, presets};

/// A requested tensor, by its full name and shape.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The type in the file that the tensor is copied from.
    pub(crate) dtype: Option<DType>,
}

impl Wanted {
    /// Returns the number of elements, in `f64` so that absurd shapes do not overflow.
    pub(crate) fn numbers(&self) -> f64 {
        self.shape.iter().map(|&size| size as f64).product()
    }
}

/// The text is not `NAME=800x750`.
#[derive(Debug, thiserror::Error)]
#[error("a tensor is named as NAME=800x750, its dimensions with an x between them")]
pub(crate) struct NoShape;

impl FromStr for Wanted {
    type Err = NoShape;

    fn from_str(text: &str) -> Result<Self, NoShape> {
        let (name, shape) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NoShape)?;
        let shape = shape.split(['x', 'X', '×']).map(|size| size.trim().parse().map_err(|_| NoShape));
        Ok(Self { name: name.to_owned(), shape: shape.collect::<Result<_, _>>()?, dtype: None })
    }
}

/// Returns the tensors of a safetensors file, in the order of the file. Tensors of a type that weights cannot
/// have are left out, with a line on stderr.
pub(crate) fn of_file(file: &TensorFile) -> Result<Vec<Wanted>> {
    let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
    for tensor in file.tensors() {
        match tensor.candle_dtype() {
            Some(dtype @ (DType::F64 | DType::F32 | DType::BF16 | DType::F16)) => wanted.push(Wanted {
                name: tensor.name().to_owned(),
                shape: tensor.shape().to_vec(),
                dtype: Some(dtype),
            }),
            _ => left_out.push(format!("{} ({})", shown(tensor.name()), shown(tensor.dtype()))),
        }
    }
    if wanted.is_empty() {
        bail!("it has no tensors that weights can be drawn for");
    }
    if !left_out.is_empty() {
        warn(&format!("left out, for weights are f64, f32, bf16 or f16: {}", left_out.join(", ")));
    }
    Ok(wanted)
}

/// Leaves out the tensors that a preset knows as no weights, with a line on stderr.
pub(crate) fn without_buffers(wanted: Vec<Wanted>) -> Result<Vec<Wanted>> {
    let buffers = presets::buffers()?;
    let (left_out, wanted): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|wanted| buffers.matches(&wanted.name, &wanted.shape));
    if wanted.is_empty() {
        bail!("all tensors are masks, positions or versions, for which no preset draws numbers");
    }
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|wanted| shown(&wanted.name)).collect();
        warn(&format!("left out, for masks, positions and versions are no weights: {}", names.join(", ")));
    }
    Ok(wanted)
}

/// Says on stderr which weights may have their inputs first, where neither name nor shape tells: `w` is the name of
/// TensorFlow, Sonnet and Haiku, whose names have slashes, and of others.
pub(crate) fn warn_of_unknown_layouts(wanted: &[Wanted]) {
    let is_unknown = |wanted: &&Wanted| {
        let end = wanted.name.rsplit('.').next().unwrap_or_default();
        let equal = wanted.shape.iter().all(|size| Some(size) == wanted.shape.first());
        matches!(end, "w" | "W") && wanted.shape.len() >= 2 && !equal
    };
    let names: Vec<String> = wanted.iter().filter(is_unknown).map(|wanted| shown(&wanted.name)).collect();
    if !names.is_empty() {
        warn(&format!(
            "taken as [out, in, …], which their names do not tell: {}; if the inputs come first, name them in --rules \
             with in_out = true",
            names.join(", ")
        ));
    }
}

/// Refuses two tensors of one name, which would be one in the file, and names and shapes that no file can have.
pub(crate) fn check(wanted: &[Wanted]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for Wanted { name, shape, .. } in wanted {
        TensorFile::check_name(name).map_err(|error| usage(error.to_string()))?;
        TensorFile::check_shape(name, shape).map_err(|error| usage(error.to_string()))?;
        if !seen.insert(name) {
            return Err(usage(format!("'{}' is named twice", shown(name))));
        }
    }
    Ok(())
}
