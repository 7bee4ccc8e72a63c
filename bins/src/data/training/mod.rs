//! The data of programs that train and predict.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
use wick_theory::did_you_mean;
use wick_train::Error;
use wick_train::data::{
    Delimiter, InMemory, Labels, Preparation, PrepareOptions, Prepared, Samples, TableOptions, TestPart,
    is_known_format,
};

use crate::args::Target;
use crate::cli::usage;
use crate::data::options::{Header, for_digits};
use crate::data::{DIGITS, failed, is_digits, name_of};
use crate::memory;
use crate::values::number;
use crate::warning::warn;

/// Where Debian's package `dataset-fashion-mnist` puts its files.
const FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

/// The fraction of one file of data that is for testing.
const TEST: f64 = 0.2;

/// How the files of a program are read.
#[derive(Debug, Clone, Args)]
pub struct ReadOptions {
    /// Whether the first line of a CSV names the columns; auto: if it holds a name, or no number
    #[arg(long, value_name = "WHETHER", default_value = "auto", ignore_case = true)]
    pub header: Header,
    /// What separates the columns of a CSV: a character, or tab [default: a comma, in .tsv files a tab, and a
    /// semicolon with --decimal-comma]
    #[arg(long, value_name = "CHAR")]
    pub delimiter: Option<Delimiter>,
    /// The numbers of a CSV have a decimal comma: 1,5 is 1.5 [default: a decimal point]
    #[arg(long)]
    pub decimal_comma: bool,
    /// Columns that are no features, by their names or numbers (1 is the first, -1 the last) [default: none]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub drop: Vec<String>,
}

impl ReadOptions {
    fn table(&self) -> TableOptions {
        TableOptions {
            header: self.header.into(),
            delimiter: self.delimiter,
            decimal_comma: self.decimal_comma,
            drop: self.drop.clone(),
            memory: memory::free(),
            ..TableOptions::default()
        }
    }
}

/// The data that a program trains on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct TrainingDataOptions {
    /// The data: digits (1797 images of 8x8, which ship with Wick), fashion-mnist (70000 images of 28x28, from
    /// Debian's package dataset-fashion-mnist), a .csv, .tsv, .npy, .safetensors (or FILE.safetensors#TENSOR) or
    /// IDX file with or without gzip, or - for a CSV on stdin
    #[arg(long, value_name = "digits|fashion-mnist|FILE", default_value = "digits")]
    pub data: String,
    /// The column with the labels: its name, or its number (1 is the first, -1 the last; column:4 or name:4 where
    /// both are possible) [default: the first or last column if its name is label, target, class, …]
    #[arg(long, value_name = "COLUMN", conflicts_with = "labels", allow_hyphen_values = true)]
    pub label: Option<String>,
    /// A file with the labels alone: a CSV of one column, a .npy, .safetensors or IDX file [default: a column of
    /// the data]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<String>,
    /// The fraction of the data that is for testing, or a file with test data [default: 0.2; of fashion-mnist its
    /// own 10000 test images]
    #[arg(long, value_name = "FRACTION|FILE", allow_hyphen_values = true)]
    pub test: Option<TestChoice>,
    /// A file with the labels of the test data alone [default: the column of the same name or number]
    #[arg(long, value_name = "FILE", requires = "test")]
    pub test_labels: Option<String>,
    /// The fraction of the data by which runs are compared and the best weights chosen; 0 for none
    #[arg(long, value_name = "FRACTION", value_parser = number, default_value_t = 0.1, allow_hyphen_values = true)]
    pub validation: f64,
    /// What is predicted: a class, or numbers [default: classify if the labels are texts or at most 100 different
    /// whole numbers, else regress]
    #[arg(long, value_name = "TASK", ignore_case = true)]
    pub task: Option<TaskChoice>,
    /// What a missing number is (an empty cell, NA, NaN): refuse: an error; mean: the column's mean over the
    /// training part
    #[arg(long, value_name = "HOW", default_value = "refuse", ignore_case = true)]
    pub missing: MissingChoice,
    #[command(flatten)]
    #[allow(missing_docs)] // Its options have their own texts.
    pub read: ReadOptions,
}

/// The samples that a model is tested on: a fraction of the data, or a file.
///
/// ```
/// use wick_bins::data::TestChoice;
///
/// assert_eq!("1/4".parse(), Ok(TestChoice::Fraction(0.25)));
/// assert_eq!("test.csv".parse(), Ok(TestChoice::File("test.csv".to_owned())));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum TestChoice {
    /// A fraction from 0 to below 1.
    Fraction(f64),
    /// A file.
    File(String),
}

