//! Everything about a stream of numbers that can be merged: four moments, extremes, zeros, what is not finite, magnitudes.

use candle_core::{DType, Result, Tensor};

use crate::SimdLevel;
use crate::slice::{self, Number};
use crate::{parallel, simd, summary};

/// Statistics of a stream of numbers, in `f64`, mergeable at any split; the memory does not grow with the stream.
///
/// Moments are central ones of the finite numbers, summed in blocks about a pivot and merged by the formulas of Pébay 2008
/// (*Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments*, Sandia report
/// SAND2008-6212). Quantiles come from a histogram of magnitudes of both signs, four bins to a power of two.
///
/// ```
/// use wick_kernels::Stats;
///
/// let mut all = Stats::of(&[0.0f64, 1.0, f64::NAN]);
/// all.merge(&Stats::of(&[2.0, 5.0]));
/// assert_eq!((all.count(), all.zeros(), all.non_finite()), (5, 1, 1));
/// assert_eq!((all.mean(), all.variance(), all.max()), (2.0, 3.5, 5.0));
/// assert!((all.skewness() - 9.0 / 2.0 / 3.5f64.powf(1.5)).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    finite: u64,
    nans: u64,
    infinities: u64,
    zeros: u64,
    mean: f64,
    /// `Σ (x - mean)^k` for k = 2, 3, 4.
    sums: [f64; 3],
    min: f64,
    max: f64,
    /// Negative numbers from the largest magnitude on, then positive ones from the smallest on.
    magnitudes: Vec<u64>,
}

/// Bins to a power of two; the powers that there are bins for, which are those of `f32`.
const PARTS: usize = 4;
const LOWEST: i64 = -150;
const HIGHEST: i64 = 128;
const BINS: usize = (HIGHEST - LOWEST) as usize * PARTS;
/// Numbers that are summed about one pivot, and those whose mean it is.
const CHUNK: usize = 1 << 12;
const FIRST: usize = 64;
/// Numbers in a block, of which blocks are merged in their order whatever the number of threads.
const BLOCK: usize = 1 << 16;
const LANES: usize = 8;

impl Default for Stats {
    fn default() -> Self {
        Self {
            finite: 0,
            nans: 0,
            infinities: 0,
            zeros: 0,
            mean: 0.0,
            sums: [0.0; 3],
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            magnitudes: Vec::new(),
        }
    }
}

impl Stats {
    /// The statistics of some numbers.
    pub fn of<T: Number>(values: &[T]) -> Self {
        let blocks = parallel::map(values.len().div_ceil(BLOCK), |block| {
            let mut stats = Self::default();
            for chunk in values[block * BLOCK..values.len().min((block + 1) * BLOCK)].chunks(CHUNK) {
                stats.add(chunk);
            }
            stats
        });
        let mut all = Self::default();
        for block in &blocks {
            all.merge(block);
        }
        all
    }

