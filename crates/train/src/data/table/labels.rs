//! Labels as they were read, and the classes or numbers that they are.

use std::cmp::Ordering;
use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use wick_theory::{listed, shown};

use super::cells::Cells;
use super::format::Format;
use super::options::{Header, TableOptions};
use super::{csv, known, npy, open, safetensors};
use crate::data::classes::Classes;
use crate::data::idx::read_idx;
use crate::data::rows;
use crate::error::Error;

/// The most different whole numbers that are taken for classes.
const MOST_CLASSES: usize = 100;

/// What is predicted of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Its class.
    Classify,
    /// Numbers.
    Regress,
}

/// The label of each sample: a text or a number, which is a class or a target of regression.
///
/// Classes have names: those of the labels, sorted, by their values if all are numbers, else as texts.
///
/// ```
/// use wick_train::data::{Labels, Task};
///
/// let labels = Labels::from_texts(["10", "9", "10"]);
/// assert_eq!((labels.len(), labels.usual_task()?), (3, Task::Classify));
/// let classes = labels.classes()?;
/// assert_eq!((classes.names(), classes.labels()), (&["9".into(), "10".into()][..], vec![1, 0, 1]));
/// assert_eq!(labels.numbers()?.to_vec1::<f64>()?, [10.0, 9.0, 10.0]);
///
/// let error = Labels::from_texts(["1.5", "red"]).numbers().unwrap_err().to_string();
/// assert_eq!(error, "the label 'red' of row 2 is no number, as regression needs");
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Labels(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Cells { cells: Cells, decimal_comma: bool },
    Tensor(Tensor),
}

/// A label as a number, to compare it, and its name as one.
#[derive(Debug, Clone, PartialEq)]
struct Number {
    value: f64,
    /// What `f64` rounds.
    whole: Option<i128>,
}

impl Number {
    fn read(text: &str, decimal_comma: bool) -> Option<Self> {
        let text = if decimal_comma { text.replacen(',', ".", 1) } else { text.to_owned() };
        let value: f64 = text.parse().ok().filter(|x: &f64| x.is_finite())?;
        Some(Self { value, whole: text.parse().ok().or_else(|| whole(value)) })
    }

    fn name(&self) -> String {
        match self.whole {
            Some(whole) => whole.to_string(),
            None => self.value.to_string(),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.whole, other.whole) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.value.total_cmp(&other.value),
        }
    }
}

fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() < 2f64.powi(63)).then_some(value as i128)
}

/// The different labels, each with a text, and the place of each sample's label among them.
struct Different {
    texts: Vec<String>,
    places: Vec<u32>,
}

impl Labels {
    /// Takes numbers, `[samples]`, or several for each sample, `[samples, …]`, for regression.
    ///
    /// # Errors
    /// There are none, or one is NaN or infinite: its row is named, from 1.
    pub fn new(numbers: &Tensor) -> Result<Self, Error> {
        let labels = Self::of_tensor(rows::held(numbers)?);
        labels.check("the labels")?;
        Ok(labels)
    }

