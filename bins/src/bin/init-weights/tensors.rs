//! The requested tensors, and the bytes of the file that they are written to.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use candle_core::DType;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use wick_bins::cli::usage;
use wick_bins::warning::warn;

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
        let (name, shape) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NoShape)?;
        let shape = shape.split(['x', '×']).map(|size| size.parse().map_err(|_| NoShape));
        Ok(Self { name: name.to_owned(), shape: shape.collect::<Result<_, _>>()?, dtype: None })
    }
}

/// Reads the tensors of a safetensors file, in the order of the file, from its header alone. Tensors of a
/// type that weights cannot have are left out, with a line on stderr.
pub(crate) fn of_file(path: &Path) -> Result<Vec<Wanted>> {
    let metadata = header(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let dtype = match info.dtype {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::BF16 => DType::BF16,
            Dtype::F16 => DType::F16,
            other => {
                left_out.push(format!("{name} ({other:?})"));
                continue;
            }
        };
        wanted.push(Wanted { shape: info.shape.clone(), dtype: Some(dtype), name });
    }
    if !left_out.is_empty() {
        warn(&format!("left out, for weights are f64, f32, bf16 or f16: {}", left_out.join(", ")));
    }
    if wanted.is_empty() {
        bail!("'{}' has no tensors that weights can be drawn for", path.display());
    }
    Ok(wanted)
}

/// Reads the header of a safetensors file, and checks the length of the file against it.
fn header(path: &Path) -> Result<Metadata> {
    /// The largest header that the format allows.
    const LARGEST: u64 = 100_000_000;
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).context("too short for a safetensors file")?;
    let size = u64::from_le_bytes(size);
    if size > LARGEST.min(length.saturating_sub(8)) {
        bail!("no safetensors file: its header would be {size} bytes long");
    }
    let mut header = Vec::new();
    file.take(size).read_to_end(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).context("no safetensors file")?;
    let whole = 8 + size + metadata.data_len() as u64;
    if whole != length {
        bail!("{length} bytes long, and by its header {whole}");
    }
    Ok(metadata)
}

/// Refuses two tensors of one name, which would be one in the file.
pub(crate) fn check_names(wanted: &[Wanted]) -> Result<()> {
    let mut seen = BTreeSet::new();
    match wanted.iter().find(|wanted| !seen.insert(&wanted.name)) {
        Some(twice) => Err(usage(format!("'{}' is named twice", twice.name))),
        None => Ok(()),
    }
}