impl FromStr for TestChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(number(text).map_or_else(|_| Self::File(text.to_owned()), Self::Fraction))
    }
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskChoice {
    /// A class
    Classify,
    /// Numbers
    Regress,
}

/// What a missing number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MissingChoice {
    /// An error
    Refuse,
    /// The column's mean over the training part
    Mean,
}

impl From<TaskChoice> for wick_train::data::Task {
    fn from(task: TaskChoice) -> Self {
        match task {
            TaskChoice::Classify => Self::Classify,
            TaskChoice::Regress => Self::Regress,
        }
    }
}

impl From<MissingChoice> for wick_train::data::Missing {
    fn from(missing: MissingChoice) -> Self {
        match missing {
            MissingChoice::Refuse => Self::Refuse,
            MissingChoice::Mean => Self::Mean,
        }
    }
}

impl TrainingDataOptions {
    /// Reads the data, splits them by the seed, and prepares them for this type and device. Samples become rows,
    /// `[samples, features]`. What was guessed is told on stderr.
    ///
    /// # Errors
    /// A usage error for options that contradict each other and fractions out of range; else names the file and
    /// what is wrong with it, as [`Samples::read`] and [`Prepared::new`] do.
    pub fn load(&self, seed: u64, target: &Target) -> Result<Prepared> {
        self.load_with(Path::new(FASHION_MNIST), seed, target)
    }

    fn load_with(&self, fashion: &Path, seed: u64, target: &Target) -> Result<Prepared> {
        let is_fashion = is_fashion_mnist(&self.data);
        self.check(is_fashion)?;
        let options =
            TableOptions { label: self.label.clone(), missing: self.missing.into(), ..self.read.table() };
        let data = match is_fashion {
            true => fashion_mnist(fashion, "train", &options)?,
            false => {
                let data = read(&self.data, &options)?;
                labelled(data, self.labels.as_deref(), &options)?
            }
        };
        let test = match &self.test {
            Some(TestChoice::File(file)) => {
                let options = self.of_test(&data, &options);
                Some(labelled(read(file, &options)?, self.test_labels.as_deref(), &options)?)
            }
            None if is_fashion => Some(fashion_mnist(fashion, "t10k", &options)?),
            _ => None,
        };
        let part = match (&test, &self.test) {
            (Some(test), _) => TestPart::Data(test),
            (None, Some(TestChoice::Fraction(fraction))) => TestPart::Fraction(*fraction),
            (None, _) => TestPart::Fraction(TEST),
        };
        let options = PrepareOptions {
            task: self.task.map(Into::into),
            validation: self.validation,
            seed,
            dtype: target.dtype,
            device: target.device.clone(),
            ..PrepareOptions::default()
        };
        let prepared = Prepared::new(&data, part, &options).map_err(failure)?;
        // Of the data that ship with Wick nothing is guessed, and pixels at the edges may be equal.
        if !is_fashion && !is_digits(&self.data) {
            tell(&self.data, &prepared.notices);
        }
        Ok(prepared)
    }

    /// Refuses options that contradict each other.
    fn check(&self, is_fashion: bool) -> Result<()> {
        if self.test_labels.is_some() && !matches!(self.test, Some(TestChoice::File(_))) {
            return Err(usage("--test-labels is about a file of test data: give that with --test FILE"));
        }
        let labels = [(self.label.is_some(), "--label"), (self.labels.is_some(), "--labels")];
        if let Some((_, option)) = labels.into_iter().find(|(is_given, _)| *is_given && is_fashion) {
            return Err(usage(format!("fashion-mnist has its own labels: leave {option} out")));
        }
        Ok(())
    }

    /// The options for the test data, whose columns are those of the training data: by name if these have names.
    fn of_test(&self, data: &Samples, options: &TableOptions) -> TableOptions {
        let has_names = !data.names().is_empty();
        let by_name = data.label_name().filter(|_| has_names).map(|name| format!("name:{name}"));
        let label = match &self.test_labels {
            Some(_) => Some("none".to_owned()),
            None => by_name.or_else(|| options.label.clone()),
        };
        let drop = if has_names { Vec::new() } else { options.drop.clone() };
        TableOptions { label, drop, ignore: data.left_out().to_vec(), ..options.clone() }
    }
}

/// The features of a program that predicts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct FeatureOptions {
    /// The features, with the columns that the model was trained on: a file as for training, digits,
    /// fashion-mnist (its test images), or - for a CSV on stdin; labels are left out
    #[arg(long, value_name = "digits|fashion-mnist|FILE")]
    pub data: String,
    #[command(flatten)]
    #[allow(missing_docs)] // Its options have their own texts.
    pub read: ReadOptions,
}

