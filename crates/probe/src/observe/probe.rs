//! The probe and its taps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{DType, Result, Tensor};
use wick_kernels::{Summary, fraction_outside, tap};
use wick_theory::{Activation, LayerLaw};

use crate::observe::bad::BadTensor;
use crate::observe::late::Measurement;
use crate::observe::log::{Flatness, Log};
use crate::observe::measure::{Look, locked, measure_late};
use crate::observe::record::{Record, Totals};
use crate::observe::units::{Slopes, slope_square};

/// Records what passes through a model, by name. A probe is attached by a [`tap`](Self::tap) in the forward
/// pass, by an [`observer`](Self::observer) of a fused dense layer, or by [`watch`](Self::watch)ing a module;
/// what it records does not depend on the way. Clones share the records, so that every layer can have one.
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
    units: RecordedUnits,
    totals: bool,
    every: u64,
    laws: Arc<BTreeMap<String, LayerLaw<Activation>>>,
    pub(crate) axes: Arc<BTreeMap<String, usize>>,
    log: Arc<Mutex<Log>>,
}

/// The tensors whose units are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordedUnits {
    None,
    Outputs,
    OutputsAndGradients,
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Probe {
    /// A probe with histograms of 30 bins.
    pub fn new() -> Self {
        Self {
            bins: 30,
            units: RecordedUnits::None,
            totals: false,
            every: 1,
            laws: Arc::default(),
            axes: Arc::default(),
            log: Arc::default(),
        }
    }

    /// Sets the number of bins of the histograms.
    pub fn with_bins(self, bins: usize) -> Self {
        Self { bins, ..self }
    }

    /// Records units too: which are dead, which are copies, how similar the samples are, in outputs and in
    /// gradients; and the mean of `φ'²` where the pre-activations are known.
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
        Self { units: RecordedUnits::OutputsAndGradients, ..self }
    }

    /// Records the units of outputs alone. Unlike [`with_units`](Self::with_units), gradients and
    /// pre-activations are not read, so that a fused layer need not keep its pre-activations.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_probe::Probe;
    ///
    /// let x = Var::new(&[[1.0f32, 2.0], [3.0, 2.0]], &Device::Cpu)?;
    /// let probe = Probe::new().with_output_units();
    /// probe.tap("x", &x)?.sum_all()?.backward()?;
    /// let record = &probe.records()[0];
    /// assert_eq!(record.units.as_ref().map(|units| units.constant), Some(0.5));
    /// assert!(record.backward.is_some() && record.gradient_units.is_none());
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_output_units(self) -> Self {
        Self { units: RecordedUnits::Outputs, ..self }
    }

    /// Adds up [`Stats`](wick_kernels::Stats) over all steps, for each name.
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

    /// Records one step in `steps`, beginning with the first. In the others a tap costs nothing, and an
    /// observed layer takes no statistics.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Probe;
    ///
    /// let probe = Probe::new().every(10);
    /// let x = Tensor::new(&[1.0f32], &Device::Cpu)?;
    /// let recorded = (0..30).filter(|_| {
    ///     probe.tap("x", &x).expect("a tap on the CPU");
    ///     let recorded = !probe.records().is_empty();
    ///     probe.next_step();
    ///     recorded
    /// });
    /// assert_eq!(recorded.count(), 3);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn every(self, steps: u64) -> Self {
        Self { every: steps.max(1), ..self }
    }

    /// States the law from which the weights of a layer are drawn, for the reports of that name that
    /// [`layer_reports`](Self::layer_reports) makes.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Probe;
    /// use wick_theory::{Activation, LayerLaw};
    ///
    /// let law = LayerLaw {
    ///     fan_in: 3,
    ///     fan_out: 2,
    ///     weight_variance: 1.0 / 3.0,
    ///     bias_variance: 0.0,
    ///     orthogonal: false,
    ///     phi: Activation::Tanh,
    /// };
    /// let probe = Probe::new().with_law("layer_0", law);
    /// probe.tap("layer_0", &Tensor::new(&[[0.5f32, -0.2]], &Device::Cpu)?)?;
    /// assert_eq!(probe.layer_reports()[0].law, Some(law));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_law(mut self, name: impl Into<String>, law: LayerLaw<Activation>) -> Self {
        Arc::make_mut(&mut self.laws).insert(name.into(), law);
        self
    }

    /// Ends a step: drops its records, and keeps the totals and what the report of a bad tensor needs.
    pub fn next_step(&self) {
        self.lock().next_step();
    }

    /// Whether the current step is [recorded](Self::every).
    pub fn is_recording(&self) -> bool {
        self.lock().step.is_multiple_of(self.every)
    }

    /// The statistics of each name over all steps, in the order of the first calls; empty without
    /// [`with_totals`](Self::with_totals).
    pub fn totals(&self) -> Vec<Totals> {
        self.lock().totals.clone()
    }

    /// The first tensor with NaN, an infinity or a number near the limit of its type; values in the order of
    /// the calls, gradients in the order of the backward pass. The name is thus that of the first tap or
    /// observer after the operation that made the number, and not of one to which the number spread.
    ///
    /// The sample with the number is looked up only if the statistics show one. It is not known of an
    /// observed layer on a GPU whose statistics are [deferred](wick_kernels::DeferredStats), as they are in
    /// `Mlp::tape` and `Mlp::forward_observed` if the probe records neither units nor totals.
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

    /// Records `xs`, and returns it with a tap that will record its gradient. Each call makes one record; the
    /// records add up until [`next_step`](Self::next_step) or [`clear`](Self::clear).
    ///
    /// At once, a tap takes mean, std, rms, minimum, maximum and which units are constant. Histograms and the rest of
    /// the units are computed when [`records`](Self::records) or [`layer_reports`](Self::layer_reports) asks for
    /// them: until then, the probe keeps the values and gradients on the CPU, up to 128 MiB of them; those beyond,
    /// and those on a GPU, are measured as a whole at once.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    pub fn tap(&self, name: &str, xs: &Tensor) -> Result<Tensor> {
        self.record(name, xs, None, Flatness::default())
    }

    /// Does the same as [`tap`](Self::tap) for the output of an activation. The record also has the fraction
    /// of saturated pre-activations, and the output's histogram covers the activation's range where the range
    /// is finite.
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
        if !self.is_recording() {
            return Ok(output.clone());
        }
        let (low, high) = activation.saturation_thresholds();
        let saturated = fraction_outside(pre_activation, low, high)?;
        let axis = self.axis(name);
        let slopes = Some(pre_activation)
            .filter(|_| self.reads_pre_activations())
            .and_then(|zs| Slopes::of(activation, zs, axis, self.lock().buffer()));
        let flatness = match slopes {
            Some(slopes) => Flatness {
                activation: Some(activation),
                saturated: Some(saturated),
                slope_square: None,
                slopes: Some(slopes),
            },
            None => self.flatness(name, (activation, saturated), Some(pre_activation))?,
        };
        self.record(name, output, activation.range(), flatness)
    }

    /// The records so far, in the order of the calls.
    pub fn records(&self) -> Vec<Record> {
        self.measure_late(true);
        self.lock().records().cloned().collect()
    }

    /// Drops the records, as [`next_step`](Self::next_step) does, within a step.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn record(
        &self,
        name: &str,
        xs: &Tensor,
        range: Option<(f64, f64)>,
        flatness: Flatness,
    ) -> Result<Tensor> {
        if !self.is_recording() {
            return Ok(xs.clone());
        }
        let axis = self.axis(name);
        let (id, probe) = (self.lock().next_id(), self.clone());
        let output = tap(xs, move |gradient| {
            let gradient = probe.look_at_gradient(axis).take(gradient, &probe.log)?;
            probe.lock().close(id, gradient);
            Ok(())
        })?;
        let mut value = self.look_at_output(axis, range).take(&output, &self.log)?;
        value.tracked = Some(xs.track_op());
        self.lock().open(id, name, value, flatness);
        Ok(output)
    }

    /// The number of bins of the histograms.
    pub(crate) fn bins(&self) -> usize {
        self.bins
    }

    /// Whether the probe reads the elements of every tensor, beyond their statistics.
    pub(crate) fn reads_tensors(&self) -> bool {
        self.units != RecordedUnits::None || self.totals
    }

    /// Whether the probe reads the elements of pre-activations.
    pub(crate) fn reads_pre_activations(&self) -> bool {
        self.units == RecordedUnits::OutputsAndGradients
    }

    /// The law stated for a name.
    pub(crate) fn law(&self, name: &str) -> Option<LayerLaw<Activation>> {
        self.laws.get(name).copied()
    }

    /// How flat an activation is at the pre-activations.
    pub(crate) fn flatness(
        &self,
        name: &str,
        (activation, saturated): (Activation, f64),
        pre_activation: Option<&Tensor>,
    ) -> Result<Flatness> {
        let slope_square = match pre_activation.filter(|_| self.reads_pre_activations()) {
            Some(zs) => slope_square(activation, zs, self.axis(name))?,
            None => None,
        };
        let (activation, saturated) = (Some(activation), Some(saturated));
        Ok(Flatness { activation, saturated, slope_square, slopes: None })
    }

    /// Measures an output, given its statistics and, where it is at hand, the tensor.
    pub(crate) fn measure_output(
        &self,
        name: &str,
        summary: Summary,
        dtype: DType,
        output: Option<&Tensor>,
    ) -> Result<Measurement> {
        self.look_at_output(self.axis(name), None).take_all(summary, dtype, output)
    }

    /// Measures a gradient, given its statistics and, where it is at hand, the tensor.
    pub(crate) fn measure_gradient(
        &self,
        name: &str,
        summary: Summary,
        dtype: DType,
        gradient: Option<&Tensor>,
    ) -> Result<Measurement> {
        self.look_at_gradient(self.axis(name)).take_all(summary, dtype, gradient)
    }

    fn look_at_output(&self, axis: Option<usize>, range: Option<(f64, f64)>) -> Look {
        let with_units = self.units != RecordedUnits::None;
        Look { axis, with_units, with_stats: self.totals, range, bins: self.bins }
    }

    fn look_at_gradient(&self, axis: Option<usize>) -> Look {
        let with_units = self.units == RecordedUnits::OutputsAndGradients;
        Look { axis, with_units, with_stats: self.totals, range: None, bins: self.bins }
    }

    /// Measures what is left of the records, the histograms if they are wanted.
    pub(crate) fn measure_late(&self, with_histograms: bool) {
        measure_late(&self.log, with_histograms);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        locked(&self.log)
    }
}
