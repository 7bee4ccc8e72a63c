//! The random numbers of the simulation, sections 7 and 8 of `docs/finite-width.md`.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

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

/// A gamma variable of mean 1 and this variance, from a standard normal number, equation (23) (Wilson and
/// Hilferty 1931).
pub(super) fn gamma(variance: f64, normal: f64) -> f64 {
    (1.0 - variance / 9.0 + normal * variance.sqrt() / 3.0).max(1e-3).powi(3)
}

/// The upper median.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
