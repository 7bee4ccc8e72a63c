//! Observers whose statistics are deferred.

use std::sync::Arc;

use candle_core::Result;

use crate::dense::observer::{ObservedGradient, ObservedOutput, Observer};
use crate::stats::deferred::DeferredStats;

impl DeferredStats {
    /// Wraps an observer so that its statistics are deferred. `ends` tells that the backward pass ends with
    /// this layer, the first one with an observer: as soon as the layer has gone backward, all statistics are
    /// delivered, since candle's backward pass has no later moment to [`deliver`](Self::deliver) them.
    pub fn observer(&self, observer: Arc<dyn Observer>, ends: bool) -> Arc<dyn Observer> {
        Arc::new(DeferredObserver { deferred: self.clone(), ends, observer })
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
