//! Tables and arrays from files.

pub(in crate::data) mod cells;
mod columns;
mod csv;
mod foreign;
pub(in crate::data) mod format;
pub(in crate::data) mod labels;
pub(in crate::data) mod matrix;
mod npy;
pub(in crate::data) mod options;
mod reason;
mod safetensors;
pub(in crate::data) mod samples;
mod source;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use candle_core::{DType, Tensor};
use wick_theory::shown;

use super::idx::read_idx;
use crate::error::Error;
use csv::Wanted;
use format::Format;
use matrix::Matrix;
use options::TableOptions;
use reason::Reason;
use source::Source;

/// A table of numbers, as `f64` holds them, and what was read beside it.
///
/// ```
/// use wick_train::data::{Table, TableOptions};
///
/// let text = "id,length,species\n1,5.1,setosa\n2,6.3,virginica\n";
/// let options = TableOptions { drop: vec!["id".to_owned()], ..TableOptions::default() };
/// let table = Table::from_text(text.as_bytes(), "iris", &options)?;
/// assert_eq!((table.matrix.values, table.features), (vec![5.1, 6.3], vec!["length".to_owned()]));
/// assert_eq!((table.left_out_columns, table.left_out), (vec![1, 3], vec!["id".into(), "species".into()]));
/// assert!(table.notices[0].starts_with("column 3, 'species', is taken for labels"));
///
/// let error = Table::from_text(&b"a,b\n1,x\n"[..], "t", &TableOptions::default()).unwrap_err().to_string();
/// assert!(error.starts_with("cannot read 't': line 2, column 2: 'x' is not a number"));
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The features.
    pub matrix: Matrix,
    /// The names of the features, or their numbers where they have no names.
    pub features: Vec<String>,
    /// The names or numbers of the columns that are no features.
    pub left_out: Vec<String>,
    /// The numbers of these columns, from 1.
    pub left_out_columns: Vec<usize>,
    /// What was guessed and the user should know, each in a sentence.
    pub notices: Vec<String>,
}

impl Table {
    /// Reads a file: `.csv` or `.tsv`, `.npy`, `.safetensors` (with one tensor, or as `FILE.safetensors#TENSOR`;
    /// other tensors of the file are not read), an IDX file, or any other as a CSV if the options have a
    /// delimiter. Arrays have two dimensions; images of an IDX file become rows. If the options say how many
    /// rows, the rest of a CSV or a `.npy` is not read.
    ///
    /// # Errors
    /// Names the file, and the line (or row) and the column where a number is missing, malformed, infinite or
    /// NaN.
    pub fn read(source: &str, options: &TableOptions) -> Result<Self, Error> {
        let (path, tensor) = safetensors::split(source);
        let without_names = |matrix| Source::without_names(matrix, options);
        let read = match known(source, path, options)? {
            Format::Csv(extension) => open(path).and_then(|text| {
                csv::read(text, options.delimiter_of(&extension), options, Wanted::Features)
            }),
            Format::Npy => npy::read(path, options).and_then(without_names),
            Format::Safetensors => safetensors::read(path, tensor, options).and_then(without_names),
            Format::Idx => {
                let matrix = flat(&read_idx(path)?, options)?;
                without_names(matrix)
            }
        };
        Self::of(read, &shown(source), options)
    }

    /// Reads the text of a CSV; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_text(text: impl BufRead, name: &str, options: &TableOptions) -> Result<Self, Error> {
        let read = csv::read(text, options.delimiter_of("csv"), options, Wanted::Features);
        Self::of(read, &shown(name), options)
    }

    fn of(read: Result<Source, Reason>, name: &str, options: &TableOptions) -> Result<Self, Error> {
        let read = read.map_err(|reason| reason.of(name))?;
        let matrix = &read.matrix;
        if matrix.values.is_empty() {
            return Err(Error::Data(format!("'{name}' holds no numbers")));
        }
        let is_bad = |x: &f64| !x.is_finite() && (options.missing == options::Missing::Refuse || !x.is_nan());
        if let Some(at) = matrix.values.iter().position(is_bad) {
            let (row, column) = (at / matrix.columns + 1, at % matrix.columns + 1);
            let value = matrix.values[at];
            return Err(Error::Data(format!(
                "'{name}', row {row}, column {column}: {value} is not a finite number"
            )));
        }
        Ok(Self {
            features: read.features(),
            left_out: read.left_out.names(&read.names),
            left_out_columns: read.left_out.columns.iter().map(|column| column + 1).collect(),
            notices: read.notices(),
            matrix: read.matrix,
        })
    }
}

/// The format of a file, or the error that nobody can tell it.
fn known(source: &str, path: &Path, options: &TableOptions) -> Result<Format, Error> {
    Format::of(path, options).ok_or_else(|| {
        Error::Data(format!(
            "cannot tell what '{}' is: data is a .csv, .tsv, .npy or .safetensors file or an IDX file as MNIST's; \
             with --delimiter any other file is read as a CSV",
            shown(source)
        ))
    })
}

fn open(path: &Path) -> Result<BufReader<File>, Reason> {
    Ok(BufReader::with_capacity(1 << 16, File::open(path)?))
}

/// The samples of a tensor as rows.
fn flat(tensor: &Tensor, options: &TableOptions) -> Result<Matrix, Error> {
    let rows = tensor.dim(0)?.min(options.most());
    let columns = tensor.elem_count() / tensor.dim(0)?.max(1);
    let values = tensor.narrow(0, 0, rows)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    Ok(Matrix::new(rows, columns, values))
}
