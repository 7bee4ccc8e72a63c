//! What a file of data is.

use std::path::Path;

use super::options::TableOptions;

/// The formats that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// A CSV, with the extension that tells what separates its columns.
    Csv(String),
    Npy,
    Safetensors,
    Idx,
}

impl Format {
    /// The format of a file by its name, or that of a CSV if a delimiter was given.
    pub(super) fn of(path: &Path, options: &TableOptions) -> Option<Self> {
        let lower = |text: Option<&std::ffi::OsStr>| {
            text.and_then(|text| text.to_str()).map(str::to_ascii_lowercase).unwrap_or_default()
        };
        match &lower(path.extension())[..] {
            extension @ ("csv" | "tsv" | "tab") => Some(Self::Csv(extension.to_owned())),
            "npy" => Some(Self::Npy),
            "safetensors" => Some(Self::Safetensors),
            _ if is_idx(&lower(path.file_name())) => Some(Self::Idx),
            _ => options.delimiter.map(|_| Self::Csv("csv".to_owned())),
        }
    }
}

/// Whether a file has a name as those of MNIST: `train-images-idx3-ubyte.gz`, `t10k-labels.idx1-ubyte`, `x.idx`.
fn is_idx(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let ends = |(_, rest): (usize, &str)| {
        let rest = &rest[3..];
        rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit())
    };
    let begins = |at: usize| name[..at].ends_with(['-', '.', '_']);
    name.ends_with("-ubyte") || name.match_indices("idx").any(|(at, _)| begins(at) && ends((at, &name[at..])))
}

/// Whether programs can tell what a file is: by its extension (`.csv`, `.tsv`, `.npy`, `.safetensors`), by a name
/// as MNIST's files have (`idx3-ubyte`, with or without `.gz`), or because a delimiter was given, which makes any
/// other file a CSV.
///
/// ```
/// use wick_train::data::{TableOptions, is_known_format};
///
/// let options = TableOptions::default();
/// assert!(is_known_format("train-images-idx3-ubyte.gz", &options) && is_known_format("x.NPY", &options));
/// assert!(!is_known_format("x.txt", &options));
/// ```
pub fn is_known_format(source: &str, options: &TableOptions) -> bool {
    Format::of(super::safetensors::split(source).0, options).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        let of = |name: &str| Format::of(Path::new(name), &TableOptions::default());
        for name in [
            "train-images-idx3-ubyte.gz",
            "t10k-labels.idx1-ubyte",
            "x.idx",
            "x.idx3.gz",
            "emnist-ubyte",
            "a/X-IDX1-UBYTE.GZ",
        ] {
            assert_eq!(of(name), Some(Format::Idx), "{name}");
        }
        for name in ["x", "idxes.txt", "pidx", "data.csv.gz", "x.index", "x.gz"] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(of("idx.csv"), Some(Format::Csv("csv".into())));
        let given = TableOptions { delimiter: ";".parse().ok(), ..TableOptions::default() };
        assert_eq!(Format::of(Path::new("x.dat"), &given), Some(Format::Csv("csv".into())));
    }
}