impl FeatureOptions {
    /// Reads features, and prepares them as those of the training.
    ///
    /// # Errors
    /// Names the file and what is wrong with it, as [`Samples::read`] and [`Preparation::apply`] do.
    pub fn load(&self, preparation: &Preparation, target: &Target) -> Result<InMemory> {
        let options = preparation.table_options(&self.read.table());
        let data = match is_fashion_mnist(&self.data) {
            true => fashion_mnist(Path::new(FASHION_MNIST), "t10k", &options)?,
            false => read(&self.data, &options).map_err(of_features)?,
        };
        preparation.apply(&data, target.dtype, &target.device).map_err(failure).map_err(of_features)
    }
}

fn is_fashion_mnist(source: &str) -> bool {
    source.eq_ignore_ascii_case("fashion-mnist") && !Path::new(source).exists()
}

/// Reads `digits`, a CSV on stdin, or a file, and tells what was guessed.
fn read(source: &str, options: &TableOptions) -> Result<Samples> {
    let name = name_of(source);
    let samples = if is_digits(source) {
        Samples::from_text(DIGITS.as_bytes(), "digits", &for_digits(options.clone()))
    } else if source == "-" {
        Samples::from_text(std::io::stdin().lock(), &name, options)
    } else if is_known_format(source, options) {
        Samples::read(source, options)
    } else {
        let is_name = Path::new(source).extension().is_none();
        let is_gzip =
            Path::new(source).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let meant = match is_name {
            true => did_you_mean(source, ["digits", "fashion-mnist"]),
            false if is_gzip => {
                " (of gzip files IDX files alone are read, with names as x-idx3-ubyte.gz)".to_owned()
            }
            false => String::new(),
        };
        bail!(
            "cannot tell what '{name}' is{meant}: data is digits, fashion-mnist, - for a CSV on stdin, or a .csv, .tsv, \
             .npy, .safetensors or IDX file; with --delimiter any other file is read as a CSV"
        );
    };
    let samples = samples.map_err(failure)?;
    tell(source, samples.notices());
    Ok(samples)
}

/// Adds the labels of a file of their own.
fn labelled(samples: Samples, labels: Option<&str>, options: &TableOptions) -> Result<Samples> {
    let Some(source) = labels else { return Ok(samples) };
    let labels = Labels::read(source, samples.len(), options).map_err(failure)?;
    samples.with_labels(labels).map_err(failure)
}

/// Reads a part of Fashion-MNIST, `train` or `t10k`.
fn fashion_mnist(folder: &Path, part: &str, options: &TableOptions) -> Result<Samples> {
    let file = |kind: &str| folder.join(format!("{part}-{kind}-ubyte.gz"));
    let [images, labels] = [file("images-idx3"), file("labels-idx1")];
    if let Some(missing) = [&images, &labels].into_iter().find(|file| !file.exists()) {
        bail!(
            "fashion-mnist is not on this machine, there is no '{}': install Debian's package dataset-fashion-mnist, \
             or give files with --data, --labels, --test and --test-labels",
            missing.display()
        );
    }
    let options = TableOptions { label: None, drop: Vec::new(), rows: None, ..options.clone() };
    let images = Samples::read(&images.to_string_lossy(), &options).map_err(failure)?;
    labelled(images, Some(&labels.to_string_lossy()), &options)
}

fn tell(source: &str, notices: &[String]) {
    for notice in notices {
        warn(&format!("'{}': {notice}", name_of(source)));
    }
}

/// The error of features, where what is missing is what the net needs.
fn of_features(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    match text.split_once("; fill in what is missing").or_else(|| text.split_once("; --missing mean")) {
        Some((what, _)) => anyhow!("{what}; fill it in: the net was trained on data without missing numbers"),
        None => error,
    }
}

/// The error of the library as one of a program: what is wrong with options is a usage error, and a missing number
/// has a remedy.
fn failure(error: Error) -> anyhow::Error {
    match error {
        Error::Parameter { .. } => usage(format!("--{error}")),
        Error::NothingToTrain { validation, test } => usage(format!(
            "--validation {validation} and --test {test} leave nothing to train on: their sum must be below 1"
        )),
        Error::Missing { .. } => {
            anyhow!("{error}; --missing mean takes the column's mean for missing numbers")
        }
        error => failed(error),
    }
}

#[cfg(test)]
mod tests;
