//! The cosines of pairs of samples, `c` in the equations of `docs/finite-width.md`.

use super::geometry::BatchGeometry;
use super::lengths::Lengths;
use super::samples::count;

/// The cosines of pairs of different samples of a batch, and how much a pair of a sample with itself counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs {
    /// `B`.
    pub(super) samples: f64,
    /// `c̄`, the mean cosine.
    pub(super) mean: f64,
    /// `V_c`, the variance of the cosine over pairs.
    pub(super) variance: f64,
    /// `V_λ`, the variance of the samples' lengths.
    pub(super) length_variance: f64,
}

impl Pairs {
    pub(super) fn new(batch: &BatchGeometry) -> Self {
        let variance = (batch.cosine_square - batch.cosine * batch.cosine).max(0.0);
        Self {
            samples: batch.samples.max(1) as f64,
            mean: batch.cosine,
            variance,
            length_variance: Lengths(batch.lengths.clone()).variance(),
        }
    }

    /// `⟨f(c)⟩`, the mean over pairs of different samples, equation (9).
    pub(super) fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        let deviation = (3.0 * self.variance).sqrt();
        let at = |c: f64| f(c.clamp(-1.0, 1.0));
        (at(self.mean - deviation) + 4.0 * at(self.mean) + at(self.mean + deviation)) / 6.0
    }

    /// `p`, the weight of the pairs of a sample with itself, equation (7), for lengths of this variance. Where every
    /// sample of the batch is simulated, they weigh themselves.
    pub(super) fn self_pair_fraction(&self, length_variance: f64) -> f64 {
        let variance = if self.samples > count(self.samples) as f64 { length_variance } else { 0.0 };
        ((1.0 + variance) / self.samples).min(1.0)
    }

    /// The mean square cosine.
    pub(super) fn mean_square(&self) -> f64 {
        (self.mean * self.mean + self.variance).min(1.0)
    }

    /// The cosines after a mean over `units`, the terms of which vary `factor` times as much as products of
    /// two normals do: equations (12), (20) and (23).
    pub(super) fn blurred(self, factor: f64, units: f64) -> Self {
        let sampling = (1.0 - self.mean_square()).powi(2);
        Self { variance: self.variance + factor * sampling / units, ..self }
    }
}
