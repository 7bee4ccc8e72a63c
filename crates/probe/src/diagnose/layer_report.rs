//! What the verdict on a layer is made from.

use candle_core::DType;
use wick_theory::{Activation, BatchGeometry, LayerLaw};

use crate::diagnose::fault::MIN_STD_FRACTION;
use crate::observe::probe::Probe;
use crate::observe::record::Record;
use crate::observe::units::Units;

/// What is known of a layer: what was measured, and the law from which its weights were drawn.
///
/// ```
/// use wick_probe::LayerReport;
///
/// let mut report = LayerReport::new("layer_0", 0.9, 1.0);
/// report.gradient_rms = Some(0.5);
/// assert_eq!((report.rms, report.law), (1.0, None));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerReport {
    /// The layer's name.
    pub name: String,
    /// The standard deviation of the outputs.
    pub std: f64,
    /// The root mean square of the outputs.
    pub rms: f64,
    /// The mean of the outputs; NaN if one of them is.
    pub mean: Option<f64>,
    /// The mean of the gradient; NaN if one of its elements is.
    pub gradient_mean: Option<f64>,
    /// The root mean square of the loss's gradient with respect to the outputs.
    pub gradient_rms: Option<f64>,
    /// The activation that makes the outputs.
    pub activation: Option<Activation>,
    /// The type of the outputs; `None` is judged as `f32`.
    pub dtype: Option<DType>,
    /// The fraction of pre-activations where the activation is flat.
    pub saturated: Option<f64>,
    /// The mean of `φ'²` over the pre-activations.
    pub slope_square: Option<f64>,
    /// The fraction of units whose output is the same for all samples.
    pub constant: Option<f64>,
    /// The fraction of units that are copies of another one.
    pub copies: Option<f64>,
    /// The number of units.
    pub units: Option<usize>,
    /// The number of outputs, over all units and samples.
    pub numbers: Option<u64>,
    /// The smallest and the largest output.
    pub range: Option<(f64, f64)>,
    /// The smallest and the largest element of the gradient.
    pub gradient_range: Option<(f64, f64)>,
    /// The lengths and cosines of the samples' outputs.
    pub batch: Option<BatchGeometry>,
    /// The lengths and cosines of the samples' gradients.
    pub gradients: Option<BatchGeometry>,
    /// The law from which the weights were drawn; `None` where it is not known or does not hold any more.
    pub law: Option<LayerLaw<Activation>>,
    /// Whether a gradient can come to the outputs: whether they depend on a variable.
    pub tracked: Option<bool>,
    /// The fraction of units that were above 0 for all samples, of outputs none of which is below 0.
    pub always_on: Option<f64>,
    /// The part of the outputs' variation that is over the samples: near 0 if all samples are alike.
    pub spread: Option<f64>,
    /// Whether each sample's outputs are probabilities.
    pub probabilities: bool,
    /// How many looks at the layer [`constant`](Self::constant) is from.
    pub looks: u64,
    /// Whether a step was taken since the start.
    pub after_start: bool,
    /// How many calls of the same name came before, in the same step.
    pub call: usize,
    /// The [spread](Self::spread) of the probe's first look at this name; `None` where it is not known.
    pub first_spread: Option<f64>,
    /// Whether a pre-activation is NaN behind which the activation makes a number, as candle's relu makes 0. It is
    /// known of the pre-activations that a probe [with units](Probe::with_units) reads.
    pub hides_nan: bool,
}

impl LayerReport {
    /// A layer of which only the standard deviation and the root mean square of the outputs are known.
    pub fn new(name: impl Into<String>, std: f64, rms: f64) -> Self {
        Self {
            name: name.into(),
            std,
            rms,
            mean: None,
            gradient_mean: None,
            gradient_rms: None,
            activation: None,
            dtype: None,
            saturated: None,
            slope_square: None,
            constant: None,
            copies: None,
            units: None,
            numbers: None,
            range: None,
            gradient_range: None,
            batch: None,
            gradients: None,
            law: None,
            tracked: None,
            always_on: None,
            spread: None,
            probabilities: false,
            looks: 1,
            after_start: false,
            call: 0,
            first_spread: None,
            hides_nan: false,
        }
    }

