//! The classes of samples.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::rows;
use crate::error::Error;

/// The class of each sample, a number from 0, held in the type that the labels have.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_train::data::Classes;
///
/// let classes = Classes::new(&Tensor::new(&[0u8, 2, 1, 2], &Device::Cpu)?)?;
/// assert_eq!(classes.count(), 3);
/// assert_eq!(classes.labels(), [0, 2, 1, 2]);
/// let error = Classes::new(&Tensor::new(&[0i64, -1], &Device::Cpu)?).unwrap_err().to_string();
/// assert_eq!(error, "the label of sample 1 is -1: a class is a whole number from 0 to 4294967294");
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Classes {
    labels: Tensor,
    count: usize,
    names: Arc<[String]>,
}

impl Classes {
    /// Takes the labels, whole numbers `[samples]`. There are as many classes as the largest label and one.
    ///
    /// # Errors
    /// The labels are not a list of whole numbers, or one is no class; the first such sample is named, from 0.
    pub fn new(labels: &Tensor) -> Result<Self, Error> {
        if labels.rank() != 1 || labels.elem_count() == 0 {
            return Err(Error::Shape { shape: labels.dims().to_vec(), needs: "one label for each sample" });
        }
        if !matches!(labels.dtype(), DType::U8 | DType::U32 | DType::I16 | DType::I32 | DType::I64) {
            return Err(Error::Labels(labels.dtype()));
        }
        let labels = rows::held(labels)?;
        let mut largest = 0;
        for (sample, label) in labels.to_dtype(DType::I64)?.to_vec1::<i64>()?.into_iter().enumerate() {
            match u32::try_from(label) {
                Ok(class) if class < u32::MAX => largest = largest.max(class),
                _ => return Err(Error::Label { sample, label }),
            }
        }
        Ok(Self { labels, count: largest as usize + 1, names: Arc::default() })
    }

    /// Takes more classes than the labels have, those of another part of the data.
    ///
    /// # Errors
    /// A label is not below `count`.
    pub fn with_count(self, count: usize) -> Result<Self, Error> {
        if count < self.count {
            return Err(Error::Count { count, largest: self.count - 1 });
        }
        Ok(Self { count, ..self })
    }

    /// Names the classes, from class 0 on. There are as many classes as names.
    ///
    /// # Errors
    /// A class has no name.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_train::data::Classes;
    ///
    /// let classes = Classes::new(&Tensor::new(&[0u8, 1, 1], &Device::Cpu)?)?;
    /// let named = classes.with_names(vec!["cat".into(), "dog".into(), "owl".into()])?;
    /// assert_eq!((named.count(), &named.names()[1][..]), (3, "dog"));
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn with_names(self, names: Vec<String>) -> Result<Self, Error> {
        let named = self.with_count(names.len())?;
        Ok(Self { names: names.into(), ..named })
    }

    /// The names of the classes; empty if they have none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of classes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The class of each sample.
    pub fn labels(&self) -> Vec<u32> {
        let labels = self.labels.to_dtype(DType::U32).and_then(|labels| labels.to_vec1());
        labels.unwrap_or_default()
    }

    pub(super) fn samples(&self) -> usize {
        self.labels.elem_count()
    }

    /// The classes of some samples, `u32`.
    pub(super) fn of(&self, indices: &[usize]) -> Result<Tensor, Error> {
        Ok(rows::copied(&self.labels, indices)?.to_dtype(DType::U32)?)
    }
}
