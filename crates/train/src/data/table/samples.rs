//! Samples from a file, in the type that they have, with their labels.

use std::io::BufRead;

use candle_core::{DType, Device, Tensor};
use wick_theory::shown;

use super::csv::{self, Wanted};
use super::format::Format;
use super::labels::Labels;
use super::options::{Missing, TableOptions};
use super::reason::Reason;
use super::source::Source;
use super::{columns, known, npy, open, safetensors};
use crate::data::idx::read_idx;
use crate::data::rows;
use crate::error::Error;

/// Samples to train on or to predict: a tensor `[samples, …]` in the type that the numbers have, the names of its
/// columns, and the labels if the file has a column of them.
///
/// IDX files, `.npy` and `.safetensors` keep their type and shape: bytes stay bytes. Types that candle lacks become
/// the next larger one. The numbers of a CSV become the smallest of `u8`, `f32` and `f64` that holds all of them as
/// they are, or `i64` if there are whole numbers beyond 2⁵³.
///
/// ```
/// use candle_core::DType;
/// use wick_train::data::{Samples, TableOptions};
///
/// let text = "length,width,species\n51,35,setosa\n63,33,virginica\n";
/// let samples = Samples::from_text(text.as_bytes(), "iris", &TableOptions::default())?;
/// assert_eq!((samples.features().dims(), samples.features().dtype()), (&[2, 2][..], DType::U8));
/// assert_eq!((samples.names(), samples.label_name()), (&["length".into(), "width".into()][..], Some("species")));
/// assert_eq!(samples.labels().map(|labels| labels.len()), Some(2));
///
/// let holes = Samples::from_text(&b"a,b\n1,\n"[..], "t", &TableOptions::default()).unwrap_err();
/// assert!(holes.to_string().starts_with("cannot read 't': line 2, column 2: '' is not a number; fill in"));
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Samples {
    /// What messages call the file.
    source: String,
    features: Tensor,
    names: Vec<String>,
    labels: Option<Labels>,
    label_name: Option<String>,
    left_out: Vec<String>,
    missing: Missing,
    notices: Vec<String>,
}

impl Samples {
    /// Takes features from memory, `[samples, …]`.
    ///
    /// # Errors
    /// There is no sample, or a number is NaN or infinite.
    pub fn new(features: &Tensor) -> Result<Self, Error> {
        Self { features: rows::held(features)?, ..Self::empty("the data")? }.checked(Missing::Refuse)
    }

    /// Reads a file, as [`Table::read`](super::Table::read) does; arrays can have any number of dimensions. With
    /// [`Missing::Mean`] the missing numbers are NaN, which [`Prepared`](crate::data::Prepared) replaces.
    ///
    /// # Errors
    /// Names the file, and the line (or row) and the column where a number is missing, malformed or infinite, or
    /// where a label is missing.
    pub fn read(source: &str, options: &TableOptions) -> Result<Self, Error> {
        let (path, tensor) = safetensors::split(source);
        let name = shown(source);
        let read = match known(source, path, options)? {
            Format::Csv(extension) => {
                let delimiter = options.delimiter_of(&extension);
                let read = open(path).and_then(|text| csv::read(text, delimiter, options, Wanted::Labels));
                return Self::of_source(read, &name, options);
            }
            Format::Npy => npy::tensor(path, options),
            Format::Safetensors => safetensors::tensor(path, tensor, options),
            Format::Idx => {
                let tensor = read_idx(path)?;
                let rows = tensor.dim(0)?.min(options.most());
                Ok(tensor.narrow(0, 0, rows)?)
            }
        };
        let samples =
            read.and_then(|tensor| Self::of_array(tensor, options)).map_err(|reason| reason.of(&name))?;
        Self { source: name, ..samples }.checked(options.missing)
    }

