//! Streaming moments.

use crate::cpu::element::Number;
use crate::cpu::simd::{self, SimdLevel, Units};

/// Count, mean, variance, minimum and maximum of a stream of numbers, in `f64`, mergeable.
///
/// Each block is summed in one pass, as differences from a pivot: the mean of its first numbers, or zero if
/// they scatter about zero. Blocks are merged by the formula of Chan, Golub and LeVeque 1979 (*Updating
/// formulae and a pairwise algorithm for computing sample variances*, equation 2.1). So a mean far from zero
/// costs no digits of the variance: the mean of `m` of a block's `n` numbers is at most `√(n/m)` standard
/// deviations away from the block's mean, which adds at most `n/m` rounding errors to the variance; zero is at
/// most twice as far away, since it is used only if at least half of the mean square of the first numbers is
/// variance.
///
/// ```
/// use wick_kernels::Moments;
///
/// let mut all = Moments::of(&[1e9f64, 1e9 + 1.0]);
/// all.merge(&Moments::of(&[1e9 + 2.0]));
/// assert_eq!((all.count(), all.mean(), all.min(), all.max()), (3, 1e9 + 1.0, 1e9, 1e9 + 2.0));
/// assert!((all.variance() - 2.0 / 3.0).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    /// `Σ (x - mean)²`.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

/// The number of sums that run in parallel: fixed, so that the bits do not depend on the processor.
const LANES: usize = 16;
/// The number of first numbers whose mean is the pivot.
const FIRST: usize = 64;

impl Moments {
    /// The moments of a block of numbers. Use blocks of some thousands, and merge them.
    pub fn of<T: Number>(block: &[T]) -> Self {
        // The sums and the extremes together do not fit the 16 registers of AVX2.
        let level = SimdLevel::best();
        simd::run(level, Of { block, one_loop: level.units() == Units::Avx512 })
    }

    /// The moments that a device has computed: the count, the mean, the sum of squared distances from the
    /// mean, the smallest and the largest number.
    #[cfg(feature = "cuda")]
    pub(crate) fn from_parts(count: u64, mean: f64, squares: f64, min: f64, max: f64) -> Self {
        Self { count, mean, squares, min, max }
    }

    #[inline(always)]
    fn of_block<T: Number>(block: &[T], one_loop: bool) -> Self {
        if block.is_empty() {
            return Self::default();
        }
        let first = &block[..block.len().min(FIRST)];
        let (mut pivot, mut square) = (0.0, 0.0);
        for &x in first {
            let x = x.widen();
            pivot += x;
            square += x * x;
        }
        pivot /= first.len() as f64;
        let about_zero = 2.0 * pivot * pivot <= square / first.len() as f64;
        let mut lanes = Lanes {
            off: [0.0; LANES],
            squares: [0.0; LANES],
            min: [T::INFINITY; LANES],
            max: [T::NEG_INFINITY; LANES],
        };
        if about_zero {
            // With a constant pivot, the compiler drops the subtraction.
            pivot = 0.0;
            lanes.add_all(block, 0.0, one_loop);
        } else {
            lanes.add_all(block, pivot, one_loop);
        }
        let (mut off, mut squares) = (0.0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for lane in 0..LANES {
            off += lanes.off[lane];
            squares += lanes.squares[lane];
            min = min.min(lanes.min[lane].widen());
            max = max.max(lanes.max[lane].widen());
        }
        let count = block.len() as f64;
        let squares = squares - off * off / count;
        // Rounding may leave a little less than 0 if all numbers are equal.
        let squares = if squares < 0.0 { 0.0 } else { squares };
        Self { count: block.len() as u64, mean: pivot + off / count, squares, min, max }
    }

    /// Adds the numbers of another stream.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        self.mean += delta * (m / (n + m));
        self.squares += other.squares + delta * delta * (n * m / (n + m));
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The number of numbers.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; NaN of an empty stream.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean }
    }

    /// The population variance `1/n Σ (x - mean)²`; NaN of an empty stream.
    pub fn variance(&self) -> f64 {
        self.squares / self.count as f64
    }

    /// The square root of the [`variance`](Self::variance).
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The root mean square `√(1/n Σ x²)`; NaN of an empty stream.
    pub fn rms(&self) -> f64 {
        (self.variance() + self.mean * self.mean).sqrt()
    }

    /// The smallest number that is not NaN; NaN if all are NaN.
    pub fn min(&self) -> f64 {
        if self.min > self.max { f64::NAN } else { self.min }
    }

    /// The largest number that is not NaN; NaN if all are NaN.
    pub fn max(&self) -> f64 {
        if self.min > self.max { f64::NAN } else { self.max }
    }
}

struct Of<'a, T> {
    block: &'a [T],
    /// Whether one loop computes both the sums and the extremes.
    one_loop: bool,
}

