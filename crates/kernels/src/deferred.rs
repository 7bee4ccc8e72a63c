//! Statistics that wait on a device until many can be read at once.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Result;

use crate::dense::{ObservedGradient, ObservedOutput, Observer};
#[cfg(feature = "cuda")]
use crate::summary::Summary;

/// Where the statistics of the layers of a pass wait on a GPU, so that they are copied from it once and not after each
/// layer, which would have to wait for the layer to be computed. On a CPU nothing waits: observers hear at once.
///
/// A GPU takes sums in as many parts as it has room for. The same GPU finds the same bits each time; another one may find other
/// last digits of means and standard deviations. Counts, minima and maxima are the same everywhere.
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
///     fn forward(&self, output: ObservedOutput) -> candle_core::Result<()> {
///         self.0.lock().unwrap().push(output.summary.max);
///         Ok(())
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
/// let first = DensePass::forward(&x, &w, None, Activation::Relu, Some(deferred.observer(maxima.clone(), true)))?;
/// DensePass::forward(first.output(), &w, None, Activation::Relu, Some(deferred.observer(maxima.clone(), false)))?;
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

#[derive(Default)]
struct Waiting {
    #[cfg(feature = "cuda")]
    boards: Vec<crate::cuda::Board>,
    #[cfg(feature = "cuda")]
    notes: Vec<Note>,
}

/// Who is to hear of a record.
#[cfg(feature = "cuda")]
struct Note {
    board: usize,
    place: crate::cuda::Place,
    hear: Hear,
}

/// What is done with a summary, and with the number of saturated elements.
#[cfg(feature = "cuda")]
pub(crate) type Hear = Box<dyn FnOnce(Summary, u64) -> Result<()> + Send>;

impl DeferredStats {
    /// A observer whose statistics wait here. Those of the layer that `ends` a backward pass, the first one, are delivered
    /// with all others as soon as it has gone backward, for nobody may come to [`deliver`](Self::deliver) them then.
    pub fn observer(&self, observer: Arc<dyn Observer>, ends: bool) -> Arc<dyn Observer> {
        Arc::new(DeferredObserver { deferred: self.clone(), ends, observer })
    }

    /// Waits for the device, copies what has come together, and lets everybody hear of it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn deliver(&self) -> Result<()> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.deliver()
    }

    /// Has a record made, of which `hear` is to hear.
    #[cfg(feature = "cuda")]
    pub(crate) fn note(
        &self,
        device: &candle_core::CudaDevice,
        bins: usize,
        record: impl FnOnce(&mut crate::cuda::Board) -> Result<crate::cuda::Place>,
        hear: Hear,
    ) -> Result<()> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = record(crate::cuda::Board::of(&mut waiting.boards, device, bins)?)?;
        let board = waiting.boards.len() - 1;
        waiting.notes.push(Note { board, place, hear });
        Ok(())
    }
}

impl Waiting {
    #[cfg(feature = "cuda")]
    fn deliver(self) -> Result<()> {
        let boards = self.boards.iter().map(crate::cuda::Board::read).collect::<Result<Vec<_>>>()?;
        for Note { board, place, hear } in self.notes {
            let (summary, saturated) = place.summary(&boards[board]);
            hear(summary, saturated)?;
        }
        Ok(())
    }

    #[cfg(not(feature = "cuda"))]
    fn deliver(self) -> Result<()> {
        Ok(())
    }
}

struct DeferredObserver {
    deferred: DeferredStats,
    ends: bool,
    observer: Arc<dyn Observer>,
}

impl Observer for DeferredObserver {
    fn bins(&self) -> usize {
        self.observer.bins()
    }

    fn is_active(&self) -> bool {
        self.observer.is_active()
    }

    fn wants_tensors(&self) -> bool {
        self.observer.wants_tensors()
    }

    fn wants_pre_activation(&self) -> bool {
        self.observer.wants_pre_activation()
    }

    fn forward(&self, output: ObservedOutput<'_>) -> Result<()> {
        self.observer.forward(output)
    }

    fn backward(&self, gradient: ObservedGradient<'_>) -> Result<()> {
        self.observer.backward(gradient)
    }

    fn deferred(&self) -> Option<(&DeferredStats, bool)> {
        Some((&self.deferred, self.ends))
    }
}
