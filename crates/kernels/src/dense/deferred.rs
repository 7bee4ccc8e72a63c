//! Observers whose statistics are deferred.

use std::sync::Arc;

use candle_core::Result;

use crate::dense::observer::{ObservedGradient, ObservedOutput, Observer};
use crate::stats::deferred::DeferredStats;

impl DeferredStats {
    /// Wraps an observer, for one pass, so that its statistics are deferred. The observer is asked here whether
    /// it is [active](Observer::is_active), and the wrapper repeats the answer.
    ///
    /// `ends` tells that the backward pass ends with this layer, the first one whose observer is active: as
    /// soon as the layer has gone backward, all statistics are delivered, since candle's backward pass has no
    /// later moment to [`deliver`](Self::deliver) them. If no layer `ends`, call `deliver` after the backward
    /// pass.
    pub fn observer(&self, observer: Arc<dyn Observer>, ends: bool) -> Arc<dyn Observer> {
        Arc::new(DeferredObserver { deferred: self.clone(), ends, is_active: observer.is_active(), observer })
    }
}

struct DeferredObserver {
    deferred: DeferredStats,
    ends: bool,
    is_active: bool,
    observer: Arc<dyn Observer>,
}

impl Observer for DeferredObserver {
    fn bins(&self) -> usize {
        self.observer.bins()
    }

    fn is_active(&self) -> bool {
        self.is_active
    }

    fn wants_tensors(&self) -> bool {
        self.observer.wants_tensors()
    }

    fn wants_pre_activation(&self) -> bool {
        self.observer.wants_pre_activation()
    }

    fn forward(&self, output: ObservedOutput<'_>) -> Result<u64> {
        self.observer.forward(output)
    }

    fn backward(&self, gradient: ObservedGradient<'_>) -> Result<()> {
        self.observer.backward(gradient)
    }

    fn deferred(&self) -> Option<(&DeferredStats, bool)> {
        Some((&self.deferred, self.ends))
    }
}
