//! From data as they were read to the parts that a model is trained, chosen and tested on.

pub(super) mod fingerprint;
pub(super) mod preparation;

use candle_core::{DType, Device, Tensor};
use wick_init::KeyedV1;
use wick_theory::{listed, shown};

use super::classes::Classes;
use super::memory::{InMemory, Targets};
use super::rows;
use super::split::{Parts, Split};
use super::standardization::Standardization;
use super::subset::Subset;
use super::table::labels::{Labels, Task};
use super::table::options::Missing;
use super::table::samples::Samples;
use crate::error::Error;
use fingerprint::Fingerprint;
use preparation::Preparation;

/// What is said of labels that are taken for targets.
const REGRESSION: &str =
    "the labels are numbers and taken for targets of regression; --task classify makes them classes";

/// The samples that a model is tested on.
#[derive(Debug, Clone, Copy)]
pub enum TestPart<'a> {
    /// A fraction of the data, from 0 (none) to below 1.
    Fraction(f64),
    /// Other data, with labels.
    Data(&'a Samples),
}

/// How features are standardised, by what is learned on the training part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standardize {
    /// Not at all.
    No,
    /// Each column by its own mean and standard deviation; a column is one number of a sample.
    Columns,
    /// All numbers by one mean and one standard deviation.
    Whole,
}

/// How data are prepared.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// What is predicted; `None` for the labels' [usual task](Labels::usual_task).
    pub task: Option<Task>,
    /// The fraction of the training data by which runs are compared, from 0 (none) to below 1.
    pub validation: f64,
    /// The seed of the split.
    pub seed: u64,
    /// How the features are standardised; `None`: by columns for tables, and as a whole for samples of two or more
    /// dimensions, as images.
    pub standardize: Option<Standardize>,
    /// Whether samples of any shape become rows, `[samples, features]`.
    pub flat: bool,
    /// The floating point type of the batches.
    pub dtype: DType,
    /// The device of the batches.
    pub device: Device,
}

/// The usual task, no validation part, seed 42, the usual standardisation, flat samples, `f32` on the CPU.
impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            task: None,
            validation: 0.0,
            seed: 42,
            standardize: None,
            flat: true,
            dtype: DType::F32,
            device: Device::Cpu,
        }
    }
}

/// A part of the data. The parts have one tensor in common.
pub type Part = Subset<InMemory>;

/// Data that are ready to train on: their parts, and how they were prepared.
///
/// The split is stratified by class, at random for regression. What is learned from data, is learned on the
/// training part alone: means for missing numbers, standardisations, and which classes there are.
///
/// ```
/// use wick_train::data::{Dataset, PrepareOptions, Prepared, Samples, TableOptions, TestPart};
///
/// let rows: String = (0..50).map(|i| format!("{i},{},{}\n", 50 - i, if i % 5 == 0 { "rare" } else { "usual" })).collect();
/// let data = Samples::from_text(format!("a,b,label\n{rows}").as_bytes(), "t", &TableOptions::default())?;
/// let options = PrepareOptions { validation: 0.2, ..PrepareOptions::default() };
/// let prepared = Prepared::new(&data, TestPart::Fraction(0.2), &options)?;
/// let test = prepared.test.unwrap();
/// assert_eq!((prepared.training.len(), test.len()), (30, 10));
/// let targets = test.batch(&(0..10).collect::<Vec<_>>())?.targets.unwrap().to_vec1::<u32>()?;
/// assert_eq!(targets.iter().filter(|class| **class == 0).count(), 2); // a fifth is rare in every part
/// assert_eq!(prepared.preparation.class_names(), ["rare", "usual"]);
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The samples to train on.
    pub training: Part,
    /// The samples by which runs are compared.
    pub validation: Option<Part>,
    /// The samples that are looked at last.
    pub test: Option<Part>,
    /// How the data were prepared, to be kept with the model.
    pub preparation: Preparation,
    /// A hash of the features, the labels and the split, the same on every machine: a run that goes on with other
    /// data has another one.
    pub fingerprint: u64,
    /// What was guessed and the user should know, each in a sentence.
    pub notices: Vec<String>,
}

