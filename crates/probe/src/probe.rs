//! Records of what passed the taps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor};
use wick_kernels::Listener;
use wick_theory::Activation;

use crate::{Summary, Units, share_outside, summarize, tap};

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
    units: bool,
    log: Arc<Mutex<Log>>,
}

/// The records, each with a number that is never given again, so that a gradient that comes late finds its own
/// record or none.
#[derive(Debug, Default)]
struct Log {
    next: u64,
    records: Vec<(u64, Record)>,
    calls: HashMap<String, usize>,
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
    /// What single units did, if the probe [looks at them](Probe::with_units).
    pub units: Option<Units>,
    /// The same of the gradient.
    pub gradient_units: Option<Units>,
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// A probe with histograms of 30 bins.
    pub fn new() -> Self {
        Self { bins: 30, units: false, log: Arc::default() }
    }

    /// The same with histograms of this many bins.
    pub fn with_bins(self, bins: usize) -> Self {
        Self { bins, ..self }
    }

    /// The same, looking at single units too: which are dead, which are copies, how alike the samples are. Listeners do not:
    /// it takes a tap.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new().with_units();
    /// probe.tap("relu", &Tensor::new(&[[-1.0f32, 2.0], [-3.0, 1.0]], &Device::Cpu)?.relu()?)?;
    /// assert_eq!(probe.records()[0].units.map(|units| units.constant), Some(0.5));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_units(self) -> Self {
        Self { units: true, ..self }
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

    /// A listener for a [`dense`](wick_kernels::dense) layer: records what it hears, one record a forward pass, as
    /// [`tap_activation`](Self::tap_activation) would.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_kernels::dense;
    /// use wick_probe::Probe;
    /// use wick_theory::Activation;
    ///
    /// let (x, w) = (Tensor::new(&[[1.0f32]], &Device::Cpu)?, Var::new(&[[3.0f32], [0.1]], &Device::Cpu)?);
    /// let probe = Probe::new();
    /// let h = dense(&x, &w, None, Activation::Tanh, Some(probe.listener("hidden")))?;
    /// h.sum_all()?.backward()?;
    /// let record = &probe.records()[0];
    /// assert_eq!(record.saturated, Some(0.5));
    /// assert_eq!(record.backward.as_ref().map(|gradient| gradient.mean), Some(1.0));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn listener(&self, name: &str) -> Arc<dyn Listener> {
        Arc::new(Ear { probe: self.clone(), name: name.to_owned(), number: Mutex::default() })
    }

    /// The records so far, in the order of the calls.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.iter().map(|(_, record)| record.clone()).collect()
    }

    /// Forgets the records.
    pub fn clear(&self) {
        let mut log = self.lock();
        log.records.clear();
        log.calls.clear();
    }

    fn record(
        &self,
        name: &str,
        xs: &Tensor,
        range: Option<(f64, f64)>,
        saturated: Option<f64>,
    ) -> Result<Tensor> {
        let units = if self.units { Units::of(xs)? } else { None };
        let number = self.open(name, summarize(xs, range, self.bins)?, saturated, units);
        let probe = self.clone();
        tap(xs, move |gradient| {
            let units = if probe.units { Units::of(gradient)? } else { None };
            probe.close(number, summarize(gradient, None, probe.bins)?, units);
            Ok(())
        })
    }

    /// Begins a record, and returns its number.
    fn open(&self, name: &str, forward: Summary, saturated: Option<f64>, units: Option<Units>) -> u64 {
        let mut log = self.lock();
        let number = log.next;
        log.next += 1;
        let calls = log.calls.entry(name.to_owned()).or_default();
        let call = *calls;
        *calls += 1;
        let record = Record {
            name: name.to_owned(),
            call,
            forward,
            saturated,
            backward: None,
            units,
            gradient_units: None,
        };
        log.records.push((number, record));
        number
    }

    /// Adds the gradient to a record. The records may have been cleared since; then nobody waits for this one.
    fn close(&self, number: u64, backward: Summary, units: Option<Units>) {
        let mut log = self.lock();
        if let Ok(place) = log.records.binary_search_by_key(&number, |(number, _)| *number) {
            let record = &mut log.records[place].1;
            (record.backward, record.gradient_units) = (Some(backward), units);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sits in a layer, and the record of its latest forward pass.
struct Ear {
    probe: Probe,
    name: String,
    number: Mutex<Option<u64>>,
}

impl Listener for Ear {
    fn bins(&self) -> usize {
        self.probe.bins
    }

    fn forward(&self, output: Summary, saturated: f64) {
        let number = self.probe.open(&self.name, output, Some(saturated), None);
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
    }

    fn backward(&self, gradient: Summary) {
        if let Some(number) = *self.number.lock().unwrap_or_else(PoisonError::into_inner) {
            self.probe.close(number, gradient, None);
        }
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
    fn a_late_gradient_finds_its_own_record_or_none() {
        let x = Var::new(&[1.0f64], &Device::Cpu).unwrap();
        let probe = Probe::new();
        let old = probe.tap("x", &x).unwrap();
        probe.clear();
        probe.tap("x", &x).unwrap();
        old.sum_all().unwrap().backward().unwrap();
        let records = probe.records();
        assert_eq!((records.len(), records[0].call), (1, 0));
        assert_eq!(records[0].backward, None);
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
