//! Records of what passed the taps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};
use wick_theory::Activation;

use crate::{Summary, share_outside, summarize, tap};

/// Taps by name, and what they recorded. Clones share the records, so that a probe can sit in every layer.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_probe::Probe;
/// use wick_theory::Activation;
///
/// let w = Var::new(&[[3.0f32, 0.1]], &Device::Cpu)?;
/// let probe = Probe::new();
/// let z = Tensor::new(&[[1.0f32]], &Device::Cpu)?.matmul(&w)?;
/// let h = probe.tap_activation("hidden", Activation::Tanh, &z, &z.tanh()?)?;
/// h.sum_all()?.backward()?;
/// assert_eq!(probe.records()[0].saturated, Some(0.5));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Probe {
    bins: usize,
    records: Arc<Mutex<Vec<Record>>>,
}

/// What one tap saw, of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The tap's name.
    pub name: String,
    /// How many calls of this name came before.
    pub call: usize,
    /// The value that passed.
    pub forward: Summary,
    /// The share of pre-activations in the flat tails, where the tap knows the activation.
    pub saturated: Option<f64>,
    /// The gradient that came back in the latest backward pass; `None` before one, and where none comes.
    pub backward: Option<Summary>,
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// A probe with histograms of 30 bins.
    pub fn new() -> Self {
        Self { bins: 30, records: Arc::default() }
    }

    /// The same with histograms of this many bins.
    pub fn with_bins(self, bins: usize) -> Self {
        Self { bins, ..self }
    }

    /// Records `xs` and returns it with a tap that will record its gradient. One record a call.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn tap(&self, name: &str, xs: &Tensor) -> Result<Tensor> {
        self.record(name, xs, None, None)
    }

    /// As [`tap`](Self::tap), for the output of an activation: records how much of the pre-activation is
    /// saturated, and bins the output over the activation's range where that is finite.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn tap_activation(
        &self,
        name: &str,
        activation: Activation,
        pre_activation: &Tensor,
        output: &Tensor,
    ) -> Result<Tensor> {
        let (low, high) = activation.flat_tails();
        let saturated = share_outside(pre_activation, low, high)?;
        self.record(name, output, activation.range(), Some(saturated))
    }

    /// The records so far, in the order of the calls.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }

    /// Forgets the records.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn record(
        &self,
        name: &str,
        xs: &Tensor,
        range: Option<(f64, f64)>,
        saturated: Option<f64>,
    ) -> Result<Tensor> {
        let forward = summarize(xs, range, self.bins)?;
        let call = {
            let mut records = self.lock();
            let call = records.iter().filter(|record| record.name == name).count();
            records.push(Record { name: name.to_owned(), call, forward, saturated, backward: None });
            call
        };
        let (probe, name) = (self.clone(), name.to_owned());
        tap(xs, move |gradient| {
            let backward = summarize(gradient, None, probe.bins)?;
            let mut records = probe.lock();
            // The records may have been cleared since; then nobody waits for this one.
            if let Some(record) = records.iter_mut().find(|r| r.call == call && r.name == name) {
                record.backward = Some(backward);
            }
            Ok(())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn a_layer_used_twice_has_two_records() {
        let x = Var::new(&[1.0f64, -2.0], &Device::Cpu).unwrap();
        let probe = Probe::new().with_bins(7);
        let layer = |h: &Tensor| probe.tap("layer", &h.affine(2.0, 0.0)?);
        let h = layer(&layer(&x).unwrap()).unwrap();
        h.sum_all().unwrap().backward().unwrap();
        let records = probe.records();
        let calls: Vec<_> = records.iter().map(|r| (r.call, r.forward.mean)).collect();
        assert_eq!(calls, [(0, -1.0), (1, -2.0)]);
        let gradients: Vec<_> = records.iter().map(|r| r.backward.as_ref().unwrap().mean).collect();
        assert_eq!(gradients, [2.0, 1.0]);
        assert_eq!(records[0].forward.histogram.counts.len(), 7);
        probe.clear();
        assert!(probe.records().is_empty());
    }

    #[test]
    fn before_a_backward_pass_there_is_no_gradient() {
        let x = Tensor::new(&[1.0f64], &Device::Cpu).unwrap();
        let probe = Probe::default();
        probe.tap("x", &x).unwrap().sum_all().unwrap().backward().unwrap();
        assert_eq!(probe.records()[0].backward, None);
        assert_eq!(probe.records()[0].saturated, None);
    }
}
