//! Observers of a dense layer, and one pass that an observer watches.

use std::sync::Arc;

use candle_core::{Result, Tensor};
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

    /// Whether the observer wants the tensors themselves in addition to their statistics. The layer then
    /// keeps the pre-activation until [`forward`](Self::forward) has returned, and on a GPU the statistics
    /// are not [deferred](Self::deferred). The layer asks once per forward pass.
    fn wants_tensors(&self) -> bool {
        false
    }

    /// Receives the result of a forward pass.
    ///
    /// # Errors
    /// Whatever the observer cannot do; the layer's forward pass returns the error.
    fn forward(&self, output: ObservedOutput<'_>) -> Result<()>;

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
    /// The pre-activation and the output, detached from the graph, if the observer [wants
    /// them](Observer::wants_tensors).
    pub tensors: Option<(&'a Tensor, &'a Tensor)>,
}

/// The gradient of the loss with respect to a layer's output, as an [`Observer`] receives it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ObservedGradient<'a> {
    /// The statistics of the gradient. The histogram goes from the smallest to the largest element.
    pub summary: Summary,
    /// The gradient, if the observer [wants tensors](Observer::wants_tensors).
    pub tensor: Option<&'a Tensor>,
}

/// One pass, forward and backward, that an observer watches.
#[derive(Clone)]
pub(crate) struct Observation {
    observer: Arc<dyn Observer>,
    with_tensors: bool,
}

impl Observation {
    /// The observation of a pass that begins; `None` if there is no observer or it does not want this pass.
    pub(super) fn start(observer: Option<Arc<dyn Observer>>) -> Option<Self> {
        let observer = observer.filter(|observer| observer.is_active())?;
        Some(Self { with_tensors: observer.wants_tensors(), observer })
    }

    /// The number of bins of the histograms.
    pub(crate) fn bins(&self) -> usize {
        self.observer.bins()
    }

    /// Whether the observer gets the tensors too.
    pub(crate) fn with_tensors(&self) -> bool {
        self.with_tensors
    }

    /// Where the statistics of a GPU are deferred to, if they are deferred.
    #[cfg(feature = "cuda")]
    pub(crate) fn deferred(&self) -> Option<&DeferredStats> {
        self.observer.deferred().filter(|_| !self.with_tensors).map(|(deferred, _)| deferred)
    }

    /// Hands an output to the observer, with its statistics and the fraction of saturated pre-activations.
    /// `tensors` are the pre-activation and the output.
    pub(crate) fn forward(
        &self,
        (summary, saturated): (Summary, f64),
        tensors: Option<(&Tensor, &Tensor)>,
    ) -> Result<()> {
        let tensors =
            tensors.filter(|_| self.with_tensors).map(|(zs, output)| (zs.detach(), output.detach()));
        let tensors = tensors.as_ref().map(|(zs, output)| (zs, output));
        self.observer.forward(ObservedOutput { summary, saturated, tensors })
    }

    /// The same, with the statistics taken from the tensors.
    pub(super) fn forward_of(&self, activation: Activation, zs: &Tensor, output: &Tensor) -> Result<()> {
        let (low, high) = activation.saturation_thresholds();
        let summary = summarize(output, activation.range(), self.bins())?;
        self.forward((summary, fraction_outside(zs, low, high)?), Some((zs, output)))
    }

    /// Hands a gradient to the observer, with its statistics.
    pub(crate) fn backward(&self, summary: Summary, gradient: Option<&Tensor>) -> Result<()> {
        let tensor = gradient.filter(|_| self.with_tensors).map(Tensor::detach);
        self.observer.backward(ObservedGradient { summary, tensor: tensor.as_ref() })
    }

    /// The same, with the statistics taken from the gradient.
    pub(super) fn backward_of(&self, gradient: &Tensor) -> Result<()> {
        self.backward(summarize(gradient, None, self.bins())?, Some(gradient))
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
