//! Data sets: samples from files and in memory, in the type that they have, and batches of them.

mod augmented;
mod classes;
mod idx;
mod memory;
mod prefetch;
mod prepare;
mod rows;
mod split;
mod standardization;
mod subset;
mod synthetic;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::Tensor;

pub use augmented::Augmented;
pub use classes::Classes;
pub use idx::read_idx;
pub use memory::{InMemory, Targets};
pub use prefetch::Prefetch;
pub use prepare::preparation::Preparation;
pub use prepare::{Part, PrepareOptions, Prepared, Standardize, TestPart};
pub use split::{Parts, Split};
pub use standardization::Standardization;
pub use subset::Subset;
pub use synthetic::{Synthetic, SyntheticParts};
pub use table::Table;
pub use table::format::is_known_format;
pub use table::labels::{Labels, Task};
pub use table::matrix::Matrix;
pub use table::options::{Delimiter, Header, Missing, TableOptions};
pub use table::samples::Samples;

use crate::error::Error;

/// The samples of a step as tensors, each with the samples as its first dimension.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The features, `[batch, …]`.
    pub input: Tensor,
    /// What else the model takes, `[batch, …]` each.
    pub further: Vec<Tensor>,
    /// Classes, `u32` `[batch]`, or numbers, `[batch]` or `[batch, …]`; `None` for data without targets.
    pub targets: Option<Tensor>,
}

impl Batch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.input.dims().first().copied().unwrap_or(0)
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the samples, in the order of the batch. Nothing is copied.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_train::data::{Dataset, InMemory};
    ///
    /// let data = InMemory::new(&Tensor::new(&[[1f32], [2.0], [3.0]], &Device::Cpu)?)?;
    /// let batch = data.batch(&[2, 1, 0])?;
    /// assert_eq!(batch.rows(1, 2)?.input.to_vec2::<f32>()?, [[2.0], [1.0]]);
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    ///
    /// # Errors
    /// There are fewer samples.
    pub fn rows(&self, first: usize, count: usize) -> Result<Self, Error> {
        let part = |tensor: &Tensor| tensor.narrow(0, first, count);
        Ok(Self {
            input: part(&self.input)?,
            further: self.further.iter().map(part).collect::<Result<_, _>>()?,
            targets: self.targets.as_ref().map(part).transpose()?,
        })
    }
}

/// Samples that can be had by their numbers, in any order. [`InMemory`] and [`Subset`] implement it.
pub trait Dataset: Send + Sync {
    /// The number of samples.
    fn len(&self) -> usize;

    /// Whether there is no sample.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples of these numbers, in this order; a number may come twice.
    ///
    /// # Errors
    /// Names a number that is not below [`len`](Self::len), or says why a tensor cannot be made.
    fn batch(&self, indices: &[usize]) -> Result<Batch, Error>;

    /// A hash of all that the samples have, by which other data are told apart where a run goes on; `None` if that is
    /// not to be had, in which case some samples are looked at.
    ///
    /// # Errors
    /// A tensor cannot be read.
    fn fingerprint(&self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// The number of a sample in the whole data, of which this may be a part: what messages call it.
    fn row(&self, index: usize) -> usize {
        index
    }

    /// The samples of these numbers as they are in this epoch, from 0. They are those of
    /// [`batch`](Self::batch) unless the data set augments its samples.
    ///
    /// # Errors
    /// As [`batch`](Self::batch).
    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        let _ = epoch;
        self.batch(indices)
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        (**self).batch(indices)
    }

    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        (**self).epoch_batch(epoch, indices)
    }

    fn row(&self, index: usize) -> usize {
        (**self).row(index)
    }

    fn fingerprint(&self) -> Result<Option<u64>, Error> {
        (**self).fingerprint()
    }
}

impl<D: Dataset + ?Sized> Dataset for &D {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        (**self).batch(indices)
    }

    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        (**self).epoch_batch(epoch, indices)
    }

    fn row(&self, index: usize) -> usize {
        (**self).row(index)
    }

    fn fingerprint(&self) -> Result<Option<u64>, Error> {
        (**self).fingerprint()
    }
}
