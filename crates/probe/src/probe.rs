//! Records of what passed the taps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{Device, Result, Tensor};
use wick_kernels::{ObservedGradient, ObservedOutput, Observer};
use wick_theory::Activation;

use crate::bad::{BadTensor, inspect};
use crate::log::{Flat, Log, Record, Seen, Totals};
use crate::units::slope_square;
use crate::{Stats, Units, fraction_outside, summarize, tap};

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
    totals: bool,
    every: u64,
    log: Arc<Mutex<Log>>,
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// A probe with histograms of 30 bins.
    pub fn new() -> Self {
        Self { bins: 30, units: false, totals: false, every: 1, log: Arc::default() }
    }

    /// The same with histograms of this many bins.
    pub fn with_bins(self, bins: usize) -> Self {
        Self { bins, ..self }
    }

    /// The same, looking at single units too: which are dead, which are copies, how alike the samples are. Observers do not:
    /// it takes a tap.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new().with_units();
    /// probe.tap("relu", &Tensor::new(&[[-1.0f32, 2.0], [-3.0, 1.0]], &Device::Cpu)?.relu()?)?;
    /// assert_eq!(probe.records()[0].units.as_ref().map(|units| units.constant), Some(0.5));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_units(self) -> Self {
        Self { units: true, ..self }
    }

    /// The same, adding up [`Stats`] over all steps, for each name. Observers do not: it takes a tap.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new().with_totals();
    /// for step in 0..100 {
    ///     probe.tap("x", &Tensor::new(&[f64::from(step)], &Device::Cpu)?)?;
    ///     probe.next_step();
    /// }
    /// assert_eq!(probe.totals()[0].forward.mean(), 49.5);
    /// assert!(probe.records().is_empty());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_totals(self) -> Self {
        Self { totals: true, ..self }
    }

    /// The same, looking at one step of so many, from the first on; in the others a tap costs nothing. A observer records
    /// nothing there, but its layer takes the statistics all the same: give the layer none, as in
    /// `probe.is_looking().then(|| probe.observer(name))`.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new().every(10);
    /// let x = Tensor::new(&[1.0f32], &Device::Cpu)?;
    /// let seen = (0..30).filter(|_| {
    ///     probe.tap("x", &x).expect("a tap on the CPU");
    ///     let seen = !probe.records().is_empty();
    ///     probe.next_step();
    ///     seen
    /// });
    /// assert_eq!(seen.count(), 3);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn every(self, steps: u64) -> Self {
        Self { every: steps.max(1), ..self }
    }

    /// Ends a step: forgets its records, and keeps of them what the totals and a later report of a bad tensor need.
    pub fn next_step(&self) {
        self.lock().next_step();
    }

    /// Whether this step is one that the probe [looks at](Self::every).
    pub fn is_looking(&self) -> bool {
        self.lock().step.is_multiple_of(self.every)
    }

    /// What each name saw over all steps, in the order of their first calls; nothing without
    /// [`with_totals`](Self::with_totals).
    pub fn totals(&self) -> Vec<Totals> {
        self.lock().totals.clone()
    }

    /// The first tensor with NaN, an infinity or a number near the type's limit that came to a tap, or to a observer: forward in
    /// the order of the calls, backward in the order of the gradients. So it is the tap that is nearest behind what produced it, and
    /// not one to which it was passed on. A observer hears of NaN and infinities alone, from the summary of its layer: neither of
    /// numbers near the limit, nor in which sample it was.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::{Probe, Side};
    ///
    /// let probe = Probe::new();
    /// let x = probe.tap("x", &Tensor::new(&[[1.0f32], [0.0]], &Device::Cpu)?)?;
    /// let y = probe.tap("ln", &x.log()?)?;
    /// probe.tap("tanh", &y.tanh()?)?;
    /// let bad = probe.first_bad().expect("ln 0 is infinite");
    /// assert_eq!((bad.name.as_str(), bad.side, bad.sample), ("ln", Side::Forward, Some(1)));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn first_bad(&self) -> Option<BadTensor> {
        self.lock().bad.clone()
    }

    /// Records `xs` and returns it with a tap that will record its gradient. One record a call: they add up until
    /// [`next_step`](Self::next_step) or [`clear`](Self::clear).
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn tap(&self, name: &str, xs: &Tensor) -> Result<Tensor> {
        self.record(name, xs, None, Flat::default())
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
        if !self.is_looking() {
            return Ok(output.clone());
        }
        let (low, high) = activation.saturation_thresholds();
        let flat = Flat {
            activation: Some(activation),
            saturated: Some(fraction_outside(pre_activation, low, high)?),
            slope_square: if self.units { slope_square(activation, pre_activation)? } else { None },
        };
        self.record(name, output, activation.range(), flat)
    }

    /// A observer for a [`dense`](wick_kernels::dense) layer: records what it hears, one record a forward pass, as
    /// [`tap_activation`](Self::tap_activation) would; the records add up until [`next_step`](Self::next_step) or
    /// [`clear`](Self::clear). A layer does not tell which activation it applies: with
    /// [`observer_of`](Self::observer_of) a verdict can tell what is saturated.
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
    /// assert_eq!(record.saturated, Some(0.5));
    /// assert_eq!(record.backward.as_ref().map(|gradient| gradient.mean), Some(1.0));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn observer(&self, name: &str) -> Arc<dyn Observer> {
        self.ear(name, None)
    }

    /// As [`observer`](Self::observer), for a layer that applies this activation.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_kernels::dense;
    /// use wick_probe::Probe;
    /// use wick_theory::Activation;
    ///
    /// let (x, w) = (Tensor::new(&[[1.0f32]], &Device::Cpu)?, Tensor::new(&[[3.0f32], [0.1]], &Device::Cpu)?);
    /// let probe = Probe::new();
    /// dense(&x, &w, None, Activation::Tanh, Some(probe.observer_of("hidden", Activation::Tanh)))?;
    /// assert_eq!(probe.records()[0].activation, Some(Activation::Tanh));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn observer_of(&self, name: &str, activation: Activation) -> Arc<dyn Observer> {
        self.ear(name, Some(activation))
    }

    fn ear(&self, name: &str, activation: Option<Activation>) -> Arc<dyn Observer> {
        Arc::new(Ear { probe: self.clone(), name: name.to_owned(), activation, number: Mutex::default() })
    }

    /// The records so far, in the order of the calls.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.iter().map(|(_, record)| record.clone()).collect()
    }

    /// Forgets the records. [`next_step`](Self::next_step) does, too.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn record(&self, name: &str, xs: &Tensor, range: Option<(f64, f64)>, flat: Flat) -> Result<Tensor> {
        if !self.is_looking() {
            return Ok(xs.clone());
        }
        let seen = self.look(xs, range)?;
        let number = self.lock().open(name, seen, flat);
        let probe = self.clone();
        tap(xs, move |gradient| {
            let seen = probe.look(gradient, None)?;
            probe.lock().close(number, seen);
            Ok(())
        })
    }

    fn look(&self, xs: &Tensor, range: Option<(f64, f64)>) -> Result<Seen> {
        // What is looked at in more than one way is fetched from its device once; a summary is made there.
        let fetched = (self.units || self.totals) && !xs.device().is_cpu();
        let xs = &if fetched { xs.detach().to_device(&Device::Cpu)? } else { xs.clone() };
        let summary = summarize(xs, range, self.bins)?;
        Ok(Seen {
            bad: inspect(xs, &summary)?,
            dtype: Some(xs.dtype()),
            units: if self.units { Units::of(xs)? } else { None },
            stats: if self.totals { Some(Stats::of_tensor(xs)?) } else { None },
            summary,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What sits in a layer, and the record of its latest forward pass.
struct Ear {
    probe: Probe,
    name: String,
    activation: Option<Activation>,
    number: Mutex<Option<u64>>,
}

impl Ear {
    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Ear {
    fn bins(&self) -> usize {
        self.probe.bins
    }

    fn is_active(&self) -> bool {
        self.probe.is_looking()
    }

    fn forward(&self, output: ObservedOutput) -> Result<()> {
        let flat =
            Flat { activation: self.activation, saturated: Some(output.saturated), slope_square: None };
        let record = || self.probe.lock().open(&self.name, Seen::heard(output.summary), flat);
        *self.number() = self.probe.is_looking().then(record);
        Ok(())
    }

    fn backward(&self, gradient: ObservedGradient) -> Result<()> {
        if let Some(number) = *self.number() {
            self.probe.lock().close(number, Seen::heard(gradient.summary));
        }
        Ok(())
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

    /// Of six steps the first and the fourth are looked at; what a observer hears in the others is not kept.
    #[test]
    fn listeners_look_at_the_steps_that_taps_look_at() {
        let (x, w) = (Tensor::new(&[[1.0f32]], &Device::Cpu), Var::new(&[[0.5f32]], &Device::Cpu));
        let (x, w) = (x.unwrap(), w.unwrap());
        let probe = Probe::new().every(3);
        let observer = probe.observer("layer");
        let mut kept = Vec::new();
        for _ in 0..6 {
            let h = wick_kernels::dense(&x, &w, None, Activation::Tanh, Some(observer.clone())).unwrap();
            h.sum_all().unwrap().backward().unwrap();
            kept.push(probe.records().len());
            probe.next_step();
        }
        assert_eq!(kept, [1, 0, 0, 1, 0, 0]);
    }

    /// A comparison with NaN is false, and so would be that it is saturated.
    #[test]
    fn how_much_of_nan_is_saturated_is_not_known() {
        let z = Tensor::new(&[f32::NAN, 0.0], &Device::Cpu).unwrap();
        let probe = Probe::new();
        probe.tap_activation("x", Activation::Tanh, &z, &z.tanh().unwrap()).unwrap();
        assert_eq!(probe.records()[0].saturated, None);
        assert_eq!(probe.records()[0].dtype, Some(candle_core::DType::F32));
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
