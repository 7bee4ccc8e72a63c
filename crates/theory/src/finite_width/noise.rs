//! The random numbers of the simulation, sections 7 and 8 of `docs/finite-width.md`.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::special::normal_cdf;

/// Draws of the simulation.
pub(super) const DRAWS: usize = 4000;
/// The fixed seed: "WICK".
const SEED: u64 = 0x57_49_43_4b;

/// Standard normal numbers. The second half of each [`draws`](Self::draws) has the negatives of the first
/// half's numbers, so that the median of what is made from them is not off by chance.
pub(super) struct Normals(Xoshiro256PlusPlus);

impl Normals {
    pub(super) fn new() -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(SEED))
    }

    /// A whole number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.0.next_u64() % count as u64) as usize
    }

    /// One number for each draw.
    pub(super) fn draws(&mut self) -> Vec<f64> {
        let mut numbers = vec![0.0; DRAWS];
        let (first, second) = numbers.split_at_mut(DRAWS / 2);
        for pair in first.chunks_mut(2) {
            let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            let radius = (-2.0 * unit(self.0.next_u64()).ln()).sqrt();
            let angle = std::f64::consts::TAU * unit(self.0.next_u64());
            for (number, value) in pair.iter_mut().zip([radius * angle.cos(), radius * angle.sin()]) {
                *number = value;
            }
        }
        for (mirrored, number) in second.iter_mut().zip(first) {
            *mirrored = -*number;
        }
        numbers
    }
}

/// A gamma variable of mean 1 and this variance, from a standard normal number, equation (24) (Wilson and
/// Hilferty 1931). Where the variance is above 1, the cube has no left tail, and the lower bound of the
/// quantile, equation (25), takes its place.
pub(super) fn gamma(variance: f64, normal: f64) -> f64 {
    const FLOOR: f64 = 1e-3;
    let root = 1.0 - variance / 9.0 + normal * variance.sqrt() / 3.0;
    let cube = root.max(FLOOR).powi(3);
    if variance <= 1.0 {
        return cube;
    }
    // P(k, x) ≤ x^k/Γ(k + 1), with the shape k = 1/variance; the mean is 1, so that x is in units of k.
    let shape = 1.0 / variance;
    let bound = variance * ((normal_cdf(normal).ln() + libm::lgamma(shape + 1.0)) * variance).exp();
    if root > FLOOR { cube.max(bound) } else { bound }
}

/// The upper median.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;

    /// Quantiles of the gamma distribution of mean 1 at 2.5 %, 50 % and 97.5 %
    /// (`scipy.stats.gamma.ppf(p, 1/v, scale=v)`), to a factor of 2; below 1e-9 they are as good as 0.
    #[test]
    fn gamma_has_the_quantiles_of_its_law() {
        for (variance, quantiles) in [
            (0.1, [0.479_54, 0.966_87, 1.708_48]),
            (1.0, [0.025_32, LN_2, 3.688_88]),
            (4.0, [1.054_6e-6, 0.174_70, 6.866_5]),
            (20.0, [1.063e-31, 1.114_8e-5, 11.343]),
            (1000.0, [0.0, 0.0, 5.679e-9]),
        ] {
            for (normal, expected) in [-1.959_964, 0.0, 1.959_964].into_iter().zip(quantiles) {
                let found = gamma(variance, normal);
                let close = (found.max(1e-9) / f64::max(expected, 1e-9)).ln().abs() < 2f64.ln();
                assert!(close, "variance {variance}, {normal}: {found}, not {expected}");
            }
        }
    }
}