impl Prepared {
    /// Splits and prepares data with labels.
    ///
    /// # Errors
    /// The data have no labels, labels of the wrong kind for the task, one class alone, a class that only the test
    /// data have (it is named), too few samples for a part, or test data of other columns; a feature has no number
    /// in the training part; a fraction is out of its range.
    pub fn new(data: &Samples, test: TestPart<'_>, options: &PrepareOptions) -> Result<Self, Error> {
        let (fraction, test_data) = match test {
            TestPart::Fraction(fraction) => (fraction, None),
            TestPart::Data(test) => (0.0, Some(test)),
        };
        let parts = Parts::new(options.validation, fraction)?;
        let labels = labels_of(data)?;
        let mut notices = Vec::new();
        let task = match options.task {
            Some(task) => task,
            None => {
                let task = labels.usual_task()?;
                if task == Task::Regress {
                    notices.push(REGRESSION.to_owned());
                }
                task
            }
        };
        let targets = match task {
            Task::Classify => Targets::Classes(two_or_more(labels.classes()?)?),
            Task::Regress => Targets::Numbers(labels.numbers()?),
        };
        let key = KeyedV1::new(options.seed).key("split");
        let split = match &targets {
            Targets::Classes(classes) => {
                Split::stratified_by_name(&classes.labels(), classes.names(), parts, key)?
            }
            Targets::Numbers(_) => Split::random(data.len(), parts, key)?,
        };
        let preparation = learn(data, &targets, &split, options)?;
        if let Some(standardization) = &preparation.standardization {
            notices.extend(constant(standardization, data.names()));
        }
        let whole =
            with_targets(preparation.apply(data, options.dtype, &options.device)?, targets, &preparation)?;
        let mut fingerprint = Fingerprint::new();
        add(&mut fingerprint, data, &whole)?;
        for part in [&split.training, &split.validation, &split.test] {
            fingerprint.add_numbers(part.iter().map(|sample| *sample as u64));
        }
        let part = |samples: Vec<usize>| match samples.is_empty() {
            true => Ok(None),
            false => Subset::new(whole.clone(), samples).map(Some),
        };
        let test = match test_data {
            None => part(split.test)?,
            Some(samples) => {
                let targets = test_targets(samples, &preparation)?;
                let test = preparation.apply(samples, options.dtype, &options.device)?;
                let test = with_targets(test, targets, &preparation)?;
                add(&mut fingerprint, samples, &test)?;
                Some(Subset::new(test, (0..samples.len()).collect())?)
            }
        };
        Ok(Self {
            training: Subset::new(whole.clone(), split.training)?,
            validation: part(split.validation)?,
            test,
            fingerprint: fingerprint.finish(),
            preparation,
            notices,
        })
    }
}

fn labels_of(data: &Samples) -> Result<&Labels, Error> {
    data.labels().ok_or_else(|| {
        let source = data.source();
        let columns = match data.names() {
            [] => String::new(),
            names => format!(" (its columns are {})", listed(names.iter().map(String::as_str))),
        };
        Error::Data(format!(
            "'{source}' has no column that is known to hold labels{columns}: name it with --label, or give the \
             labels with --labels"
        ))
    })
}

fn two_or_more(classes: Classes) -> Result<Classes, Error> {
    match classes.names() {
        [only] => {
            let only = shown(only);
            Err(Error::Data(format!("all samples have the label '{only}': two classes or more are needed")))
        }
        _ => Ok(classes),
    }
}

/// Learns on the training part.
fn learn(
    data: &Samples,
    targets: &Targets,
    split: &Split,
    options: &PrepareOptions,
) -> Result<Preparation, Error> {
    let (features, training) = (data.features(), &split.training[..]);
    let missing_means = match data.missing() {
        Missing::Refuse => None,
        Missing::Mean => Some(means_of_present(data, training)?),
    };
    let fill = missing_means.as_deref().unwrap_or_default();
    let is_table = features.rank() <= 2;
    let usual = if is_table { Standardize::Columns } else { Standardize::Whole };
    let standardization = match options.standardize.unwrap_or(usual) {
        Standardize::No => None,
        Standardize::Columns => Some(Standardization::learn_filled(features, training, fill)?),
        Standardize::Whole => Some(Standardization::learn_whole_filled(features, training, fill)?),
    };
    let mut left_out = data.left_out().to_vec();
    left_out.retain(|name| !data.names().contains(name));
    let (task, classes, target_shape, target_standardization) = match targets {
        Targets::Classes(classes) => (Task::Classify, classes.names().to_vec(), Vec::new(), None),
        Targets::Numbers(numbers) => {
            let learned = Standardization::learn(numbers, training)?;
            (Task::Regress, Vec::new(), shape_of(numbers), Some(learned))
        }
    };
    Ok(Preparation {
        task,
        names: data.names().to_vec(),
        left_out,
        classes,
        // A sample of `[samples]` is one number.
        sample_shape: if features.rank() == 1 { vec![1] } else { shape_of(features) },
        is_flat: options.flat,
        target_shape,
        missing_means,
        standardization,
        target_standardization,
    })
}