    /// Takes texts, one for each sample.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut cells = Cells::default();
        texts.into_iter().for_each(|text| cells.push(text));
        Self::of_cells(cells, false)
    }

    /// Reads the labels of `samples` samples from a file of their own: a CSV of one column, a `.npy`, a tensor of a
    /// `.safetensors` or an IDX file. A CSV of one line more than there are samples has a header.
    ///
    /// # Errors
    /// Names the file, and the line or row where a label is missing, or says that the labels are not as many.
    pub fn read(source: &str, samples: usize, options: &TableOptions) -> Result<Self, Error> {
        let (path, tensor) = safetensors::split(source);
        let name = shown(source);
        let of = |reason: super::reason::Reason| reason.of(&name);
        let labels = match known(source, path, options)? {
            Format::Csv(extension) => {
                let delimiter = options.delimiter_of(&extension);
                let cells = open(path).and_then(|text| csv::read_labels(text, delimiter, options));
                let mut cells = cells.map_err(of)?;
                let is_longer = cells.len().checked_sub(1) == Some(samples);
                if options.header == Header::Yes || options.header == Header::Auto && is_longer {
                    cells.remove_first();
                }
                Self::of_cells(cells, options.decimal_comma)
            }
            Format::Npy => Self::of_tensor(npy::tensor(path, options).map_err(of)?),
            Format::Safetensors => Self::of_tensor(safetensors::tensor(path, tensor, options).map_err(of)?),
            Format::Idx => Self::of_tensor(read_idx(path)?),
        };
        labels.check(&name)?;
        let count = labels.len();
        if count != samples {
            return Err(Error::Data(format!("'{name}' has {count} labels, and there are {samples} samples")));
        }
        Ok(labels)
    }

    pub(super) fn of_cells(cells: Cells, decimal_comma: bool) -> Self {
        Self(Kind::Cells { cells, decimal_comma })
    }

    pub(super) fn of_tensor(tensor: Tensor) -> Self {
        Self(Kind::Tensor(tensor))
    }

    fn check(&self, name: &str) -> Result<(), Error> {
        let Kind::Tensor(tensor) = &self.0 else { return Ok(()) };
        if tensor.elem_count() == 0 {
            return Err(Error::Data(format!("'{name}' holds no labels")));
        }
        if !tensor.dtype().is_float() {
            return Ok(());
        }
        let mut bad = None;
        let all: Vec<usize> = (0..tensor.dim(0)?).collect();
        rows::for_rows(tensor, &all, &[], |row, numbers| {
            bad = bad.or_else(|| numbers.iter().find(|x| !x.is_finite()).map(|x| (row, *x)));
        })?;
        match bad {
            Some((row, x)) => Err(Error::Data(format!("'{name}', row {}: the label is {x}", row + 1))),
            None => Ok(()),
        }
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Cells { cells, .. } => cells.len(),
            Kind::Tensor(tensor) => tensor.dims().first().copied().unwrap_or(0),
        }
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The task that such labels usually have: texts, and at most 100 different whole numbers, are classes; other
    /// numbers are targets of regression, and so are several numbers for a sample.
    ///
    /// # Errors
    /// The labels cannot be copied.
    pub fn usual_task(&self) -> Result<Task, Error> {
        if !self.is_one_each() {
            return Ok(Task::Regress);
        }
        let texts = self.different()?.texts;
        let numbers: Option<Vec<Number>> = texts.iter().map(|text| self.number(text)).collect();
        let Some(numbers) = numbers else { return Ok(Task::Classify) };
        let is_whole = numbers.iter().all(|number| number.whole.is_some());
        Ok(if is_whole && numbers.len() <= MOST_CLASSES { Task::Classify } else { Task::Regress })
    }

    /// The class of each sample, with the names of the classes.
    ///
    /// # Errors
    /// There is more than one label for a sample.
    pub fn classes(&self) -> Result<Classes, Error> {
        let different = self.one_each()?;
        let numbers: Option<Vec<Number>> = different.texts.iter().map(|text| self.number(text)).collect();
        let names = match numbers {
            Some(mut numbers) => {
                numbers.sort_by(Number::compare);
                numbers.iter().map(Number::name).collect()
            }
            None => {
                let mut names = different.texts.clone();
                names.sort_unstable();
                names
            }
        };
        let mut names: Vec<String> = names;
        names.dedup();
        self.of_names(different, &names, "")
    }

    /// The class of each sample among those of other data, for example of the training data.
    ///
    /// # Errors
    /// Names the first label that is none of these classes, and its row, from 1.
    pub fn classes_among(&self, names: &[String]) -> Result<Classes, Error> {
        self.of_names(self.one_each()?, names, "")
    }

    fn of_names(&self, different: Different, names: &[String], source: &str) -> Result<Classes, Error> {
        let places: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let are_numbers = names.iter().all(|name| Number::read(name, false).is_some());
        let class = |text: &String| {
            let number = if are_numbers { self.number(text) } else { None };
            let name = number.map_or_else(|| text.clone(), |number| number.name());
            places.get(&name[..]).copied().ok_or(name)
        };
        let classes: Vec<Result<u32, String>> = different.texts.iter().map(class).collect();
        let mut labels = Vec::with_capacity(different.places.len());
        for (row, place) in different.places.iter().enumerate() {
            match &classes[*place as usize] {
                Ok(class) => labels.push(*class),
                Err(class) => {
                    let (class, row) = (shown(class), row + 1);
                    let at = if source.is_empty() { String::new() } else { format!("'{source}', ") };
                    return Err(Error::Data(format!(
                        "{at}row {row}: the training data has no class '{class}', only {}",
                        listed(names.iter().map(String::as_str))
                    )));
                }
            }
        }
        let count = labels.len();
        let tensor = if names.len() <= 256 {
            Tensor::from_vec(labels.into_iter().map(|class| class as u8).collect(), count, &Device::Cpu)?
        } else {
            Tensor::from_vec(labels, count, &Device::Cpu)?
        };
        Classes::new(&tensor)?.with_names(names.to_vec())
    }

    /// The labels as numbers, `[samples]` or `[samples, …]`.
    ///
    /// # Errors
    /// Names the first label that is no number, and its row, from 1.
    pub fn numbers(&self) -> Result<Tensor, Error> {
        let (cells, decimal_comma) = match &self.0 {
            Kind::Tensor(tensor) => return Ok(tensor.clone()),
            Kind::Cells { cells, decimal_comma } => (cells, *decimal_comma),
        };
        let of = |text: &String| Number::read(text, decimal_comma).map(|number| number.value);
        let values: Vec<Option<f64>> = cells.texts().iter().map(of).collect();
        let mut numbers = Vec::with_capacity(cells.len());
        for (row, place) in cells.rows().iter().enumerate() {
            match values[*place as usize] {
                Some(number) => numbers.push(number),
                None => {
                    let (text, row) = (shown(&cells.texts()[*place as usize]), row + 1);
                    return Err(Error::Data(format!(
                        "the label '{text}' of row {row} is no number, as regression needs"
                    )));
                }
            }
        }
        let count = numbers.len();
        Ok(Tensor::from_vec(numbers, count, &Device::Cpu)?)
    }

    fn number(&self, text: &str) -> Option<Number> {
        Number::read(text, matches!(self.0, Kind::Cells { decimal_comma: true, .. }))
    }

    fn is_one_each(&self) -> bool {
        match &self.0 {
            Kind::Cells { .. } => true,
            Kind::Tensor(tensor) => tensor.elem_count() == self.len(),
        }
    }

    fn one_each(&self) -> Result<Different, Error> {
        match &self.0 {
            Kind::Tensor(tensor) if !self.is_one_each() => {
                Err(Error::Shape { shape: tensor.dims().to_vec(), needs: "one label for each sample" })
            }
            _ => self.different(),
        }
    }

    /// The different labels of samples with one label each.
    fn different(&self) -> Result<Different, Error> {
        let tensor = match &self.0 {
            Kind::Cells { cells, .. } => {
                return Ok(Different { texts: cells.texts().to_vec(), places: cells.rows().to_vec() });
            }
            Kind::Tensor(tensor) => tensor.flatten_all()?,
        };
        if tensor.dtype().is_float() {
            let numbers = tensor.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            // -0 is 0.
            return Ok(different(
                &numbers,
                |x| (x + 0.0).to_bits(),
                |x| match whole(*x) {
                    Some(whole) => whole.to_string(),
                    None => x.to_string(),
                },
            ));
        }
        let numbers = tensor.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        Ok(different(&numbers, |x| *x as u64, i64::to_string))
    }
}

fn different<T>(numbers: &[T], key: impl Fn(&T) -> u64, text: impl Fn(&T) -> String) -> Different {
    let (mut texts, mut places) = (Vec::new(), Vec::with_capacity(numbers.len()));
    let mut known: HashMap<u64, u32> = HashMap::new();
    for number in numbers {
        let place = *known.entry(key(number)).or_insert_with(|| {
            texts.push(text(number));
            texts.len() as u32 - 1
        });
        places.push(place);
    }
    Different { texts, places }
}