    /// Reads the text of a CSV; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_text(text: impl BufRead, name: &str, options: &TableOptions) -> Result<Self, Error> {
        let read = csv::read(text, options.delimiter_of("csv"), options, Wanted::Labels);
        Self::of_source(read, &shown(name), options)
    }

    fn empty(source: &str) -> Result<Self, Error> {
        Ok(Self {
            source: source.to_owned(),
            features: Tensor::zeros(0, DType::U8, &Device::Cpu)?,
            names: Vec::new(),
            labels: None,
            label_name: None,
            left_out: Vec::new(),
            missing: Missing::Refuse,
            notices: Vec::new(),
        })
    }

    fn of_source(read: Result<Source, Reason>, name: &str, options: &TableOptions) -> Result<Self, Error> {
        let mut read = read.map_err(|reason| reason.of(name))?;
        if read.matrix.values.is_empty() {
            return Err(Error::Data(format!("'{name}' holds no numbers")));
        }
        let features = read.matrix.exact_tensor()?;
        let mut notices = read.notices();
        // A label that is used as one is no column that is lost.
        notices.retain(|notice| Some(notice) != read.left_out.notice(&read.names).as_ref());
        if features.dtype() == DType::F64 && read.matrix.lacks.iter().any(|lack| *lack != 0.0) {
            notices.push("whole numbers beyond 2^53 beside fractions are rounded".to_owned());
        }
        let has_names = !read.names.is_empty();
        let named = |columns: Vec<String>| if has_names { columns } else { Vec::new() };
        let labels = read.labels.take().map(|cells| Labels::of_cells(cells, options.decimal_comma));
        let samples = Self {
            features,
            names: named(read.features()),
            labels,
            label_name: read.left_out.label.map(|label| columns::name_of(label, &read.names)),
            left_out: named(read.left_out.names(&read.names)),
            missing: options.missing,
            notices,
            ..Self::empty(name)?
        };
        samples.checked(options.missing)
    }

    /// The samples of an array, whose columns have numbers if it has two dimensions.
    fn of_array(tensor: Tensor, options: &TableOptions) -> Result<Self, Reason> {
        let empty = || Self::empty("").map_err(|error| Reason::Text(error.to_string()));
        let names_none = options.label.as_ref().is_none_or(|label| label.trim().eq_ignore_ascii_case("none"));
        if names_none && options.drop.is_empty() {
            return Ok(Self { features: tensor, missing: options.missing, ..empty()? });
        }
        let &[_, count] = tensor.dims() else {
            let shape = tensor.dims();
            return Err(format!("--label and --drop name columns, and the array {shape:?} has none").into());
        };
        let left_out = columns::LeftOut::of(options, &[], &[], count)?;
        let kept: Vec<usize> = (0..count).filter(|column| !left_out.columns.contains(column)).collect();
        let labels = match left_out.label {
            Some(label) => Some(Labels::of_tensor(tensor.narrow(1, label, 1)?.squeeze(1)?.contiguous()?)),
            None => None,
        };
        Ok(Self {
            features: rows::columns(&tensor, &kept)?,
            labels,
            label_name: left_out.label.map(|label| columns::name_of(label, &[])),
            missing: options.missing,
            ..empty()?
        })
    }

    fn checked(self, missing: Missing) -> Result<Self, Error> {
        self.check(missing)?;
        Ok(self)
    }

    /// Refuses samples with missing numbers.
    pub(in crate::data) fn refuse_missing(&self) -> Result<(), Error> {
        self.check(Missing::Refuse)
    }

    /// Refuses numbers that are infinite, or NaN where they are not to be replaced, and rows of NaN alone.
    fn check(&self, missing: Missing) -> Result<(), Error> {
        let source = &self.source;
        if self.features.elem_count() == 0 {
            return Err(Error::Data(format!("'{source}' holds no numbers")));
        }
        if !self.features.dtype().is_float() {
            return Ok(());
        }
        let mut bad = None;
        let all: Vec<usize> = (0..self.len()).collect();
        rows::for_rows(&self.features, &all, &[], |row, numbers| {
            if bad.is_some() {
                return;
            }
            let is_bad = |x: &f64| x.is_infinite() || x.is_nan() && missing == Missing::Refuse;
            bad = match numbers.iter().position(is_bad) {
                Some(column) => {
                    let (x, row, column) = (numbers[column], row + 1, column + 1);
                    let text = format!("row {row}, column {column}: {x} is not a finite number");
                    Some(if x.is_nan() { Reason::Missing(text) } else { text.into() })
                }
                None if numbers.iter().all(|x| x.is_nan()) => {
                    Some(format!("row {}: all numbers are missing; remove the row", row + 1).into())
                }
                None => None,
            };
        })?;
        match bad {
            Some(reason) => Err(reason.of(source)),
            None => Ok(()),
        }
    }

    /// Sets the labels, in place of those of the file.
    ///
    /// # Errors
    /// They are not as many as the samples.
    pub fn with_labels(mut self, labels: Labels) -> Result<Self, Error> {
        let (count, samples) = (labels.len(), self.len());
        if count != samples {
            return Err(Error::Lengths { what: "labels", count, samples });
        }
        self.labels = Some(labels);
        Ok(self)
    }

    /// What messages call the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.features.dims().first().copied().unwrap_or(0)
    }

    /// Whether there is no sample, which no constructor allows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The features, `[samples, …]`, on the CPU.
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// The names of the columns; empty if the file has none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The labels.
    pub fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref()
    }

    /// The name or the number of the column of the labels.
    pub fn label_name(&self) -> Option<&str> {
        self.label_name.as_deref()
    }

    /// The names of the columns that are no features; empty if the file has no names.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What a missing number, NaN among the features, means.
    pub fn missing(&self) -> Missing {
        self.missing
    }

    /// What was guessed and the user should know, each in a sentence.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}
