//! The errors of this crate.

use std::path::PathBuf;

use candle_core::DType;

use crate::text::size;

/// An error of this crate. The text of each variant names the condition that does not hold and what to do
/// about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no samples, or more than an order can have.
    #[error("an order needs 1 to 2^62 samples, and there are {0}: give data with samples")]
    Samples(usize),
    /// The batch is empty or larger than the data.
    #[error("a batch of {batch} is not between 1 and the {samples} samples")]
    Batch {
        /// The samples of a batch.
        batch: usize,
        /// The samples of the data.
        samples: usize,
    },
    /// A parameter is NaN or outside its range.
    #[error("{parameter} = {value} is out of range: it must be {range}")]
    Parameter {
        /// The parameter's name.
        parameter: &'static str,
        /// The value that was given.
        value: f64,
        /// The allowed range, in words.
        range: &'static str,
    },
    /// The parts of a schedule do not fit each other.
    #[error("{0}")]
    Schedule(String),
    /// The text names no known schedule.
    #[error(
        "unknown schedule '{name}'{}; known: {known}",
        if .similar.is_empty() { String::new() } else { format!(" (did you mean {}?)", .similar.join(" or ")) }
    )]
    UnknownSchedule {
        /// The name that was read.
        name: String,
        /// The nearest of the known names, at most three.
        similar: Vec<&'static str>,
        /// All known names.
        known: String,
    },
    /// The text names no known optimizer.
    #[error(
        "unknown optimizer '{name}'{}; known: {known}",
        if .similar.is_empty() { String::new() } else { format!(" (did you mean {}?)", .similar.join(" or ")) }
    )]
    UnknownOptimizer {
        /// The name that was read.
        name: String,
        /// The nearest of the known names, at most three.
        similar: Vec<&'static str>,
        /// All known names.
        known: String,
    },
    /// The text names no known task.
    #[error(
        "unknown task '{name}'{}; known: {known}",
        if .similar.is_empty() { String::new() } else { format!(" (did you mean {}?)", .similar.join(" or ")) }
    )]
    UnknownTask {
        /// The name that was read.
        name: String,
        /// The nearest of the known names, at most three.
        similar: Vec<&'static str>,
        /// All known names.
        known: String,
    },
    /// The text names a known schedule, optimizer or task with a parameter that it does not have or that cannot be
    /// used.
    #[error("cannot read {what} '{spec}': {reason}")]
    Spec {
        /// `schedule`, `optimizer` or `task`.
        what: &'static str,
        /// The text that was read.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor has not the shape that is needed.
    #[error("a tensor of shape {shape:?} does not do: it needs {needs}")]
    Shape {
        /// The tensor's shape.
        shape: Vec<usize>,
        /// What is needed, in words.
        needs: &'static str,
    },
    /// A batch cannot be made of this type, or in it.
    #[error("batches are not made of or in the type {}: use f64, f32, bf16 or f16 for models", .0.as_str())]
    Type(DType),
    /// Labels of this type are no classes.
    #[error("labels are whole numbers, and these are {}: convert them to u32", .0.as_str())]
    Labels(DType),
    /// A label is no class.
    #[error("the label of sample {sample} is {label}: a class is a whole number from 0 to 4294967294")]
    Label {
        /// The sample, from 0.
        sample: usize,
        /// Its label.
        label: i64,
    },
    /// There are fewer classes than the labels need.
    #[error("{count} classes are too few: the largest label is {largest}")]
    Count {
        /// The number of classes.
        count: usize,
        /// The largest label.
        largest: usize,
    },
    /// The parts of a data set have different numbers of samples.
    #[error("there are {count} {what} and {samples} samples: give one for each")]
    Lengths {
        /// The part, in words.
        what: &'static str,
        /// How many it has.
        count: usize,
        /// The samples of the input.
        samples: usize,
    },
    /// A sample was asked for that the data does not have.
    #[error("there is no sample {index}: the {samples} samples have the numbers 0 to {}", .samples.saturating_sub(1))]
    Index {
        /// The number that was asked for.
        index: usize,
        /// The samples of the data.
        samples: usize,
    },
    /// Targets are to be standardised that are no numbers.
    #[error("only targets that are numbers can be standardised: add Targets::Numbers before")]
    NoNumbers,
    /// The held out parts leave nothing.
    #[error(
        "validation = {validation} and test = {test} leave nothing to train on: their sum must be below 1"
    )]
    NothingToTrain {
        /// The fraction of the validation part.
        validation: f64,
        /// The fraction of the test part.
        test: f64,
    },
    /// There are too few samples for every part, in all or of some classes.
    #[error("{what} for {parts}: add samples, hold out another fraction, or leave a part out")]
    TooFew {
        /// The samples or the classes, and what they are too.
        what: String,
        /// The parts.
        parts: String,
    },
    /// A number is NaN or infinite.
    #[error("sample {sample}, column {column}: {value} is not finite")]
    NotFinite {
        /// The sample, from 0.
        sample: usize,
        /// The column, from 0.
        column: usize,
        /// The number.
        value: f64,
    },
    /// The data does not have the columns that were learned on.
    #[error("the data has {columns} columns, and the standardization was learned on {learned}")]
    Columns {
        /// The columns of the data.
        columns: usize,
        /// The columns of the standardization.
        learned: usize,
    },
    /// A serialised standardization is not one.
    #[error("a standardization needs a finite mean and a finite std above 0 for each column")]
    Standardization,
    /// A file cannot be read.
    #[error("cannot read '{}': {reason}", wick_theory::shown(&.path.to_string_lossy()))]
    File {
        /// The file.
        path: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// The settings of a run do not fit each other, the model or the data.
    #[error("{0}")]
    Settings(String),
    /// Variables get no gradient.
    #[error(
        "no gradient reaches {}: the loss does not depend on {}; freeze what is not to be trained, or allow it",
        listed(.0), if .0.len() == 1 { "it" } else { "them" }
    )]
    NoGradient(Vec<String>),
    /// A number of a run is NaN or infinite.
    #[error("step {step}: {what}")]
    Diverged {
        /// The step, from 0.
        step: u64,
        /// The first bad tensor, its sample, and what to do.
        what: String,
    },
    /// A checkpoint belongs to another run.
    #[error("'{}' is of another run: {difference}", .path.display())]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// No checkpoint of a run can be used.
    #[error("no checkpoint in '{}' can be used: {reasons}; begin the run anew in another folder", .folder.display())]
    NoCheckpoint {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with each.
        reasons: String,
    },
    /// Another process writes the run.
    #[error("'{}' is being written by another process: wait for it, or give another folder", .0.display())]
    Locked(PathBuf),
    /// A file of a run cannot be written.
    #[error("{0}")]
    Write(std::io::Error),
    /// Weights or states cannot be saved or loaded.
    #[error(transparent)]
    Weights(#[from] wick_init::Error),
    /// A number of a file is missing, and missing ones are refused.
    #[error("cannot read '{}': {reason}", wick_theory::shown(&.path.to_string_lossy()))]
    Missing {
        /// The file.
        path: PathBuf,
        /// Where the number is missing and what to do, in words.
        reason: String,
    },
    /// The numbers of a file take more memory than is free.
    #[error(
        "cannot read '{}': {}",
        wick_theory::shown(&.path.to_string_lossy()),
        Self::memory(*.needed, *.free, .remedy)
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// The bytes that they take.
        needed: f64,
        /// The bytes that are free.
        free: f64,
        /// What to do, in words.
        remedy: &'static str,
    },
    /// Data do not do for training or prediction.
    #[error("{0}")]
    Data(String),
    /// candle cannot do something with a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The first names of a list, and how many there are beside them.
fn listed(names: &[String]) -> String {
    const MOST: usize = 5;
    let mut text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}

impl Error {
    pub(crate) fn memory(needed: f64, free: f64, remedy: &str) -> String {
        let [needed, free] = [needed, free].map(size);
        format!("this takes {needed} of memory and {free} are free: {remedy}")
    }
}
