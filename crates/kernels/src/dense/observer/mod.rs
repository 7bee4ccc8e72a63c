//! Observers of a dense layer, and one pass that an observer watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{DType, Result, Tensor};
use wick_theory::Activation;

use crate::stats::deferred::DeferredStats;
use crate::stats::partial::Summary;
use crate::stats::summary::{fraction_outside, summarize};

/// An observer of the signals that pass through a [`dense`](crate::dense()) layer. The layer takes the
/// statistics while it computes, when the numbers are in the cache.
///
/// An error of [`forward`](Self::forward) or [`backward`](Self::backward) ends the pass and is returned by
/// it.
pub trait Observer: Send + Sync {
    /// The number of bins of the histograms. A GPU counts up to 4096 of them while it computes, and more in a
    /// pass of their own, which takes longer.
    fn bins(&self) -> usize;

    /// Whether the observer wants this pass. If not, the layer takes no statistics and calls neither
    /// [`forward`](Self::forward) nor, for the same pass, [`backward`](Self::backward). The layer asks once
    /// per forward pass.
    fn is_active(&self) -> bool {
        true
    }

    /// Whether the observer needs the output and the gradient themselves in addition to their statistics. On
    /// a GPU the statistics are then not [deferred](Self::deferred); wherever they are not deferred, the
    /// layer hands out the tensors anyway. The layer asks once per forward pass.
    fn wants_tensors(&self) -> bool {
        false
    }

    /// Whether the observer that [wants tensors](Self::wants_tensors) needs the pre-activation too. The layer
    /// then keeps the pre-activation until [`forward`](Self::forward) has returned. The layer asks once per
    /// forward pass.
    fn wants_pre_activation(&self) -> bool {
        false
    }

    /// Receives the result of a forward pass. The observer returns a number of its own choice, by which
    /// [`backward`](Self::backward) recognizes the same pass: one observer may be in several layers, or in a
    /// layer that is used several times. An observer that does not tell passes apart returns 0.
    ///
    /// # Errors
    /// Whatever the observer cannot do; the layer's forward pass returns the error.
    fn forward(&self, output: ObservedOutput<'_>) -> Result<u64>;

    /// Receives the gradient of the loss with respect to the layer's output.
    ///
    /// # Errors
    /// Whatever the observer cannot do; the backward pass returns the error.
    fn backward(&self, gradient: ObservedGradient<'_>) -> Result<()>;

    /// Where the statistics of a GPU are kept until the pass is over, and whether the backward pass ends with
    /// this layer. Without it (`None`) they are read at once. [`DeferredStats::observer`] provides it.
    fn deferred(&self) -> Option<(&DeferredStats, bool)> {
        None
    }
}

/// A layer's output, as an [`Observer`] receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ObservedOutput<'a> {
    /// The statistics of the output. The histogram covers the activation's range where the range is finite.
    pub summary: Summary,
    /// The fraction of the pre-activations at or beyond the activation's saturation thresholds.
    pub saturated: f64,
    /// The activation of the layer.
    pub activation: Activation,
    /// The type of the output.
    pub dtype: DType,
    /// The output, detached from the graph. It is `None` only if the statistics were
    /// [deferred](Observer::deferred).
    pub output: Option<&'a Tensor>,
    /// The pre-activation, detached from the graph, if the observer [wants
    /// it](Observer::wants_pre_activation).
    pub pre_activation: Option<&'a Tensor>,
}

/// The gradient of the loss with respect to a layer's output, as an [`Observer`] receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ObservedGradient<'a> {
    /// The statistics of the gradient. The histogram goes from the smallest to the largest element.
    pub summary: Summary,
    /// The type of the gradient.
    pub dtype: DType,
    /// The gradient, detached from the graph. It is `None` only if the statistics were
    /// [deferred](Observer::deferred).
    pub gradient: Option<&'a Tensor>,
    /// The number that [`Observer::forward`] returned for the same pass.
    pub pass: u64,
}

/// One pass, forward and backward, that an observer watches.
#[derive(Clone)]
pub(crate) struct Observation {
    observer: Arc<dyn Observer>,
    #[cfg(feature = "cuda")]
    with_tensors: bool,
    with_pre_activation: bool,
    /// The number that the observer gave the pass. Clones share it.
    pass: Arc<AtomicU64>,
}

impl Observation {
    /// The observation of a pass that begins; `None` if there is no observer or it does not want this pass.
    pub(super) fn start(observer: Option<Arc<dyn Observer>>) -> Option<Self> {
        let observer = observer.filter(|observer| observer.is_active())?;
        let with_tensors = observer.wants_tensors();
        let with_pre_activation = with_tensors && observer.wants_pre_activation();
        Some(Self {
            observer,
            #[cfg(feature = "cuda")]
            with_tensors,
            with_pre_activation,
            pass: Arc::default(),
        })
    }

    /// The number of bins of the histograms.
    pub(crate) fn bins(&self) -> usize {
        self.observer.bins()
    }

    /// Whether the observer gets the pre-activation.
    pub(crate) fn with_pre_activation(&self) -> bool {
        self.with_pre_activation
    }

    /// Where the statistics of a GPU are deferred to, if they are deferred.
    #[cfg(feature = "cuda")]
    pub(crate) fn deferred(&self) -> Option<&DeferredStats> {
        self.observer.deferred().filter(|_| !self.with_tensors).map(|(deferred, _)| deferred)
    }

    /// Hands an output to the observer, with its statistics and the fraction of saturated pre-activations.
    /// `tensors` are the pre-activation and the output, if they are at hand.
    pub(crate) fn forward(
        &self,
        activation: Activation,
        dtype: DType,
        (summary, saturated): (Summary, f64),
        tensors: Option<(&Tensor, &Tensor)>,
    ) -> Result<()> {
        let output = tensors.map(|(_, output)| output.detach());
        let zs = tensors.filter(|_| self.with_pre_activation).map(|(zs, _)| zs.detach());
        let pass = self.observer.forward(ObservedOutput {
            summary,
            saturated,
            activation,
            dtype,
            output: output.as_ref(),
            pre_activation: zs.as_ref(),
        })?;
        self.pass.store(pass, Ordering::Release);
        Ok(())
    }

    /// The same, with the statistics taken from the tensors.
    pub(super) fn forward_of(&self, activation: Activation, zs: &Tensor, output: &Tensor) -> Result<()> {
        let (low, high) = activation.saturation_thresholds();
        let summary = summarize(output, activation.range(), self.bins())?;
        let statistics = (summary, fraction_outside(zs, low, high)?);
        self.forward(activation, output.dtype(), statistics, Some((zs, output)))
    }

    /// Hands a gradient to the observer, with its statistics; the tensor, if it is at hand.
    pub(crate) fn backward(&self, dtype: DType, summary: Summary, gradient: Option<&Tensor>) -> Result<()> {
        let gradient = gradient.map(Tensor::detach);
        let pass = self.pass.load(Ordering::Acquire);
        self.observer.backward(ObservedGradient { summary, dtype, gradient: gradient.as_ref(), pass })
    }

    /// The same, with the statistics taken from the gradient.
    pub(super) fn backward_of(&self, gradient: &Tensor) -> Result<()> {
        self.backward(gradient.dtype(), summarize(gradient, None, self.bins())?, Some(gradient))
    }

    /// Delivers all deferred statistics, if the backward pass ends with this layer.
    pub(super) fn end_backward(&self) -> Result<()> {
        match self.observer.deferred() {
            Some((deferred, true)) => deferred.deliver(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
