//! The order in which training sees the samples.

mod permutation;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;

use wick_init::Key;

pub use permutation::{Epoch, PermutationV1};

use crate::error::Error;

/// What happens to the samples at the end of an epoch that do not fill a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastBatch {
    /// They are a smaller batch.
    #[default]
    Keep,
    /// They are left out of this epoch. Another epoch leaves out others.
    Drop,
}

/// The samples of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step within the epoch, from 0.
    pub step_in_epoch: u64,
    /// The samples of the step, numbers below `n`, in the order of the batch.
    pub indices: Vec<usize>,
}

/// The order in which training sees `n` samples: in each epoch each sample once, in another order
/// ([`PermutationV1`]). It keeps nothing of the order: any step of any epoch is computed from the key and the
/// number of the step, so that a run that goes on at a step sees what an undisturbed run would.
///
/// ```
/// use wick_init::KeyedV1;
/// use wick_train::{LastBatch, Order};
///
/// let order = Order::new(10, KeyedV1::new(42).key("order"))?;
/// assert_eq!(order.steps_per_epoch(4)?, 3);
/// let last = order.position(5, 4)?;
/// assert_eq!((last.epoch, last.step_in_epoch, last.indices.len()), (1, 2, 2));
/// let far = order.position(1_000_000_000, 4)?;
/// assert_eq!((far.epoch, far.step_in_epoch), (333_333_333, 1));
///
/// let whole = order.with_last_batch(LastBatch::Drop);
/// assert_eq!(whole.steps_per_epoch(4)?, 2);
/// let plain = order.without_shuffling();
/// assert_eq!(plain.position(1, 4)?.indices, [4, 5, 6, 7]);
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    n: NonZeroUsize,
    permutation: PermutationV1,
    is_shuffled: bool,
    last_batch: LastBatch,
}

impl Order {
    /// Makes the order of `n` samples.
    ///
    /// # Errors
    /// `n` is 0, or above 2⁶².
    pub fn new(n: usize, key: Key) -> Result<Self, Error> {
        match NonZeroUsize::new(n) {
            Some(n) if n.get() as u64 <= PermutationV1::LARGEST => Ok(Self {
                n,
                permutation: PermutationV1::new(n.get() as u64, key),
                is_shuffled: true,
                last_batch: LastBatch::default(),
            }),
            _ => Err(Error::Samples(n)),
        }
    }

    /// The same samples from the first to the last in every epoch.
    pub fn without_shuffling(self) -> Self {
        Self { is_shuffled: false, ..self }
    }

    /// Chooses what happens to the samples at the end of an epoch that do not fill a batch.
    pub fn with_last_batch(self, last_batch: LastBatch) -> Self {
        Self { last_batch, ..self }
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.n.get()
    }

    /// The number of steps in an epoch, at least 1, for batches of `batch` samples.
    ///
    /// # Errors
    /// `batch` is 0, or more than the samples.
    pub fn steps_per_epoch(&self, batch: usize) -> Result<u64, Error> {
        let n = self.n.get();
        if batch == 0 || batch > n {
            return Err(Error::Batch { batch, samples: n });
        }
        Ok(match self.last_batch {
            LastBatch::Keep => n.div_ceil(batch),
            LastBatch::Drop => n / batch,
        } as u64)
    }

    /// The samples of a step, counted from 0 over all epochs, in batches of `batch` samples. It takes
    /// `batch` times some tens of nanoseconds, for any step.
    ///
    /// # Errors
    /// `batch` is 0, or more than the samples.
    pub fn position(&self, step: u64, batch: usize) -> Result<Position, Error> {
        let steps = self.steps_per_epoch(batch)?;
        let (epoch, step_in_epoch) = (step / steps, step % steps);
        // Below n, since the step is one of the epoch's.
        let first = step_in_epoch as usize * batch;
        let places = first..self.n.get().min(first.saturating_add(batch));
        let indices = if self.is_shuffled {
            self.permutation.epoch(epoch).of_range(places.start as u64..places.end as u64)
        } else {
            places.collect()
        };
        Ok(Position { epoch, step_in_epoch, indices })
    }

    /// The samples of an epoch in their order, those that [`LastBatch::Drop`] leaves out too.
    ///
    /// ```
    /// use wick_init::KeyedV1;
    /// use wick_train::Order;
    ///
    /// let order = Order::new(7, KeyedV1::new(1).key("order"))?;
    /// let epoch: Vec<usize> = order.epoch(2).collect();
    /// assert_eq!(order.position(8, 3)?.indices, epoch[6..]); // the third step of the third epoch
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn epoch(&self, epoch: u64) -> impl Iterator<Item = usize> + use<> {
        let (is_shuffled, permutation) = (self.is_shuffled, self.permutation.epoch(epoch));
        (0..self.n.get())
            .map(move |place| if is_shuffled { permutation.at(place as u64) as usize } else { place })
    }
}
