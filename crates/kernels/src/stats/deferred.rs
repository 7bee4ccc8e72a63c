//! Statistics that stay on a device until many can be read at once.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Result;

#[cfg(feature = "cuda")]
use crate::stats::cuda::{RecordArena, RecordId};
#[cfg(feature = "cuda")]
use crate::stats::partial::Summary;

/// The statistics of the layers of a pass, which stay on the GPU until they are delivered, so that they are
/// copied once. A copy after each layer would have to wait until the layer has been computed. On a CPU
/// nothing is deferred: observers are called at once.
///
/// A GPU splits sums into as many parts as it runs blocks. The same GPU computes the same bits each time;
/// another one may compute other last digits of means and standard deviations. Counts, minima and maxima are
/// the same everywhere.
///
/// ```
/// use std::sync::Arc;
///
/// use candle_core::{Device, Tensor};
/// use wick_kernels::{DeferredStats, DensePass, ObservedGradient, ObservedOutput, Observer};
/// use wick_theory::Activation;
///
/// #[derive(Default)]
/// struct Maxima(std::sync::Mutex<Vec<f64>>);
///
/// impl Observer for Maxima {
///     fn bins(&self) -> usize {
///         10
///     }
///     fn forward(&self, output: ObservedOutput) -> candle_core::Result<u64> {
///         self.0.lock().unwrap().push(output.summary.max);
///         Ok(0)
///     }
///     fn backward(&self, _: ObservedGradient) -> candle_core::Result<()> {
///         Ok(())
///     }
/// }
///
/// let maxima = Arc::new(Maxima::default());
/// let deferred = DeferredStats::default();
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let w = Tensor::new(&[[3f32, -4.0], [1.0, 1.0]], &Device::Cpu)?;
/// let observer = |is_first| Some(deferred.observer(maxima.clone(), is_first));
/// let first = DensePass::forward(&x, &w, None, Activation::Relu, observer(true))?;
/// DensePass::forward(first.output(), &w, None, Activation::Relu, observer(false))?;
/// deferred.deliver()?;
/// assert_eq!(*maxima.0.lock().unwrap(), [3.0, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct DeferredStats(Arc<Mutex<Waiting>>);

impl std::fmt::Debug for DeferredStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeferredStats").finish_non_exhaustive()
    }
}

/// The records that have not been read back.
#[derive(Default)]
struct Waiting {
    #[cfg(feature = "cuda")]
    arenas: Vec<RecordArena>,
    #[cfg(feature = "cuda")]
    pending: Vec<Pending>,
}

/// A record, and what to call when it has been read back.
#[cfg(feature = "cuda")]
struct Pending {
    arena: usize,
    record: RecordId,
    callback: Callback,
}

/// What is called with a summary and the number of saturated elements.
#[cfg(feature = "cuda")]
pub(crate) type Callback = Box<dyn FnOnce(Summary, u64) -> Result<()> + Send>;

impl DeferredStats {
    /// Waits for the device, copies all deferred statistics in one piece, and calls the observers.
    ///
    /// # Errors
    /// If the device fails, or an observer returns an error.
    pub fn deliver(&self) -> Result<()> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.deliver()
    }

    /// Makes a record with `record`, and keeps `callback` until it is read back.
    #[cfg(feature = "cuda")]
    pub(crate) fn defer(
        &self,
        device: &candle_core::CudaDevice,
        bins: usize,
        record: impl FnOnce(&mut RecordArena) -> Result<RecordId>,
        callback: Callback,
    ) -> Result<()> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = record(RecordArena::last_or_new(&mut waiting.arenas, device, bins)?)?;
        let arena = waiting.arenas.len() - 1;
        waiting.pending.push(Pending { arena, record, callback });
        Ok(())
    }
}

impl Waiting {
    #[cfg(feature = "cuda")]
    fn deliver(self) -> Result<()> {
        let arenas = self.arenas.iter().map(RecordArena::read).collect::<Result<Vec<_>>>()?;
        for Pending { arena, record, callback } in self.pending {
            let (summary, saturated) = record.summary(&arenas[arena]);
            callback(summary, saturated)?;
        }
        Ok(())
    }

    #[cfg(not(feature = "cuda"))]
    fn deliver(self) -> Result<()> {
        Ok(())
    }
}