impl<T: Number> simd::Task for Of<'_, T> {
    type Output = Moments;

    #[inline(always)]
    fn run(self) -> Moments {
        Moments::of_block(self.block, self.one_loop)
    }
}

/// The sums of a block, whose numbers go to the lanes in turn.
struct Lanes<T> {
    off: [f64; LANES],
    squares: [f64; LANES],
    min: [T; LANES],
    max: [T; LANES],
}

impl<T: Number> Lanes<T> {
    #[inline(always)]
    fn add_all(&mut self, block: &[T], pivot: f64, one_loop: bool) {
        let (whole, rest) = block.as_chunks::<LANES>();
        if one_loop {
            for chunk in whole {
                self.add(chunk, pivot);
            }
        } else {
            self.add_in_two_loops(whole, pivot);
        }
        self.add(rest, pivot);
    }

    #[inline(always)]
    fn add(&mut self, chunk: &[T], pivot: f64) {
        for (lane, &x) in chunk.iter().enumerate().take(LANES) {
            let off = x.widen() - pivot;
            self.off[lane] += off;
            self.squares[lane] = off.mul_add(off, self.squares[lane]);
            // Comparisons with NaN are false, so a NaN is skipped.
            self.min[lane] = if x < self.min[lane] { x } else { self.min[lane] };
            self.max[lane] = if x > self.max[lane] { x } else { self.max[lane] };
        }
    }

    /// The same as [`add`](Self::add) for each chunk, with arrays of its own, which stay in the registers.
    #[inline(always)]
    fn add_in_two_loops(&mut self, chunks: &[[T; LANES]], pivot: f64) {
        let (mut off, mut squares) = (self.off, self.squares);
        for chunk in chunks {
            for lane in 0..LANES {
                let x = chunk[lane].widen() - pivot;
                off[lane] += x;
                squares[lane] = x.mul_add(x, squares[lane]);
            }
        }
        (self.off, self.squares) = (off, squares);
        let (mut min, mut max) = (self.min, self.max);
        for chunk in chunks {
            for lane in 0..LANES {
                min[lane] = if chunk[lane] < min[lane] { chunk[lane] } else { min[lane] };
                max[lane] = if chunk[lane] > max[lane] { chunk[lane] } else { max[lane] };
            }
        }
        (self.min, self.max) = (min, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn two_passes(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
    }

    /// With mean 1e9 and std 2, the textbook formula E[x²] - E[x]² keeps no digit of the variance.
    #[test]
    fn cancellation() {
        let values: Vec<f64> = (0..10_000).map(|i| 1e9 + f64::from(i % 7)).collect();
        let mut all = Moments::default();
        for block in values.chunks(997) {
            all.merge(&Moments::of(block));
        }
        let small: Vec<f64> = values.iter().map(|x| x - 1e9).collect();
        let (mean, variance) = two_passes(&small);
        assert!((all.variance() / variance - 1.0).abs() < 1e-9, "{}", all.variance());
        assert!((all.mean() - 1e9 - mean).abs() < 1e-6);
        let naive =
            values.iter().map(|x| x * x).sum::<f64>() / 1e4 - (values.iter().sum::<f64>() / 1e4).powi(2);
        assert!((naive / variance - 1.0).abs() > 1e-3, "the twin that must fail: {naive}");
    }

    proptest! {
        #[test]
        fn merged_at_any_split(values in prop::collection::vec(-1e3..1e3f64, 1..200), split in 0usize..200) {
            let (left, right) = values.split_at(split.min(values.len()));
            let mut merged = Moments::of(left);
            merged.merge(&Moments::of(right));
            let (mean, variance) = two_passes(&values);
            prop_assert!((merged.mean() - mean).abs() < 1e-10);
            prop_assert!((merged.variance() - variance).abs() < 1e-9 * variance.max(1.0));
            prop_assert_eq!(merged.count(), values.len() as u64);
            prop_assert_eq!(merged.min(), values.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(merged.max(), values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }

    #[test]
    fn nothing_and_nan() {
        let nothing = Moments::of::<f64>(&[]);
        assert!(nothing.mean().is_nan() && nothing.std().is_nan() && nothing.rms().is_nan());
        let mut one = Moments::of(&[3.0f32]);
        one.merge(&nothing);
        assert_eq!((one.mean(), one.std(), one.rms(), one.count()), (3.0, 0.0, 3.0, 1));
        let nan = Moments::of(&[1.0, f64::NAN, 2.0]);
        assert!(nan.mean().is_nan() && nan.std().is_nan());
        assert_eq!((nan.min(), nan.max()), (1.0, 2.0));
        let only = Moments::of(&[f64::NAN]);
        assert!(only.min().is_nan() && only.max().is_nan());
    }
}
