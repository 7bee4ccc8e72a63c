//! Samples in memory.

use candle_core::{DType, Device, Tensor};

use super::classes::Classes;
use super::prepare::fingerprint::Fingerprint;
use super::rows::{self, Law};
use super::standardization::Standardization;
use super::{Batch, Dataset};
use crate::error::Error;

/// What a model should say of each sample.
#[derive(Debug, Clone)]
pub enum Targets {
    /// A class.
    Classes(Classes),
    /// Numbers, `[samples]` or `[samples, …]`.
    Numbers(Tensor),
}

/// Samples in tensors, which are held in the memory of the CPU in the type that they have: bytes stay bytes.
/// A batch is converted to the model's type, and standardised, while it is copied.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_train::data::{Classes, Dataset, InMemory, Standardization, Targets};
///
/// let images = Tensor::new(&[[0u8, 255], [51, 102], [255, 0]], &Device::Cpu)?;
/// let labels = Classes::new(&Tensor::new(&[0u8, 1, 1], &Device::Cpu)?)?;
/// let data = InMemory::new(&images)?
///     .with_targets(Targets::Classes(labels))?
///     .with_standardization(Standardization::uniform(2, 0.0, 255.0)?)?; // from 0 to 1
/// let batch = data.batch(&[1, 0])?;
/// assert_eq!(batch.input.to_vec2::<f32>()?, [[0.2, 0.4], [0.0, 1.0]]);
/// assert_eq!(batch.targets.unwrap().to_vec1::<u32>()?, [1, 0]);
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct InMemory {
    input: Tensor,
    further: Vec<Tensor>,
    targets: Option<Targets>,
    standardization: Option<Standardization>,
    target_standardization: Option<Standardization>,
    missing_means: Vec<f64>,
    dtype: DType,
    device: Device,
}

impl InMemory {
    /// Takes the features, `[samples, …]`. Batches of them are `f32` on the CPU unless
    /// [`with_type`](Self::with_type) says otherwise.
    ///
    /// # Errors
    /// There is no sample, or a sample has no numbers.
    pub fn new(input: &Tensor) -> Result<Self, Error> {
        Ok(Self {
            input: rows::held(input)?,
            further: Vec::new(),
            targets: None,
            standardization: None,
            target_standardization: None,
            missing_means: Vec::new(),
            dtype: DType::F32,
            device: Device::Cpu,
        })
    }

    /// Adds the targets.
    ///
    /// # Errors
    /// They are not as many as the samples.
    pub fn with_targets(mut self, targets: Targets) -> Result<Self, Error> {
        let targets = match targets {
            Targets::Classes(classes) => Targets::Classes(classes),
            Targets::Numbers(numbers) => Targets::Numbers(rows::held(&numbers)?),
        };
        let count = match &targets {
            Targets::Classes(classes) => classes.samples(),
            Targets::Numbers(numbers) => rows::shape(numbers)?.0,
        };
        self.check_count("targets", count)?;
        self.targets = Some(targets);
        Ok(self)
    }

    /// Adds another input, `[samples, …]`. Whole numbers (identifiers) stay what they are in batches;
    /// floating point numbers are converted to the model's type.
    ///
    /// # Errors
    /// It has another number of samples.
    pub fn with_further(mut self, input: &Tensor) -> Result<Self, Error> {
        let input = rows::held(input)?;
        self.check_count("samples of the further input", rows::shape(&input)?.0)?;
        self.further.push(input);
        Ok(self)
    }

    /// Standardises the features of each batch.
    ///
    /// # Errors
    /// It was learned on another number of columns.
    pub fn with_standardization(mut self, standardization: Standardization) -> Result<Self, Error> {
        standardization.check_columns(rows::shape(&self.input)?.1)?;
        self.standardization = Some(standardization);
        Ok(self)
    }

    /// Standardises targets that are numbers; [`Standardization::restore`] takes predictions back.
    ///
    /// # Errors
    /// The targets are no numbers, or of another number of columns.
    pub fn with_target_standardization(mut self, standardization: Standardization) -> Result<Self, Error> {
        match &self.targets {
            Some(Targets::Numbers(numbers)) => standardization.check_columns(rows::shape(numbers)?.1)?,
            _ => return Err(Error::NoNumbers),
        }
        self.target_standardization = Some(standardization);
        Ok(self)
    }