    /// The statistics of a tensor of any shape, layout, device and type.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let x = Tensor::new(&[[1.0f32, -1.0], [1.0, -1.0]], &Device::Cpu)?;
    /// assert_eq!(wick_kernels::Stats::of_tensor(&x)?.kurtosis(), 1.0);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn of_tensor(xs: &Tensor) -> Result<Self> {
        match summary::on_cpu(xs)? {
            (xs, DType::F64) => Ok(Self::of(&slice::lend::<f64>(&xs)?)),
            (xs, _) => Ok(Self::of(&slice::lend::<f32>(&xs)?)),
        }
    }

    fn add<T: Number>(&mut self, chunk: &[T]) {
        let part = simd::run(SimdLevel::best(), Chunk(chunk));
        self.merge(&part);
        if self.magnitudes.is_empty() {
            self.magnitudes = vec![0; 2 * BINS];
        }
        for &x in chunk {
            let x: f64 = x.into();
            if x.is_finite() && x != 0.0 {
                self.magnitudes[bin(x)] += 1;
            }
        }
    }

    /// Adds the numbers of another stream.
    pub fn merge(&mut self, other: &Self) {
        self.nans += other.nans;
        self.infinities += other.infinities;
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if self.magnitudes.is_empty() {
            self.magnitudes.clone_from(&other.magnitudes);
        } else {
            for (count, more) in self.magnitudes.iter_mut().zip(&other.magnitudes) {
                *count += more;
            }
        }
        if other.finite == 0 {
            return;
        }
        let (n, m) = (self.finite as f64, other.finite as f64);
        let all = n + m;
        let delta = other.mean - self.mean;
        let [a2, a3, a4] = self.sums;
        let [b2, b3, b4] = other.sums;
        let step = delta / all;
        self.sums = [
            a2 + b2 + delta * step * n * m,
            a3 + b3 + delta * step * step * n * m * (n - m) + 3.0 * step * (n * b2 - m * a2),
            a4 + b4
                + delta * step.powi(3) * n * m * (n * n - n * m + m * m)
                + 6.0 * step * step * (n * n * b2 + m * m * a2)
                + 4.0 * step * (n * b3 - m * a3),
        ];
        self.mean += step * m;
        self.finite += other.finite;
    }

    /// How many numbers there were, of every kind.
    pub fn count(&self) -> u64 {
        self.finite + self.non_finite()
    }

    /// How many were 0.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// How many were NaN or infinite. They are in no other figure.
    pub fn non_finite(&self) -> u64 {
        self.nans + self.infinities
    }

    /// The mean; NaN of nothing.
    pub fn mean(&self) -> f64 {
        if self.finite == 0 { f64::NAN } else { self.mean }
    }

    /// The population variance; NaN of nothing.
    pub fn variance(&self) -> f64 {
        self.sums[0].max(0.0) / self.finite as f64
    }

    /// The root of the [`variance`](Self::variance).
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The root mean square.
    pub fn rms(&self) -> f64 {
        (self.variance() + self.mean * self.mean).sqrt()
    }

    /// `E (x - mean)³/std³`: 0 of a symmetric law; NaN without variance.
    pub fn skewness(&self) -> f64 {
        self.sums[1] / self.finite as f64 / self.variance().powf(1.5)
    }

    /// `E (x - mean)⁴/std⁴`: 3 of a normal law; NaN without variance.
    pub fn kurtosis(&self) -> f64 {
        self.sums[2] / self.finite as f64 / self.variance().powi(2)
    }

    /// The smallest finite number; NaN of nothing.
    pub fn min(&self) -> f64 {
        if self.finite == 0 { f64::NAN } else { self.min }
    }

    /// The largest finite number; NaN of nothing.
    pub fn max(&self) -> f64 {
        if self.finite == 0 { f64::NAN } else { self.max }
    }

    /// The number below which a share `p` in `[0, 1]` of the finite ones is, to the width of a bin: off by a quarter at most.
    /// NaN of nothing.
    ///
    /// ```
    /// use wick_kernels::Stats;
    ///
    /// let stats = Stats::of(&(0..1000).map(f64::from).collect::<Vec<_>>());
    /// assert!((stats.quantile(0.9) / 900.0 - 1.0).abs() < 0.05);
    /// ```
    pub fn quantile(&self, p: f64) -> f64 {
        if self.finite == 0 {
            return f64::NAN;
        }
        let mut left = p.clamp(0.0, 1.0) * self.finite as f64;
        let within = |low: f64, high: f64, left: f64, count: u64| {
            (low + (high - low) * left / count as f64).clamp(self.min, self.max)
        };
        for (bin, &count) in self.magnitudes.iter().enumerate() {
            if bin == BINS {
                if left <= self.zeros as f64 && self.zeros > 0 {
                    return 0.0;
                }
                left -= self.zeros as f64;
            }
            if count > 0 && left <= count as f64 {
                let (low, high) = edges(bin);
                return within(low, high, left, count);
            }
            left -= count as f64;
        }
        self.max
    }

    /// How many numbers there are of each magnitude: `(low, high, count)` of each bin that holds any, from the most negative on.
    pub fn magnitudes(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        let bins = self.magnitudes.iter().enumerate().filter(|(_, count)| **count > 0);
        bins.map(|(bin, &count)| {
            let (low, high) = edges(bin);
            (low, high, count)
        })
    }
}

