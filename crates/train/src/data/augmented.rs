//! Samples that are changed at random, differently in each epoch.

use candle_core::Tensor;
use wick_init::{Key, KeyedV1};

use super::{Batch, Dataset};
use crate::error::Error;

/// A data set whose samples are changed in each epoch, by a function of the sample's features and a key. The key
/// depends on the seed, the number of the sample and the epoch alone, so that a sample is the same in a batch of
/// any size, made ahead or not, and in a run that goes on from a checkpoint.
///
/// [`batch`](Dataset::batch) has the samples as they are, for validation and test;
/// [`epoch_batch`](Dataset::epoch_batch) has them changed.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_init::Initializer;
/// use wick_train::data::{Augmented, Dataset, InMemory};
///
/// let data = InMemory::new(&Tensor::zeros((3, 4), candle_core::DType::F32, &Device::Cpu)?)?;
/// let noisy = Augmented::new(data, 42, |sample: Tensor, key| {
///     let noise = Initializer::normal(0.1).tensor(key, sample.shape(), sample.dtype(), sample.device());
///     Ok((sample + noise.map_err(candle_core::Error::wrap)?)?)
/// });
/// let row = |batch: wick_train::data::Batch, row| batch.input.get(row)?.to_vec1::<f32>();
/// let first = row(noisy.epoch_batch(0, &[1, 2])?, 1)?;
/// assert_eq!(first, row(noisy.epoch_batch(0, &[2])?, 0)?); // sample 2 in another batch
/// assert_ne!(first, row(noisy.epoch_batch(1, &[2])?, 0)?); // in another epoch
/// assert_eq!(row(noisy.batch(&[2])?, 0)?, [0.0; 4]);
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Augmented<D, F> {
    data: D,
    keys: KeyedV1,
    change: F,
}

impl<D, F> Augmented<D, F>
where
    D: Dataset,
    F: Fn(Tensor, Key) -> Result<Tensor, Error> + Send + Sync,
{
    /// Changes the features of each sample, a tensor of the sample's shape in the type and on the device of the
    /// batch, by a function that returns such a tensor. What it draws, it draws with the key
    /// `augment/EPOCH/SAMPLE` of the seed.
    pub fn new(data: D, seed: u64, change: F) -> Self {
        Self { data, keys: KeyedV1::new(seed), change }
    }
}

impl<D, F> Dataset for Augmented<D, F>
where
    D: Dataset,
    F: Fn(Tensor, Key) -> Result<Tensor, Error> + Send + Sync,
{
    fn len(&self) -> usize {
        self.data.len()
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, Error> {
        self.data.batch(indices)
    }

    fn row(&self, index: usize) -> usize {
        self.data.row(index)
    }

    fn epoch_batch(&self, epoch: u64, indices: &[usize]) -> Result<Batch, Error> {
        let batch = self.data.epoch_batch(epoch, indices)?;
        let changed = indices.iter().enumerate().map(|(row, sample)| {
            let key = self.keys.key(&format!("augment/{epoch}/{sample}"));
            (self.change)(batch.input.get(row)?, key)
        });
        let changed = changed.collect::<Result<Vec<Tensor>, Error>>()?;
        let input = Tensor::stack(&changed, 0)?;
        if input.dims() != batch.input.dims() || input.dtype() != batch.input.dtype() {
            let shape = changed.first().map(|sample| sample.dims().to_vec()).unwrap_or_default();
            return Err(Error::Shape {
                shape,
                needs: "the shape and the type of the sample that was augmented",
            });
        }
        Ok(Batch { input, ..batch })
    }
}