    /// Puts the number of its column in the place of each NaN of the features, before these are standardised.
    ///
    /// # Errors
    /// There is not a number for each column.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_train::data::{Dataset, InMemory};
    ///
    /// let data = InMemory::new(&Tensor::new(&[[1f32, f32::NAN], [3.0, 4.0]], &Device::Cpu)?)?;
    /// let batch = data.with_missing_means(vec![2.0, 4.0])?.batch(&[0, 1])?;
    /// assert_eq!(batch.input.to_vec2::<f32>()?, [[1.0, 4.0], [3.0, 4.0]]);
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn with_missing_means(mut self, means: Vec<f64>) -> Result<Self, Error> {
        let (count, columns) = (means.len(), rows::shape(&self.input)?.1);
        if count != columns {
            return Err(Error::Columns { columns, learned: count });
        }
        self.missing_means = means;
        Ok(self)
    }

    /// Makes batches of this floating point type on this device.
    ///
    /// # Errors
    /// The type is none of `f64`, `f32`, `bf16` and `f16`.
    pub fn with_type(mut self, dtype: DType, device: &Device) -> Result<Self, Error> {
        if !is_float(dtype) {
            return Err(Error::Type(dtype));
        }
        (self.dtype, self.device) = (dtype, device.clone());
        Ok(self)
    }

    /// The features as they are held.
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// The targets as they are held.
    pub fn targets(&self) -> Option<&Targets> {
        self.targets.as_ref()
    }

    fn check_count(&self, what: &'static str, count: usize) -> Result<(), Error> {
        let samples = self.len();
        if count == samples { Ok(()) } else { Err(Error::Lengths { what, count, samples }) }
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::BF16 | DType::F16)
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.input.dims().first().copied().unwrap_or(0)
    }

    fn fingerprint(&self) -> Result<Option<u64>, Error> {
        let mut hash = Fingerprint::new();
        hash.add_tensor(&self.input)?;
        self.further.iter().try_for_each(|tensor| hash.add_tensor(tensor))?;
        match &self.targets {
            Some(Targets::Classes(classes)) => {
                hash.add_texts(classes.names());
                hash.add_numbers(classes.labels().iter().map(|label| u64::from(*label)));
            }
            Some(Targets::Numbers(numbers)) => hash.add_tensor(numbers)?,
            None => (),
        }
        for law in [&self.standardization, &self.target_standardization].into_iter().flatten() {
            hash.add_numbers(
                law.mean().iter().chain(law.std()).map(|x| x.to_bits()).collect::<Vec<_>>().into_iter(),
            );
        }
        let means = self.missing_means.iter().map(|x| x.to_bits());
        hash.add_numbers(means.collect::<Vec<_>>().into_iter());
        Ok(Some(hash.finish()))
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        let converted = |tensor: &Tensor, fill, law: Option<&Standardization>| {
            let law = Law { fill, ..law.map(Standardization::law).unwrap_or_default() };
            rows::converted(tensor, indices, law, self.dtype)
        };
        let input = converted(&self.input, &self.missing_means, self.standardization.as_ref())?;
        let further = self.further.iter().map(|tensor| {
            let part = if is_float(tensor.dtype()) {
                converted(tensor, &[], None)
            } else {
                rows::copied(tensor, indices)
            };
            Ok(part?.to_device(&self.device)?)
        });
        let targets = match &self.targets {
            None => None,
            Some(Targets::Classes(classes)) => Some(classes.of(indices)?),
            Some(Targets::Numbers(numbers)) => {
                Some(converted(numbers, &[], self.target_standardization.as_ref())?)
            }
        };
        Ok(Batch {
            input: input.to_device(&self.device)?,
            further: further.collect::<Result<_, Error>>()?,
            targets: targets.map(|targets| targets.to_device(&self.device)).transpose()?,
        })
    }
}
