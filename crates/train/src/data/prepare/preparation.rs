//! What is kept with a model of how its data were prepared.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use wick_theory::{listed, shown};

use crate::data::memory::InMemory;
use crate::data::rows;
use crate::data::standardization::Standardization;
use crate::data::table::labels::Task;
use crate::data::table::options::{Missing, TableOptions};
use crate::data::table::samples::Samples;
use crate::error::Error;

/// How the data of a model were prepared: the names of the features and of the classes, the numbers for missing
/// cells and the standardisations, all learned on the training part. It is kept with the model (it can be
/// serialised), and prepares a new file of features in the same way.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_train::data::{
///     Dataset, Preparation, PrepareOptions, Prepared, Samples, TableOptions, TestPart,
/// };
///
/// let text = "length,width,kind\n1,10,a\n3,30,b\n1,10,a\n3,30,b\n";
/// let options = TableOptions { label: Some("kind".to_owned()), ..TableOptions::default() };
/// let data = Samples::from_text(text.as_bytes(), "t", &options)?;
/// let prepared = Prepared::new(&data, TestPart::Fraction(0.0), &PrepareOptions::default())?;
/// let kept = serde_json::to_string(&prepared.preparation).unwrap();
///
/// let preparation: Preparation = serde_json::from_str(&kept).unwrap();
/// assert_eq!((preparation.outputs(), preparation.class_names()[1].as_str()), (2, "b"));
/// // The columns of a new file are found by their names; the labels are not needed.
/// let options = preparation.table_options(&TableOptions::default());
/// let new = Samples::from_text(&b"kind,width,length\nb,30,1\n"[..], "new", &options)?;
/// let batch = preparation.apply(&new, DType::F32, &Device::Cpu)?.batch(&[0])?;
/// assert_eq!(batch.input.to_vec2::<f32>()?, [[-1.0, 1.0]]);
///
/// let less = Samples::from_text(&b"length\n1\n"[..], "less", &options)?;
/// let error = preparation.apply(&less, DType::F32, &Device::Cpu).unwrap_err().to_string();
/// assert_eq!(error, "'less' has no column 'width', which the model takes");
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Preparation {
    pub(super) task: Task,
    /// The names of the features; empty if they have none.
    pub(super) names: Vec<String>,
    /// The names of the columns that are no features.
    pub(super) left_out: Vec<String>,
    /// The names of the classes.
    pub(super) classes: Vec<String>,
    /// The shape of a sample in the file.
    pub(super) sample_shape: Vec<usize>,
    pub(super) is_flat: bool,
    /// The shape of a target of regression.
    pub(super) target_shape: Vec<usize>,
    pub(super) missing_means: Option<Vec<f64>>,
    pub(super) standardization: Option<Standardization>,
    pub(super) target_standardization: Option<Standardization>,
}

/// The serialised form, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    task: Task,
    names: Vec<String>,
    left_out: Vec<String>,
    classes: Vec<String>,
    sample_shape: Vec<usize>,
    is_flat: bool,
    target_shape: Vec<usize>,
    missing_means: Option<Vec<f64>>,
    standardization: Option<Standardization>,
    target_standardization: Option<Standardization>,
}

impl TryFrom<Stored> for Preparation {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self, Error> {
        let made = Self {
            task: stored.task,
            names: stored.names,
            left_out: stored.left_out,
            classes: stored.classes,
            sample_shape: stored.sample_shape,
            is_flat: stored.is_flat,
            target_shape: stored.target_shape,
            missing_means: stored.missing_means,
            standardization: stored.standardization,
            target_standardization: stored.target_standardization,
        };
        let product =
            |shape: &[usize]| shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let columns = product(&made.sample_shape).filter(|columns| *columns > 0);
        let is_columns = |count: usize| Some(count) == columns;
        let of_columns =
            |law: &Option<Standardization>| law.as_ref().is_none_or(|law| is_columns(law.mean().len()));
        let targets = product(&made.target_shape);
        let of_targets =
            made.target_standardization.as_ref().is_none_or(|law| Some(law.mean().len()) == targets);
        let means = made.missing_means.as_ref();
        let has_means =
            means.is_none_or(|means| is_columns(means.len()) && means.iter().all(|x| x.is_finite()));
        let is_task = match made.task {
            Task::Classify => made.classes.len() >= 2 && made.target_standardization.is_none(),
            Task::Regress => made.classes.is_empty() && targets.is_some_and(|targets| targets > 0),
        };
        let has_names = made.names.is_empty() || is_columns(made.names.len());
        if columns.is_some()
            && of_columns(&made.standardization)
            && of_targets
            && has_means
            && is_task
            && has_names
        {
            return Ok(made);
        }
        Err(Error::Data(
            "a preparation has names, means and standardizations of other sizes than its samples".into(),
        ))
    }
}

impl Preparation {
    /// What is predicted.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The names of the features, in the order in which the model takes them; empty if they have none.
    pub fn feature_names(&self) -> &[String] {
        &self.names
    }