    /// The report of one record.
    pub fn of(record: &Record) -> Self {
        let rms = record.forward.rms;
        let gradient_rms = record.backward.as_ref().map(|gradient| gradient.rms);
        Self {
            mean: Some(record.forward.mean),
            gradient_mean: record.backward.as_ref().map(|gradient| gradient.mean),
            gradient_rms,
            activation: record.activation,
            dtype: Some(record.dtype),
            saturated: record.saturated,
            slope_square: record.slope_square.filter(|slope| !slope.is_nan()),
            hides_nan: record.slope_square.is_some_and(f64::is_nan),
            constant: record.constant_in_all,
            copies: record.units.as_ref().map(|units| units.copies),
            units: record.units.as_ref().map(|units| units.count),
            numbers: Some(record.forward.count),
            range: Some((record.forward.min, record.forward.max)),
            gradient_range: record.backward.as_ref().map(|gradient| (gradient.min, gradient.max)),
            batch: record.units.as_ref().map(|units| geometry(units, rms)),
            gradients: record
                .gradient_units
                .as_ref()
                .map(|units| geometry(units, gradient_rms.unwrap_or(0.0))),
            tracked: record.tracked,
            always_on: record.units.as_ref().map(|units| units.always_on),
            spread: record.units.as_ref().map(|units| units.spread),
            probabilities: record.units.as_ref().is_some_and(|units| units.probabilities),
            looks: record.looks,
            after_start: record.after_start,
            call: record.call,
            ..Self::new(record.name.as_str(), record.forward.std, rms)
        }
    }

    /// Sets the law from which the layer's weights were drawn, so that [`judge`](crate::judge()) compares the
    /// layer with theory. [`Probe::with_law`] does so for every report of a name.
    pub fn with_law(self, law: LayerLaw<Activation>) -> Self {
        Self { law: Some(law), ..self }
    }

    /// The activation, as recorded or as stated by the law.
    pub(crate) fn phi(&self) -> Option<Activation> {
        self.activation.or(self.law.map(|law| law.phi))
    }

    /// Whether there is no output, as of an expert to which no token went.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers == Some(0)
    }

    /// Whether all outputs are one number.
    pub(crate) fn is_constant(&self) -> bool {
        self.std <= MIN_STD_FRACTION * self.rms
    }

    /// Whether the outputs are those of no layer: an input, or what frozen weights make of it.
    pub(crate) fn is_input(&self) -> bool {
        self.tracked == Some(false)
    }

    /// Whether the outputs are the same for all samples: 0, or a number of each unit's own.
    pub(crate) fn is_same(&self) -> bool {
        self.rms == 0.0 || (self.has_samples() && self.constant == Some(1.0))
    }

    /// Whether the outputs differ from sample to sample.
    pub(crate) fn is_alive(&self) -> bool {
        !self.is_constant() && self.constant.is_none_or(|constant| constant < 1.0)
    }
}

/// The geometry of the samples that were read, with the mean square of all samples.
fn geometry(units: &Units, rms: f64) -> BatchGeometry {
    BatchGeometry { mean_square: rms * rms, ..units.batch.clone() }
}

impl Probe {
    /// A report of each record so far, in the order of the calls, with the law that was
    /// [stated](Self::with_law) for its name: the input of [`judge`](crate::judge()). After the first step, by a
    /// gradient that came back and [`next_step`](Self::next_step), laws do not hold, and are left out.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use wick_probe::{BatchGeometry, Fault, Probe, judge};
    ///
    /// let probe = Probe::new().with_units();
    /// let x = Var::from_tensor(&Tensor::arange(0f32, 16., &Device::Cpu)?.reshape((8, 2))?)?;
    /// let h = probe.tap("layer", &x.affine(0.0, 1.0)?)?;
    /// probe.tap("next", &h.tanh()?)?;
    /// let input = BatchGeometry::of(&x.flatten_all()?.to_vec1::<f32>()?, 2);
    /// let verdicts = judge(&probe.layer_reports(), &input);
    /// assert_eq!(verdicts[0].fault, Fault::DiesOut);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn layer_reports(&self) -> Vec<LayerReport> {
        let report = |record: &Record| LayerReport {
            law: self.law(&record.name).filter(|_| !record.after_start),
            ..LayerReport::of(record)
        };
        // No verdict needs a histogram.
        self.measure_late(false);
        let log = self.lock();
        let with_first = |record| LayerReport { first_spread: log.first_spread(record), ..report(record) };
        log.records().map(with_first).collect()
    }
}
