//! Batches that are made ahead.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::{Batch, Dataset};
use crate::error::Error;

/// The batches that are made before they are asked for.
const DEPTH: usize = 2;

/// Makes batches on a thread of its own, at most two ahead of those that were taken, in the order in which they are
/// asked for: what [`Dataset::epoch_batch`] gives, to the bit. The thread ends when this is dropped, or after an
/// error, which is the last item.
///
/// ```
/// use std::sync::Arc;
///
/// use candle_core::{Device, Tensor};
/// use wick_train::data::{InMemory, Prefetch};
///
/// let data = Arc::new(InMemory::new(&Tensor::new(&[[1f32], [2.0], [3.0]], &Device::Cpu)?)?);
/// let mut batches = Prefetch::new(data, [(0, vec![2, 0]), (1, vec![1])])?;
/// assert_eq!(batches.next().unwrap()?.input.to_vec2::<f32>()?, [[3.0], [1.0]]);
/// assert_eq!(batches.next().unwrap()?.input.to_vec2::<f32>()?, [[2.0]]);
/// assert!(batches.next().is_none());
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug)]
pub struct Prefetch {
    /// `None` after the last batch.
    batches: Option<Receiver<Result<Batch, Error>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Begins to make the batches of these epochs and samples, `(epoch, indices)`, which may be endless.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new<D, I>(data: D, wanted: I) -> Result<Self, Error>
    where
        D: Dataset + 'static,
        I: IntoIterator<Item = (u64, Vec<usize>)>,
        I::IntoIter: Send + 'static,
    {
        // One batch more is in the hands of the thread.
        let (sender, batches) = sync_channel(DEPTH - 1);
        let mut wanted = wanted.into_iter();
        let make = move || {
            for (epoch, indices) in wanted.by_ref() {
                let batch = data.epoch_batch(epoch, &indices);
                let is_last = batch.is_err();
                if sender.send(batch).is_err() || is_last {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("prefetch".to_owned()).spawn(make);
        let thread =
            thread.map_err(|error| Error::Data(format!("no thread to make batches ahead: {error}")))?;
        Ok(Self { batches: Some(batches), thread: Some(thread) })
    }
}

impl Iterator for Prefetch {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.as_ref()?.recv() {
            Ok(batch) => Some(batch),
            Err(_) => {
                self.batches = None;
                match self.thread.take()?.join() {
                    Ok(()) => None,
                    Err(_) => {
                        Some(Err(Error::Data("the thread that makes batches ahead has panicked".to_owned())))
                    }
                }
            }
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Without a receiver, the thread ends at the next batch.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