/// The bin of a finite number that is not 0.
fn bin(x: f64) -> usize {
    // The exponent and the first two bits of the mantissa, as they stand in the number.
    let bits = (x.abs().to_bits() >> 50) as i64;
    let place = (bits - ((1023 + LOWEST) << 2)).clamp(0, BINS as i64 - 1) as usize;
    if x < 0.0 { BINS - 1 - place } else { BINS + place }
}

/// The ends of a bin.
fn edges(bin: usize) -> (f64, f64) {
    let edge = |place: usize| f64::from_bits(((place as i64 + ((1023 + LOWEST) << 2)) as u64) << 50);
    if bin < BINS {
        let place = BINS - 1 - bin;
        (-edge(place + 1), -edge(place))
    } else {
        (edge(bin - BINS), edge(bin - BINS + 1))
    }
}

struct Chunk<'a, T>(&'a [T]);

impl<T: Number> simd::Task for Chunk<'_, T> {
    type Output = Stats;

    #[inline(always)]
    fn run(self) -> Stats {
        let mut stats = Stats::default();
        let mut pivot = 0.0;
        let mut first = 0.0;
        for &x in self.0.iter().take(FIRST) {
            let x: f64 = x.into();
            if x.is_finite() {
                pivot += x;
                first += 1.0;
            }
        }
        if first > 0.0 {
            pivot /= first;
        }
        let mut sums = [[0.0f64; LANES]; 4];
        let (mut min, mut max) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        let [mut finite, mut zeros, mut infinite] = [[0u64; LANES]; 3];
        let mut add = |chunk: &[T]| {
            for (lane, &x) in chunk.iter().enumerate().take(LANES) {
                let x: f64 = x.into();
                let is_finite = x.abs() < f64::INFINITY;
                let off = if is_finite { x - pivot } else { 0.0 };
                let square = off * off;
                sums[0][lane] += off;
                sums[1][lane] += square;
                sums[2][lane] += square * off;
                sums[3][lane] += square * square;
                min[lane] = if is_finite && x < min[lane] { x } else { min[lane] };
                max[lane] = if is_finite && x > max[lane] { x } else { max[lane] };
                finite[lane] += u64::from(is_finite);
                infinite[lane] += u64::from(x.abs() == f64::INFINITY);
                zeros[lane] += u64::from(x == 0.0);
            }
        };
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for chunk in whole {
            add(chunk);
        }
        add(rest);
        let sum = |lanes: [f64; LANES]| {
            let mut sum = 0.0;
            for x in lanes {
                sum += x;
            }
            sum
        };
        let count = |lanes: [u64; LANES]| lanes.iter().sum::<u64>();
        (stats.finite, stats.zeros, stats.infinities) = (count(finite), count(zeros), count(infinite));
        stats.nans = self.0.len() as u64 - stats.finite - stats.infinities;
        for lane in 0..LANES {
            stats.min = stats.min.min(min[lane]);
            stats.max = stats.max.max(max[lane]);
        }
        if stats.finite > 0 {
            // From sums about the pivot to sums about the mean.
            let n = stats.finite as f64;
            let [s1, s2, s3, s4] = sums.map(sum);
            let d = s1 / n;
            stats.mean = pivot + d;
            stats.sums = [
                (s2 - d * s1).max(0.0),
                s3 - 3.0 * d * s2 + 2.0 * d * d * s1,
                s4 - 4.0 * d * s3 + 6.0 * d * d * s2 - 3.0 * d * d * d * s1,
            ];
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A normal number of a counter, by the sum of twelve uniform ones.
    fn wave(i: u64) -> f64 {
        let mut state = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            state = (state ^ (state >> 31))
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
                .wrapping_add(0x1234_5678_9abc_def1);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| next()).sum::<f64>() - 6.0
    }

    fn two_passes(values: &[f64]) -> [f64; 4] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        // The mean's own rounding is taken out again.
        let mean = mean + values.iter().map(|x| x - mean).sum::<f64>() / n;
        let moment = |k| values.iter().map(|x| (x - mean).powi(k)).sum::<f64>() / n;
        let variance = moment(2);
        [mean, variance, moment(3) / variance.powf(1.5), moment(4) / variance.powi(2)]
    }

    fn figures(stats: &Stats) -> [f64; 4] {
        [stats.mean(), stats.variance(), stats.skewness(), stats.kurtosis()]
    }

    /// 1e7 numbers of mean 1e4 and std 1e-2: the variance to 1e-9. Twin: `E x² - (E x)²`.
    #[test]
    fn ten_million_numbers_far_from_zero() {
        let values: Vec<f64> = (0..10_000_000).map(|i| 1e4 + 1e-2 * wave(i)).collect();
        let (got, expected) = (figures(&Stats::of(&values)), two_passes(&values));
        assert!((got[0] / expected[0] - 1.0).abs() < 1e-15);
        assert!((got[1] / expected[1] - 1.0).abs() < 1e-9, "{got:?} {expected:?}");
        assert!((got[2] - expected[2]).abs() < 1e-6 && (got[3] - expected[3]).abs() < 1e-6);
        let n = values.len() as f64;
        let naive = values.iter().map(|x| x * x).sum::<f64>() / n - (values.iter().sum::<f64>() / n).powi(2);
        assert!((naive / expected[1] - 1.0).abs() > 1e-9, "the twin that must fail: {naive}");
        let moments = values.chunks(8192).fold(crate::Moments::default(), |mut all, block| {
            all.merge(&crate::Moments::of(block));
            all
        });
        assert!((moments.variance() / expected[1] - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn merged_at_any_split(values in prop::collection::vec(-1e3..1e3f64, 2..300), split in 0usize..300) {
            let (left, right) = values.split_at(split.min(values.len()));
            let mut merged = Stats::of(left);
            merged.merge(&Stats::of(right));
            let expected = two_passes(&values);
            for (got, expected) in figures(&merged).into_iter().zip(expected) {
                prop_assert!((got - expected).abs() < 1e-9 * expected.abs().max(1.0), "{got} {expected}");
            }
            prop_assert_eq!(merged.magnitudes().map(|(_, _, count)| count).sum::<u64>() + merged.zeros(), values.len() as u64);
        }

        #[test]
        fn bins_hold_their_numbers(x in prop::num::f32::NORMAL) {
            let (low, high) = edges(bin(f64::from(x)));
            prop_assert!(low <= f64::from(x) && f64::from(x) <= high && (high / low).abs().max((low / high).abs()) <= 1.25);
        }

        #[test]
        fn quantiles_to_a_bin(values in prop::collection::vec(-1e3..1e3f64, 1..200), p in 0.0..1.0f64) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let place = ((p * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
            let (got, exact) = (Stats::of(&values).quantile(p), sorted[place]);
            prop_assert!((got - exact).abs() <= 0.25 * exact.abs() + 1e-9, "{got} {exact}");
        }
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let stats = Stats::of(&[1.0f32, f32::NAN, f32::INFINITY, 3.0, f32::NEG_INFINITY, -0.0]);
        assert_eq!((stats.count(), stats.non_finite(), stats.zeros()), (6, 3, 1));
        assert_eq!((stats.mean(), stats.min(), stats.max()), (4.0 / 3.0, 0.0, 3.0));
        let nothing = Stats::of::<f32>(&[f32::NAN]);
        assert!(nothing.mean().is_nan() && nothing.quantile(0.5).is_nan() && nothing.min().is_nan());
        assert_eq!(Stats::default().count(), 0);
    }

    /// The same bits with one thread and with two, and of any type that holds the numbers.
    #[test]
    fn the_same_with_any_number_of_threads() {
        let values: Vec<f32> = (0..300_000).map(|i| wave(i) as f32).collect();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| Stats::of(&values)), Stats::of(&values));
        let doubles: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        assert_eq!(Stats::of(&doubles), Stats::of(&values));
    }
}