fn shape_of(tensor: &Tensor) -> Vec<usize> {
    tensor.dims().iter().skip(1).copied().collect()
}

/// The mean of each column over the training samples that have a number there.
fn means_of_present(data: &Samples, training: &[usize]) -> Result<Vec<f64>, Error> {
    let columns = rows::shape(data.features())?.1;
    let mut means = vec![(0.0, 0.0); columns];
    rows::for_rows(data.features(), training, &[], |_, row| {
        for ((count, mean), x) in means.iter_mut().zip(row).filter(|(_, x)| !x.is_nan()) {
            *count += 1.0;
            // A difference of numbers of opposite signs could overflow.
            *mean += x / *count - *mean / *count;
        }
    })?;
    if let Some(column) = means.iter().position(|(count, _)| *count == 0.0) {
        let named = data.names().get(column).map(|name| format!(" ('{}')", shown(name))).unwrap_or_default();
        return Err(Error::Data(format!(
            "'{}', column {}{named} has no number in the training part: leave it out with --drop",
            data.source(),
            column + 1
        )));
    }
    Ok(means.into_iter().map(|(_, mean)| mean).collect())
}

fn constant(standardization: &Standardization, names: &[String]) -> Option<String> {
    let columns = standardization.constant_columns();
    let column = |column: &usize| match names.get(*column) {
        Some(name) => shown(name),
        None => format!("column {}", column + 1),
    };
    let named: Vec<String> = columns.iter().map(column).collect();
    let named = listed(named.iter().map(String::as_str));
    match columns.len() {
        0 => None,
        1 => Some(format!("the numbers of {named} are equal in the training part and become 0")),
        count => Some(format!(
            "the numbers of each of {count} columns are equal in the training part and become 0: {named}"
        )),
    }
}

fn with_targets(data: InMemory, targets: Targets, preparation: &Preparation) -> Result<InMemory, Error> {
    let data = data.with_targets(targets)?;
    match &preparation.target_standardization {
        Some(standardization) => data.with_target_standardization(standardization.clone()),
        None => Ok(data),
    }
}

/// The targets of test data: classes of the training data, or numbers of the same shape.
fn test_targets(test: &Samples, preparation: &Preparation) -> Result<Targets, Error> {
    let (labels, source) = (labels_of(test)?, test.source());
    if preparation.task == Task::Classify {
        let classes = labels.classes_among(&preparation.classes);
        return Ok(Targets::Classes(classes.map_err(|error| match error {
            Error::Data(reason) => Error::Data(format!("'{source}', {reason}")),
            error => error,
        })?));
    }
    let numbers = labels.numbers()?;
    let (there, wanted) = (shape_of(&numbers), &preparation.target_shape);
    if there != *wanted {
        return Err(Error::Data(format!(
            "'{source}' has targets of shape {there:?}, and those of the training data have {wanted:?}"
        )));
    }
    Ok(Targets::Numbers(numbers))
}

fn add(fingerprint: &mut Fingerprint, samples: &Samples, data: &InMemory) -> Result<(), Error> {
    fingerprint.add_texts(samples.names());
    fingerprint.add_tensor(samples.features())?;
    match data.targets() {
        Some(Targets::Classes(classes)) => {
            fingerprint.add_texts(classes.names());
            fingerprint.add_numbers(classes.labels().into_iter().map(u64::from));
        }
        Some(Targets::Numbers(numbers)) => fingerprint.add_tensor(numbers)?,
        None => {}
    }
    Ok(())
}
