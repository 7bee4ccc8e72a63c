//! A layer's output beside what is predicted for it.

use wick_theory::Band;

use crate::diagnose::fault::{Fault, Level, MAX_BAND_HALF_WIDTHS, Verdict};
use crate::text::{distinct, significant, times};

/// Rounding, as the logarithm of a factor.
const LOG_TOLERANCE: f64 = 0.02;

/// What a prediction is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Predicted {
    /// The measured input of a linear layer or a convolution, and the law of its weights.
    Weights,
    /// The gains and biases of a norm.
    Norm,
    /// The mean squares of what a residual sum adds.
    Sum,
}

/// The output of a layer beside what is predicted for it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerBand {
    /// The layer's name.
    pub layer: String,
    /// How many calls of the same name came before.
    pub call: usize,
    /// What the prediction is made from.
    pub of: Predicted,
    /// The measured root mean square of the output, before an activation; of a residual sum, of the sum.
    pub rms: f64,
    /// The band that has 95 % of the draws.
    pub band: Band,
    /// What is within these ends is chance: of few units and rows, the far ends are more than twice as far out.
    pub(super) ends: (f64, f64),
}

/// The normal quantile of the far ends, which one draw in 150 000 is beyond.
pub(super) const FAR: f64 = 4.5;

impl LayerBand {
    /// A verdict on an output that is twice as far from the middle of the band as its ends, or farther, and that one draw
    /// in 150 000 has by chance.
    ///
    /// The layer itself is at fault, or its weights are not from the law that was stated: what comes before is
    /// measured.
    pub fn verdict(&self) -> Option<Verdict> {
        let Band { low, middle, high } = self.band;
        let log_factor = (self.rms / middle).ln();
        let half_width = if log_factor > 0.0 { (high / middle).ln() } else { (middle / low).ln() };
        if (self.ends.0..=self.ends.1).contains(&self.rms) {
            return None;
        }
        // NaN is judged elsewhere.
        if log_factor.is_nan() || log_factor.abs() <= MAX_BAND_HALF_WIDTHS * half_width + LOG_TOLERANCE {
            return None;
        }
        let (factor, layer) = (log_factor.exp(), &self.layer);
        let [measured, low, high] = distinct([self.rms, low, high], 3, significant);
        let times = times(factor);
        let (text, remedy) = match self.of {
            Predicted::Weights => (
                format!(
                    "{layer}: the outputs' rms is {measured}, {times} what its input and the law of its weights predict \
                     ({low} to {high}, before an activation)"
                ),
                format!(
                    "weights {times} as large as the law says make such outputs: check the fan, the gain and the scale"
                ),
            ),
            Predicted::Norm => (
                format!("{layer}: the outputs' rms is {measured}, {times} what its gains and biases predict ({low} to {high})"),
                if factor < 1.0 {
                    "the variance of its input is not above the norm's eps: let the input be larger, or take a smaller eps"
                } else {
                    "what its gains scale has not the mean square 1: check by what the norm divides"
                }
                .to_owned(),
            ),
            Predicted::Sum => (
                format!(
                    "{layer}: the residual sum behind it has the rms {measured}, {times} what the mean squares of its \
                     terms add up to ({low} to {high})"
                ),
                "the branch is correlated with the stream: draw its last weight independently, and add each branch once"
                    .to_owned(),
            ),
        };
        let level = if (0.67..1.5).contains(&factor) { Level::Unusual } else { Level::Faulty };
        Some(Verdict::new(Fault::OutsideBand, level, layer, factor, text).with_remedy(remedy))
    }
}
