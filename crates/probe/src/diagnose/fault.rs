//! Faults, verdicts, and the thresholds from which something is a fault.

use std::fmt;

use serde::Serialize;

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A number is NaN or infinite.
    NonFinite,
    /// The output or the gradient of a layer is outside the band that its input and the law of its weights
    /// predict.
    OutsideBand,
    /// The outputs shrink to nothing.
    DiesOut,
    /// The outputs grow without bound.
    BlowsUp,
    /// Most pre-activations are where the activation is flat.
    Saturated,
    /// The outputs of units are the same for every sample.
    DeadUnits,
    /// Units are copies of each other.
    SymmetricUnits,
    /// All samples become alike.
    RankCollapse,
    /// The gradients shrink from the last layer to the first.
    VanishingGradient,
    /// The gradients grow from the last layer to the first.
    ExplodingGradient,
    /// Updates are far too large for the weights, or far too small.
    UpdateRatio,
    /// The loss rises, does not come back, or does not fall.
    Loss,
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It may be as meant, and wastes a part of the net or of its range.
    Unusual,
    /// It harms the training of most nets.
    Faulty,
    /// Nothing is learnt: NaN, a gradient that does not come, a layer that is dead as a whole.
    Broken,
}

/// One fault: the layer where it begins, its size, and a remedy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The kind of fault.
    pub fault: Fault,
    /// How bad it is.
    pub level: Level,
    /// The first layer with the fault, in the direction in which it spreads.
    pub layer: String,
    /// The number that shows the fault.
    pub figure: f64,
    /// The fault in a sentence.
    pub text: String,
    /// The remedy in a sentence; empty where none is known.
    pub remedy: String,
}

impl Verdict {
    /// A verdict without a remedy.
    pub(crate) fn new(fault: Fault, level: Level, layer: &str, figure: f64, text: String) -> Self {
        Self { fault, level, layer: layer.to_owned(), figure, text, remedy: String::new() }
    }

    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// A signal or a gradient that changes by more than this factor over a whole net has died out or blown up.
/// Adam compensates smaller factors; half precision cannot represent larger ones.
pub(crate) const MAX_TOTAL_CHANGE: f64 = 1e3;

/// A layer may be this many half widths of its 95 % band away from the band's middle, which is about four
/// standard deviations.
pub(crate) const MAX_BAND_HALF_WIDTHS: f64 = 2.0;

/// A larger fraction of pre-activations on the flat sides saturates a layer whose slopes are not known.
pub(crate) const MAX_SATURATED: f64 = 0.5;

/// A layer is saturated if `E φ'²` is a smaller fraction of the largest `φ'²`.
pub(crate) const MIN_SLOPE_FRACTION: f64 = 0.1;

/// After steps a layer is saturated if `E φ'²` is a smaller fraction: trained nets have saturated layers.
pub(crate) const MIN_SLOPE_TRAINED: f64 = 0.02;

/// A larger fraction of constant units, beyond the fraction expected by chance, makes them dead.
pub(crate) const MAX_DEAD_UNITS: f64 = 0.25;

/// A larger fraction of units that are copies makes them symmetric.
pub(crate) const MAX_COPIED_UNITS: f64 = 0.1;

/// Samples with a larger mean cosine are alike, and so are samples of a layer of whose variation a fraction of less
/// than the difference from 1 is over the samples.
pub(crate) const MAX_COSINE: f64 = 0.999;

/// A std that is a smaller fraction of the rms is rounding: all outputs are one number.
pub(crate) const MIN_STD_FRACTION: f64 = 1e-7;

/// Fewer units are alike for all samples, or dead, by chance.
pub(crate) const MIN_UNITS: usize = 8;

/// The rms of an input outside of this range is too large or too small for weights and learning rates as they
/// are usual.
pub(crate) const INPUT_RANGE: std::ops::RangeInclusive<f64> = 0.01..=50.0;

/// An input whose mean sample is more than this many times as large as the samples' deviations from it is shifted:
/// perceptrons learn worse from 3 on, by Adam and by gradient descent, and not at all from 50 on.
pub(crate) const MAX_SHIFT: f64 = 3.0;

/// At the start, outputs that are this many times larger than 1 and than the input leave nothing to a softmax.
pub(crate) const MAX_START: f64 = 50.0;

/// A layer that changes the std by more than this factor more, or less, than the layers beside it is off.
pub(crate) const MAX_ODD: f64 = 8.0;

/// The `log10` of update over weight with which nets learn; about 1e-3 a step is usual. Larger updates
/// replace the weights rather than changing them, and smaller ones hardly move them in an epoch.
pub(crate) const UPDATE_LOG10_RANGE: std::ops::RangeInclusive<f64> = -5.0..=-1.0;
