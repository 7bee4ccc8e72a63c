//! Streaming moments.

use crate::Level;
use crate::simd;

/// Count, mean, variance, minimum and maximum of a stream of numbers, in `f64`, mergeable.
///
/// Blocks are summed in two passes and merged by the formula of Chan, Golub and LeVeque 1979 (*Updating
/// formulae and a pairwise algorithm for computing sample variances*, equation 2.1), so that a mean far from
/// zero costs no digits of the variance.
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

/// Sums that run beside each other; a fixed number, so that the bits do not depend on the processor.
const LANES: usize = 16;

impl Moments {
    /// The moments of a block of numbers. Keep blocks to some thousands and merge them.
    pub fn of<T: Copy + Into<f64>>(block: &[T]) -> Self {
        simd::run(Level::best(), Of(block))
    }

    #[inline(always)]
    fn of_block<T: Copy + Into<f64>>(block: &[T]) -> Self {
        let count = block.len() as f64;
        if block.is_empty() {
            return Self::default();
        }
        let mean = sum(block, |x| x) / count;
        // The first pass's mean is off by its rounding; the second takes that off again.
        let (off, squares) = (sum(block, |x| x - mean), sum(block, |x| (x - mean) * (x - mean)));
        let (min, max) = range(block);
        Self {
            count: block.len() as u64,
            mean: mean + off / count,
            squares: squares - off * off / count,
            min,
            max,
        }
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

    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; NaN of nothing.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean }
    }

    /// The population variance `1/n Σ (x - mean)²`; NaN of nothing.
    pub fn variance(&self) -> f64 {
        self.squares / self.count as f64
    }

    /// The square root of the [`variance`](Self::variance).
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The root mean square `√(1/n Σ x²)`; NaN of nothing.
    pub fn rms(&self) -> f64 {
        (self.variance() + self.mean * self.mean).sqrt()
    }

    /// The smallest number that is not NaN; NaN where there is none.
    pub fn min(&self) -> f64 {
        if self.min > self.max { f64::NAN } else { self.min }
    }

    /// The largest number that is not NaN; NaN where there is none.
    pub fn max(&self) -> f64 {
        if self.min > self.max { f64::NAN } else { self.max }
    }
}

struct Of<'a, T>(&'a [T]);

impl<T: Copy + Into<f64>> simd::Task for Of<'_, T> {
    type Output = Moments;

    #[inline(always)]
    fn run(self) -> Moments {
        Moments::of_block(self.0)
    }
}

/// `Σ f(x)` in a fixed order that vector units like.
#[inline(always)]
fn sum<T: Copy + Into<f64>>(block: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = block.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x.into());
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x.into());
    }
    lanes.iter().sum()
}

#[inline(always)]
fn range<T: Copy + Into<f64>>(block: &[T]) -> (f64, f64) {
    let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let mut widen = |chunk: &[T]| {
        for ((low, high), &x) in low.iter_mut().zip(&mut high).zip(chunk) {
            let x = x.into();
            // Comparisons with NaN are false, so a NaN is passed over.
            *low = if x < *low { x } else { *low };
            *high = if x > *high { x } else { *high };
        }
    };
    let (whole, rest) = block.as_chunks::<LANES>();
    for chunk in whole {
        widen(chunk);
    }
    widen(rest);
    (low.into_iter().fold(f64::INFINITY, f64::min), high.into_iter().fold(f64::NEG_INFINITY, f64::max))
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

    /// Mean 1e9, std 1: the textbook E[x²] - E[x]² would keep no digit of the variance.
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
