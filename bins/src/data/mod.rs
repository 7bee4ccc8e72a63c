//! Data from files, and the digits that ship with Wick.

mod columns;
mod csv;
mod matrix;
mod npy;
mod options;
mod safetensors;
mod source;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

pub use matrix::{Matrix, numbers};
pub use options::{DataOptions, Delimiter, Header};

use source::Source;

use crate::memory;

use crate::names::shown;

const DIGITS: &str = include_str!("../../../assets/digits/digits.csv");

/// Data for a net.
#[derive(Debug)]
pub struct Data {
    /// The features.
    pub matrix: Matrix,
    /// The names of the features, or their numbers where they have no names.
    pub features: Vec<String>,
    /// The names or numbers of the columns that are no features.
    pub left_out: Vec<String>,
}

impl Data {
    /// Reads `digits`, a CSV from stdin (`-`), or a file: `.csv` or `.tsv`, `.npy`, `.safetensors` (with one
    /// tensor, or as `FILE.safetensors#TENSOR`; other tensors of the file are not read), or any other as a CSV
    /// if the options have a delimiter. With `most`, only the first rows are kept, and the rest of a CSV is
    /// not parsed. Guesses about the first line of a CSV and about a column of labels are told on stderr.
    ///
    /// # Errors
    /// Names the file, and the line and column where a number is missing, malformed, infinite or NaN.
    pub fn load(source: &str, most: Option<usize>, options: &DataOptions) -> Result<Self> {
        let most = most.unwrap_or(usize::MAX);
        if source == "digits" {
            // The label of the built-in digits is no guess.
            let digits =
                csv::read(DIGITS.as_bytes(), most, b',', &options.for_digits()).context("'digits'")?;
            return Ok(digits.into());
        }
        let (path, tensor) = safetensors::split(source);
        let name = if source == "-" { "standard input".into() } else { shown(source) };
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let without_names = |matrix: Matrix| Source::without_names(matrix.take(most), options);
        let read_csv =
            |text: Vec<u8>, extension: &str| csv::read(&text, most, options.delimiter_of(extension), options);
        let read = match extension.as_deref() {
            _ if source == "-" => {
                text(std::io::stdin().lock(), limit()).and_then(|text| read_csv(text, "csv"))
            }
            Some(extension @ ("csv" | "tsv" | "tab")) => {
                open(path).and_then(|text| read_csv(text, extension))
            }
            Some("npy") => npy::read(path).and_then(without_names),
            Some("safetensors") => safetensors::read(path, tensor).and_then(without_names),
            _ if options.delimiter.is_some() => open(path).and_then(|text| read_csv(text, "csv")),
            _ => bail!(
                "cannot tell what '{source}' is: data is 'digits', '-' for a CSV on stdin, or a .tsv, .csv, .npy or \
                 .safetensors file; with --delimiter any other file is read as a CSV"
            ),
        };
        let read = read.with_context(|| format!("cannot read '{name}'"))?;
        let matrix = &read.matrix;
        if matrix.values.is_empty() {
            bail!("'{name}' holds no numbers");
        }
        if let Some(at) = matrix.values.iter().position(|x| !x.is_finite()) {
            let (row, column) = (at / matrix.columns + 1, at % matrix.columns + 1);
            bail!("'{name}', row {row}, column {column}: {} is not a finite number", matrix.values[at]);
        }
        read.tell(&name);
        Ok(read.into())
    }
}

impl From<Source> for Data {
    fn from(source: Source) -> Self {
        let (features, left_out) = (source.features(), source.left_out.names(&source.names));
        Self { matrix: source.matrix, features, left_out }
    }
}

/// Reads the text of a file.
fn open(path: &Path) -> Result<Vec<u8>> {
    text(File::open(path)?, limit())
}

/// The most bytes of a text that fit the memory together with its numbers.
fn limit() -> u64 {
    /// The bytes of a table for each byte of its text, `1,`: the text, its copies and the numbers.
    const COPIES: u64 = 16;
    memory::free().map_or(u64::MAX, |free| free / COPIES)
}

/// Reads a text to its end, which may never come: no more than `limit` bytes are read.
fn text(reader: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    if reader.take(limit).read_to_end(&mut text)? as u64 == limit {
        let limit = crate::output::size(limit as f64);
        bail!("the text is longer than {limit}, and its numbers would not fit the memory; take fewer rows");
    }
    Ok(text)
}

/// Returns the handwritten digits: 1797 images of 64 pixels from 0 to 16, and their labels.
///
/// # Errors
/// Fails if the file that is compiled in is damaged, which a test excludes.
pub fn digits() -> Result<(Matrix, Vec<usize>)> {
    let options = DataOptions { label: Some("none".into()), ..DataOptions::default() };
    let all = csv::read(DIGITS.as_bytes(), usize::MAX, b',', &options)?.matrix;
    let pixels = all.columns - 1;
    let labels = all.values.chunks(all.columns).map(|row| row[pixels] as usize).collect();
    Ok((all.without(&[pixels]), labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_end_is_refused() {
        assert_eq!(text(&b"1,2\n"[..], 5).unwrap(), b"1,2\n");
        let error = text(std::io::repeat(b'1'), 2048).unwrap_err().to_string();
        assert!(error.starts_with("the text is longer than 2.0 KiB"), "{error}");
    }

    #[test]
    fn the_digits_are_the_digits() {
        let (pixels, labels) = digits().unwrap();
        assert_eq!((pixels.rows, pixels.columns, labels.len()), (1797, 64, 1797));
        assert_eq!(pixels.values.iter().sum::<f64>(), 561_718.0); // numpy: load_digits().data.sum()
        assert_eq!(labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
