//! The observer of a fused dense layer.

use std::sync::Arc;

use candle_core::Result;
use wick_kernels::{ObservedGradient, ObservedOutput, Observer};

use crate::observe::probe::Probe;

impl Probe {
    /// An observer for a [`dense`](wick_kernels::dense()) layer. The observer makes one record a forward
    /// pass, equal to the record that [`tap_activation`](Self::tap_activation) would make, up to the rounding
    /// of mean, std and rms. The records add up until [`next_step`](Self::next_step) or
    /// [`clear`](Self::clear).
    ///
    /// The statistics are taken by the layer itself while it computes, so that they cost little. If the probe
    /// records units or totals, it also reads the layer's tensors, as a tap does.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_kernels::dense;
    /// use wick_probe::Probe;
    /// use wick_theory::Activation;
    ///
    /// let (x, w) = (Tensor::new(&[[1.0f32]], &Device::Cpu)?, Var::new(&[[3.0f32], [0.1]], &Device::Cpu)?);
    /// let probe = Probe::new();
    /// let h = dense(&x, &w, None, Activation::Tanh, Some(probe.observer("hidden")))?;
    /// h.sum_all()?.backward()?;
    /// let record = &probe.records()[0];
    /// assert_eq!((record.activation, record.saturated), (Some(Activation::Tanh), Some(0.5)));
    /// assert_eq!(record.backward.as_ref().map(|gradient| gradient.mean), Some(1.0));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn observer(&self, name: &str) -> Arc<dyn Observer> {
        Arc::new(LayerObserver { probe: self.clone(), name: name.to_owned() })
    }
}

/// A probe inside a layer.
struct LayerObserver {
    probe: Probe,
    name: String,
}

impl Observer for LayerObserver {
    fn bins(&self) -> usize {
        self.probe.bins()
    }

    fn is_active(&self) -> bool {
        self.probe.is_recording()
    }

    fn wants_tensors(&self) -> bool {
        self.probe.reads_tensors()
    }

    fn wants_pre_activation(&self) -> bool {
        self.probe.reads_pre_activations()
    }

    /// Opens a record; its id is the number of the pass.
    fn forward(&self, observed: ObservedOutput<'_>) -> Result<u64> {
        let flatness = self.probe.flatness(
            &self.name,
            (observed.activation, observed.saturated),
            observed.pre_activation,
        )?;
        let value =
            self.probe.measure_output(&self.name, observed.summary, observed.dtype, observed.output)?;
        let mut log = self.probe.lock();
        let id = log.next_id();
        log.open(id, &self.name, value, flatness);
        Ok(id)
    }

    fn backward(&self, observed: ObservedGradient<'_>) -> Result<()> {
        let gradient =
            self.probe.measure_gradient(&self.name, observed.summary, observed.dtype, observed.gradient)?;
        self.probe.lock().close(observed.pass, gradient);
        Ok(())
    }
}
