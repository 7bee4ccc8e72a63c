//! A part of a data set.

use super::prepare::fingerprint::Fingerprint;
use super::{Batch, Dataset, rows};
use crate::error::Error;

/// Some samples of a data set, as a data set with numbers of its own from 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_train::data::{Dataset, InMemory, Subset};
///
/// let data = InMemory::new(&Tensor::new(&[[1f32], [2.0], [3.0]], &Device::Cpu)?)?;
/// let part = Subset::new(&data, vec![2, 0])?;
/// assert_eq!((part.len(), part.row(0)), (2, 2));
/// assert_eq!(part.batch(&[0])?.input.to_vec2::<f32>()?, [[3.0]]);
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subset<D> {
    data: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// Takes the samples of these numbers, for example a part of a [`Split`](super::Split).
    ///
    /// # Errors
    /// There is no number, or one that the data does not have.
    pub fn new(data: D, indices: Vec<usize>) -> Result<Self, Error> {
        rows::check(&indices, data.len())?;
        Ok(Self { data, indices })
    }

    /// The whole data.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The numbers of the samples in the whole data.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The numbers in the whole data of samples of this part.
    fn of_data(&self, indices: &[usize]) -> Result<Vec<usize>, Error> {
        rows::check(indices, self.indices.len())?;
        Ok(indices.iter().map(|index| self.indices[*index]).collect())
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        self.data.batch(&self.of_data(indices)?)
    }

    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        self.data.epoch_batch(epoch, &self.of_data(indices)?)
    }

    fn fingerprint(&self) -> Result<Option<u64>, Error> {
        let Some(whole) = self.data.fingerprint()? else { return Ok(None) };
        let mut hash = Fingerprint::new();
        hash.add_numbers([whole].into_iter());
        hash.add_numbers(self.indices.iter().map(|index| *index as u64));
        Ok(Some(hash.finish()))
    }

    fn row(&self, index: usize) -> usize {
        self.indices.get(index).map_or(index, |index| self.data.row(*index))
    }
}
