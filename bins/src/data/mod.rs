//! Data from files, and the digits that ship with Wick.

mod columns;
mod csv;
mod foreign;
mod matrix;
mod npy;
mod options;
mod safetensors;
mod source;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wick_theory::did_you_mean;

pub use matrix::{Matrix, numbers};
pub use options::{DataOptions, Delimiter, Header};

use source::Source;

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
    /// The numbers of these columns, from 1.
    pub left_out_columns: Vec<usize>,
}

/// What messages call a `--data`: the name of the file on one line, or standard input.
///
/// ```
/// use wick_bins::data::name_of;
///
/// assert_eq!([name_of("a.csv"), name_of("-")], ["a.csv", "standard input"]);
/// ```
pub fn name_of(source: &str) -> String {
    if source == "-" { "standard input".into() } else { shown(source) }
}

impl Data {
    /// Reads `digits`, a CSV from stdin (`-`), or a file: `.csv` or `.tsv`, `.npy`, `.safetensors` (with one
    /// tensor, or as `FILE.safetensors#TENSOR`; other tensors of the file are not read), or any other as a CSV
    /// if the options have a delimiter. With `most`, only the first rows are kept, and the rest of a CSV or a
    /// `.npy` is not read. Guesses about the first line of a CSV and about a column of labels are told on stderr.
    ///
    /// # Errors
    /// Names the file, and the line and column where a number is missing, malformed, infinite or NaN.
    pub fn load(source: &str, most: Option<usize>, options: &DataOptions) -> Result<Self> {
        let most = most.unwrap_or(usize::MAX);
        if source.eq_ignore_ascii_case("digits") && !Path::new(source).exists() {
            // The label of the built-in digits is no guess.
            let digits =
                csv::read(DIGITS.as_bytes(), most, b',', &options.for_digits()).context("'digits'")?;
            return Ok(digits.into());
        }
        let (path, tensor) = safetensors::split(source);
        let name = name_of(source);
        let extension = extension_of(path);
        let meant = if extension.is_none() { did_you_mean(source, ["digits"]) } else { String::new() };
        let without_names = |matrix: Matrix| Source::without_names(matrix.take(most), options);
        let read_file = |extension: &str| {
            let text = BufReader::with_capacity(1 << 16, File::open(path)?);
            csv::read(text, most, options.delimiter_of(extension), options)
        };
        let read = match extension.as_deref() {
            _ if source == "-" => {
                csv::read(std::io::stdin().lock(), most, options.delimiter_of("csv"), options)
            }
            Some(extension @ ("csv" | "tsv" | "tab")) => read_file(extension),
            Some("npy") => npy::read(path, most).and_then(without_names),
            Some("safetensors") => safetensors::read(path, tensor).and_then(without_names),
            _ if options.delimiter.is_some() => read_file("csv"),
            _ => bail!(
                "cannot tell what '{name}' is{meant}: data is 'digits', '-' for a CSV on stdin, or a .tsv, .csv, .npy or \
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

/// The extension of a file in lower case.
fn extension_of(path: &Path) -> Option<String> {
    path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase)
}

impl From<Source> for Data {
    fn from(source: Source) -> Self {
        let (features, left_out) = (source.features(), source.left_out.names(&source.names));
        let left_out_columns = source.left_out.columns.iter().map(|column| column + 1).collect();
        Self { matrix: source.matrix, features, left_out, left_out_columns }
    }
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
    fn the_digits_are_the_digits() {
        let (pixels, labels) = digits().unwrap();
        assert_eq!((pixels.rows, pixels.columns, labels.len()), (1797, 64, 1797));
        assert_eq!(pixels.values.iter().sum::<f64>(), 561_718.0); // numpy: load_digits().data.sum()
        assert_eq!(labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
