//! Data from files, and the digits that ship with Wick.

mod csv;
mod matrix;
mod npy;
mod safetensors;

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

pub use csv::{CsvOptions, Delimiter, Header};
pub use matrix::{Matrix, numbers};

use crate::names::shown;

const DIGITS: &str = include_str!("../../../assets/digits/digits.csv");

impl Matrix {
    /// Reads `digits`, a CSV from stdin (`-`), or a file: `.csv` or `.tsv`, `.npy`, or `.safetensors` (with
    /// one tensor, or as `FILE.safetensors#TENSOR`; other tensors of the file are not read). With `most`, only
    /// the first rows are kept, and the rest of a CSV is not parsed. A guess about the first line of a CSV is
    /// told on stderr.
    ///
    /// # Errors
    /// Names the file, and the line and column where a number is missing, malformed, infinite or NaN.
    pub fn load(source: &str, most: Option<usize>, options: CsvOptions) -> Result<Self> {
        let most = most.unwrap_or(usize::MAX);
        if source == "digits" {
            return Ok(digits()?.0.take(most));
        }
        let (path, tensor) = safetensors::split(source);
        let name = if source == "-" { "standard input".into() } else { shown(source) };
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let mut notice = None;
        let mut read_csv = |text: std::io::Result<Vec<u8>>, extension: &str| -> Result<Self> {
            let (matrix, told) = csv::read(&text?, most, options.for_extension(extension))?;
            notice = told;
            Ok(matrix)
        };
        let matrix = match extension.as_deref() {
            _ if source == "-" => {
                let mut text = Vec::new();
                read_csv(std::io::stdin().lock().read_to_end(&mut text).map(|_| text), "csv")
            }
            Some(extension @ ("csv" | "tsv")) => read_csv(std::fs::read(path), extension),
            Some("npy") => npy::read(path),
            Some("safetensors") => safetensors::read(path, tensor),
            _ => bail!(
                "cannot tell what '{source}' is: data is 'digits', '-' for a CSV on stdin, or a .tsv, .csv, .npy or \
                 .safetensors file"
            ),
        };
        let matrix = matrix.with_context(|| format!("cannot read '{name}'"))?.take(most);
        if matrix.values.is_empty() {
            bail!("'{name}' holds no numbers");
        }
        if let Some(at) = matrix.values.iter().position(|x| !x.is_finite()) {
            let (row, column) = (at / matrix.columns + 1, at % matrix.columns + 1);
            bail!("'{name}', row {row}, column {column}: {} is not a finite number", matrix.values[at]);
        }
        if let Some(notice) = notice {
            let _ = writeln!(std::io::stderr(), "warning: '{name}': {notice}");
        }
        Ok(matrix)
    }
}

/// Returns the handwritten digits: 1797 images of 64 pixels from 0 to 16, and their labels.
///
/// # Errors
/// Fails if the file that is compiled in is damaged, which a test excludes.
pub fn digits() -> Result<(Matrix, Vec<usize>)> {
    let (all, _) = csv::read(DIGITS.as_bytes(), usize::MAX, CsvOptions::default())?;
    let pixels = all.columns - 1;
    let values = all.values.chunks(all.columns).flat_map(|row| row[..pixels].to_vec()).collect();
    let labels = all.values.chunks(all.columns).map(|row| row[pixels] as usize).collect();
    Ok((Matrix { rows: all.rows, columns: pixels, values }, labels))
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
