//! What a verdict is made from.

use candle_core::DType;
use wick_theory::{Activation, BatchGeometry, LayerLaw};

use crate::{Record, Units};

/// What is known of a layer: what was measured, and how it was drawn where that is known.
///
/// ```
/// use wick_probe::LayerReport;
///
/// let mut reading = LayerReport::new("layer_0", 0.9, 1.0);
/// reading.gradient_rms = Some(0.5);
/// assert_eq!((reading.rms, reading.draw), (1.0, None));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerReport {
    /// The tap's name.
    pub name: String,
    /// The standard deviation of the outputs.
    pub std: f64,
    /// Their root mean square.
    pub rms: f64,
    /// The root mean square of the loss's gradient with respect to them.
    pub gradient_rms: Option<f64>,
    /// What the layer applies.
    pub activation: Option<Activation>,
    /// The type of the outputs; where it is not known, `f32` is taken for it.
    pub dtype: Option<DType>,
    /// The share of the pre-activations in the flat tails.
    pub saturated: Option<f64>,
    /// The mean of `φ'²` over the pre-activations.
    pub slope_square: Option<f64>,
    /// The share of the units that put out the same for all samples.
    pub constant: Option<f64>,
    /// The share of the units that are copies of another one.
    pub copies: Option<f64>,
    /// The smallest and the largest output.
    pub range: Option<(f64, f64)>,
    /// The samples' outputs, and the gradients that came back to them: their lengths and cosines.
    pub batch: Option<BatchGeometry>,
    /// The same of the gradients.
    pub gradients: Option<BatchGeometry>,
    /// How the layer was drawn.
    pub draw: Option<LayerLaw<Activation>>,
}

impl LayerReport {
    /// A layer of which no more is known than the standard deviation and the root mean square of its outputs.
    pub fn new(name: impl Into<String>, std: f64, rms: f64) -> Self {
        Self {
            name: name.into(),
            std,
            rms,
            gradient_rms: None,
            activation: None,
            dtype: None,
            saturated: None,
            slope_square: None,
            constant: None,
            copies: None,
            range: None,
            batch: None,
            gradients: None,
            draw: None,
        }
    }

    /// What a record holds.
    pub fn of(record: &Record) -> Self {
        let gradient_rms = record.backward.as_ref().map(|gradient| gradient.rms);
        let reading = Self {
            gradient_rms,
            activation: record.activation,
            dtype: record.dtype,
            saturated: record.saturated,
            slope_square: record.slope_square,
            range: Some((record.forward.min, record.forward.max)),
            gradients: record.gradient_units.as_ref().map(|units| seen(units, gradient_rms.unwrap_or(0.0))),
            ..Self::new(record.name.as_str(), record.forward.std, record.forward.rms)
        };
        match &record.units {
            Some(units) => reading.with_units(units),
            None => reading,
        }
    }

    /// The same, with how the layer was drawn: a verdict then compares it with theory.
    pub fn with_law(self, draw: LayerLaw<Activation>) -> Self {
        Self { draw: Some(draw), ..self }
    }

    /// The same, with what the layer's units do, where they were looked at beside the record.
    pub fn with_units(self, units: &Units) -> Self {
        let batch = Some(seen(units, self.rms));
        Self { constant: Some(units.constant), copies: Some(units.copies), batch, ..self }
    }

    /// The same, with the type of the outputs.
    pub fn with_dtype(self, dtype: DType) -> Self {
        Self { dtype: Some(dtype), ..self }
    }

    /// What the layer applies: as the tap says, or as it was drawn for.
    pub(crate) fn phi(&self) -> Option<Activation> {
        self.activation.or(self.draw.map(|draw| draw.phi))
    }
}

/// Units are those of some samples; the mean square is that of all.
fn seen(units: &Units, rms: f64) -> BatchGeometry {
    BatchGeometry { mean_square: rms * rms, ..units.batch.clone() }
}
