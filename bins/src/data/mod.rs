//! Data from files, and the digits that ship with Wick.

mod options;
mod training;

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use wick_theory::did_you_mean;
use wick_train::data::{Table, TableOptions, is_known_format};

pub use options::{DataOptions, Header};
pub use training::{FeatureOptions, MissingChoice, ReadOptions, TaskChoice, TestChoice, TrainingDataOptions};
pub use wick_train::data::{Delimiter, Matrix};

use crate::args::Target;
use crate::limits::largest;
use crate::memory;
use crate::names::shown;
use crate::warning::warn;

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
    /// tensor, or as `FILE.safetensors#TENSOR`; other tensors of the file are not read), an IDX file as MNIST's,
    /// or any other as a CSV if the options have a delimiter. With `most`, only the first rows are kept, and the
    /// rest of a CSV or a `.npy` is not read. Guesses about the first line of a CSV and about a column of labels
    /// are told on stderr.
    ///
    /// # Errors
    /// Names the file, and the line and column where a number is missing, malformed, infinite or NaN.
    pub fn load(source: &str, most: Option<usize>, options: &DataOptions) -> Result<Self> {
        let options = options.table(most);
        if is_digits(source) {
            // The label of the built-in digits is no guess.
            let options = options::for_digits(options);
            let digits = Table::from_text(DIGITS.as_bytes(), "digits", &options);
            return Ok(digits.map_err(of_digits)?.into());
        }
        let name = name_of(source);
        let table = if source == "-" {
            Table::from_text(std::io::stdin().lock(), &name, &options)
        } else {
            check_format(source, &options)?;
            Table::read(source, &options)
        };
        let table = table.map_err(failed)?;
        for notice in &table.notices {
            warn(&format!("'{name}': {notice}"));
        }
        Ok(table.into())
    }
}

/// A table as a tensor `[rows, columns]`.
///
/// # Errors
/// Names the row, the column and the number that the type cannot hold, or says why the device refuses.
pub fn tensor(matrix: &Matrix, target: &Target) -> Result<Tensor> {
    let limit = largest(target.dtype);
    if let Some(at) = matrix.values.iter().position(|x| x.abs() > limit) {
        let (row, column) = (at / matrix.columns + 1, at % matrix.columns + 1);
        let (value, dtype) = (matrix.values[at], target.dtype.as_str());
        bail!("row {row}, column {column}: {value} is beyond the largest {dtype}");
    }
    let tensor = Tensor::from_slice(&matrix.values, (matrix.rows, matrix.columns), &Device::Cpu)?;
    Ok(tensor.to_dtype(target.dtype)?.to_device(&target.device)?)
}

fn is_digits(source: &str) -> bool {
    source.eq_ignore_ascii_case("digits") && !Path::new(source).exists()
}

/// Refuses a source that no reader takes.
fn check_format(source: &str, options: &TableOptions) -> Result<()> {
    if is_known_format(source, options) {
        return Ok(());
    }
    let name = name_of(source);
    let meant = if Path::new(source).extension().is_none() {
        did_you_mean(source, ["digits"])
    } else {
        String::new()
    };
    bail!(
        "cannot tell what '{name}' is{meant}: data is 'digits', '-' for a CSV on stdin, or a .tsv, .csv, .npy or \
         .safetensors file; with --delimiter any other file is read as a CSV"
    )
}

/// The error of a reader as one of a program: too little memory is a matter of the arguments.
fn failed(error: wick_train::Error) -> anyhow::Error {
    if let wick_train::Error::Memory { path, needed, free, remedy } = &error
        && let Err(usage) = memory::refuse(*needed, *free, "", remedy)
    {
        return usage.context(format!("cannot read '{}'", shown(&path.to_string_lossy())));
    }
    error.into()
}

fn of_digits(error: wick_train::Error) -> anyhow::Error {
    match error {
        wick_train::Error::File { reason, .. } => anyhow!("'digits': {reason}"),
        error => failed(error),
    }
}

impl From<Table> for Data {
    fn from(Table { matrix, features, left_out, left_out_columns, .. }: Table) -> Self {
        Self { matrix, features, left_out, left_out_columns }
    }
}

/// Returns the handwritten digits: 1797 images of 64 pixels from 0 to 16, and their labels.
///
/// # Errors
/// Fails if the file that is compiled in is damaged, which a test excludes.
pub fn digits() -> Result<(Matrix, Vec<usize>)> {
    let options = TableOptions { label: Some("none".into()), ..TableOptions::default() };
    let all = Table::from_text(DIGITS.as_bytes(), "digits", &options)?.matrix;
    let pixels = all.columns - 1;
    let labels = all.values.chunks(all.columns).map(|row| row[pixels] as usize).collect();
    Ok((all.without(&[pixels]), labels))
}

/// Returns the elements of a tensor, row by row.
///
/// # Errors
/// Fails if the elements cannot be copied from the device.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
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

    /// Too little memory is a usage error, which names the file.
    #[test]
    fn too_little_memory_is_a_matter_of_the_arguments() {
        let error =
            wick_train::Error::Memory { path: "x.npy".into(), needed: 2048.0, free: 1024.0, remedy: "wait" };
        let error = failed(error);
        assert!(error.downcast_ref::<crate::cli::Usage>().is_some());
        let said = "cannot read 'x.npy': this takes 2.0 KiB of memory and 1.0 KiB are free: wait";
        assert_eq!(format!("{error:#}"), said);
        let other = failed(wick_train::Error::Data("bad".into()));
        assert!(other.downcast_ref::<crate::cli::Usage>().is_none());
    }

    #[test]
    fn numbers_beyond_the_type_are_named() {
        let target = |dtype| Target { device: Device::Cpu, name: "cpu".into(), dtype };
        let matrix = Matrix::new(2, 2, vec![1.0, 2.0, 3.0, -70000.0]);
        assert!(tensor(&matrix, &target(DType::BF16)).is_ok());
        let error = tensor(&matrix, &target(DType::F16)).unwrap_err().to_string();
        assert_eq!(error, "row 2, column 2: -70000 is beyond the largest f16");
    }
}