    /// The names of the classes, from class 0 on; empty for regression.
    pub fn class_names(&self) -> &[String] {
        &self.classes
    }

    /// The shape of a sample in the file: `[features]`, or `[rows, columns]` of an image.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// The shape of a sample as the model takes it: that of the file, or flat.
    pub fn input_shape(&self) -> Vec<usize> {
        if self.is_flat { vec![self.features()] } else { self.sample_shape.clone() }
    }

    /// The numbers of a sample.
    pub fn features(&self) -> usize {
        self.sample_shape.iter().product()
    }

    /// The outputs of a model: one for each class, or for each number of a target.
    pub fn outputs(&self) -> usize {
        match self.task {
            Task::Classify => self.classes.len(),
            Task::Regress => self.target_shape.iter().product(),
        }
    }

    /// The standardisation of the features.
    pub fn standardization(&self) -> Option<&Standardization> {
        self.standardization.as_ref()
    }

    /// The standardisation of the targets of regression; its
    /// [`restore`](Standardization::restore) takes predictions `[samples, outputs]` back to the data's units.
    pub fn target_standardization(&self) -> Option<&Standardization> {
        self.target_standardization.as_ref()
    }

    /// The numbers for missing cells, one for each feature; `None` if missing cells are refused.
    pub fn missing_means(&self) -> Option<&[f64]> {
        self.missing_means.as_deref()
    }

    /// The options by which a new file is read: it need not have labels, and columns that were no features in
    /// training are none.
    pub fn table_options(&self, options: &TableOptions) -> TableOptions {
        let missing = if self.missing_means.is_some() { Missing::Mean } else { Missing::Refuse };
        let label = options.label.clone().or_else(|| Some("none".to_owned()));
        TableOptions { label, ignore: self.left_out.clone(), missing, ..options.clone() }
    }

    /// Prepares samples as those of the training: columns by name where both have names, else by number; batches
    /// of this type on this device, without targets.
    ///
    /// # Errors
    /// Names the column that is missing or extra, the number of columns or the shape that is another one, or the
    /// missing number where such are refused.
    pub fn apply(&self, samples: &Samples, dtype: DType, device: &Device) -> Result<InMemory, Error> {
        let mut features = self.aligned(samples)?;
        if samples.missing() == Missing::Mean && self.missing_means.is_none() {
            samples.refuse_missing()?;
        }
        if self.is_flat {
            features = features.reshape((samples.len(), self.features()))?;
        }
        let mut data = InMemory::new(&features)?.with_type(dtype, device)?;
        if let Some(means) = &self.missing_means {
            data = data.with_missing_means(means.clone())?;
        }
        match &self.standardization {
            Some(standardization) => data.with_standardization(standardization.clone()),
            None => Ok(data),
        }
    }

    /// The features of samples in the order and the shape of those of the training.
    fn aligned(&self, samples: &Samples) -> Result<Tensor, Error> {
        let (features, source) = (samples.features(), samples.source());
        if !self.names.is_empty() && !samples.names().is_empty() && self.names != samples.names() {
            return Ok(rows::columns(features, &self.by_name(samples)?)?);
        }
        let shape = features.dims().get(1..).unwrap_or_default();
        if shape == self.sample_shape {
            return Ok(features.clone());
        }
        let numbers: usize = shape.iter().product();
        if numbers == self.features() && (shape.len() == 1 || self.sample_shape.len() == 1) {
            let whole = [&[samples.len()], &self.sample_shape[..]].concat();
            return Ok(features.reshape(whole)?);
        }
        Err(Error::Data(match (shape, &self.sample_shape[..]) {
            ([there], [wanted]) => {
                let which = match self.names.is_empty() {
                    true => String::new(),
                    false => format!(" ({})", listed(self.names.iter().map(String::as_str))),
                };
                format!(
                    "'{source}' has {there} columns of features, and the model takes {wanted}{which}: leave others \
                     out with --drop"
                )
            }
            (there, wanted) => {
                format!("'{source}' has samples of shape {there:?}, and the model takes {wanted:?}")
            }
        }))
    }

    /// The place in a table of each feature.
    fn by_name(&self, samples: &Samples) -> Result<Vec<usize>, Error> {
        let source = samples.source();
        let find = |name: &String| {
            let mut places = (0..samples.names().len()).filter(|place| samples.names()[*place] == *name);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(_), Some(_)) => {
                    let name = shown(name);
                    Err(Error::Data(format!(
                        "'{source}' has two columns '{name}': which one does the model take?"
                    )))
                }
                (None, _) => {
                    let name = shown(name);
                    Err(Error::Data(format!("'{source}' has no column '{name}', which the model takes")))
                }
            }
        };
        let places = self.names.iter().map(find).collect::<Result<Vec<usize>, Error>>()?;
        let extra = samples.names().iter().find(|name| !self.names.contains(name));
        match extra {
            Some(extra) => Err(Error::Data(format!(
                "'{source}' has a column '{0}', which the model does not take: leave it out with --drop '{0}'",
                shown(extra)
            ))),
            None => Ok(places),
        }
    }
}
