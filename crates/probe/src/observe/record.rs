//! What a probe records.

use candle_core::DType;
use wick_kernels::{Stats, Summary};
use wick_theory::Activation;

use crate::observe::units::Units;

/// What a probe recorded of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The name given to the tap or the observer.
    pub name: String,
    /// How many calls of this name came before.
    pub call: usize,
    /// The value that passed.
    pub forward: Summary,
    /// The activation that made the value, where it is known.
    pub activation: Option<Activation>,
    /// Whether the value depends on a variable, as far as candle's graph tells: a gradient can come to no other
    /// value. It is `None` where the graph is not known, as of a fused layer.
    pub tracked: Option<bool>,
    /// The type of the value.
    pub dtype: DType,
    /// The fraction of pre-activations at or outside of the activation's [saturation
    /// thresholds](Activation::saturation_thresholds), where the pre-activations are known. It is `None` if
    /// the value contains NaN or infinities.
    pub saturated: Option<f64>,
    /// The mean of `φ'²` over the pre-activations, where they are known and the probe
    /// [records units](crate::Probe::with_units); NaN if one of those that are read, of 64 samples, is NaN.
    pub slope_square: Option<f64>,
    /// The gradient that came back in the latest backward pass. It is `None` before that pass, and where no
    /// gradient comes back.
    pub backward: Option<Summary>,
    /// The units of the value, if the probe [records them](crate::Probe::with_units).
    pub units: Option<Units>,
    /// The fraction of units that had one value in all looks at this name, if the probe [records
    /// units](crate::Probe::with_units).
    pub constant_in_all: Option<f64>,
    /// How many looks there were at this name, this one included.
    pub looks: u64,
    /// Whether a gradient came back in an earlier step, so that the weights may have moved since the start.
    pub after_start: bool,
    /// The units of the gradient, if the probe [records them](crate::Probe::with_units).
    pub gradient_units: Option<Units>,
}

/// The statistics of one name over many steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// The name given to the tap or the observer.
    pub name: String,
    /// Statistics of all values that passed.
    pub forward: Stats,
    /// Statistics of all gradients that came back.
    pub backward: Stats,
}
