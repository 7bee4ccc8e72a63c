//! Mergeable statistics of a stream of numbers: four moments, extremes, zeros, non-finite numbers,
//! magnitudes.

use candle_core::{DType, Result, Tensor};

use crate::cpu::element::Number;
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::{parallel, slice};

/// Statistics of a stream of numbers, in `f64`, mergeable at any split. The memory does not grow with the
/// stream.
///
/// Moments are central ones of the finite numbers, summed in blocks about a pivot and merged by the formulas
/// of Pébay 2008 (*Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
/// statistical moments*, Sandia report SAND2008-6212). Quantiles come from a histogram of magnitudes of both
/// signs, four bins to a power of two.
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
    /// The counts of negative numbers by falling magnitude, then of positive numbers by rising magnitude.
    magnitudes: Vec<u64>,
}

/// The number of bins per power of two.
const PARTS: usize = 4;
/// The powers of two that have bins: those of `f32`.
const LOWEST: i64 = -150;
const HIGHEST: i64 = 128;
const BINS: usize = (HIGHEST - LOWEST) as usize * PARTS;
/// The number of numbers that are summed about one pivot.
const CHUNK: usize = 1 << 12;
/// The number of first numbers whose mean is the pivot.
const FIRST: usize = 64;
/// The number of numbers in a block. Blocks are merged in order, whatever the number of threads.
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
    /// The statistics of the values.
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
    /// If the values cannot be copied from the device.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    ///
    /// let x = Tensor::new(&[[1.0f32, -1.0], [1.0, -1.0]], &Device::Cpu)?;
    /// assert_eq!(wick_kernels::Stats::of_tensor(&x)?.kurtosis(), 1.0);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn of_tensor(xs: &Tensor) -> Result<Self> {
        match slice::on_cpu(xs)? {
            (xs, DType::F64) => slice::with(&xs, Self::of::<f64>),
            (xs, _) => slice::with(&xs, Self::of::<f32>),
        }
    }

    fn add<T: Number>(&mut self, chunk: &[T]) {
        let part = simd::run(SimdLevel::best(), Chunk(chunk));
        self.merge(&part);
        if self.magnitudes.is_empty() {
            self.magnitudes = vec![0; 2 * BINS];
        }
        for &x in chunk {
            let x = x.widen();
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

    /// The number of numbers, NaN and infinite ones included.
    pub fn count(&self) -> u64 {
        self.finite + self.non_finite()
    }

    /// The number of zeros.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// The number of NaN and infinite numbers, which enter no other statistic.
    pub fn non_finite(&self) -> u64 {
        self.nans + self.infinities
    }

    /// The mean; NaN of an empty stream.
    pub fn mean(&self) -> f64 {
        if self.finite == 0 { f64::NAN } else { self.mean }
    }

    /// The population variance; NaN of an empty stream.
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

    /// `E (x - mean)³/std³`: 0 of a symmetric distribution; NaN without variance.
    pub fn skewness(&self) -> f64 {
        self.sums[1] / self.finite as f64 / self.variance().powf(1.5)
    }

    /// `E (x - mean)⁴/std⁴`: 3 of a normal distribution; NaN without variance.
    pub fn kurtosis(&self) -> f64 {
        self.sums[2] / self.finite as f64 / self.variance().powi(2)
    }

    /// The smallest finite number; NaN of an empty stream.
    pub fn min(&self) -> f64 {
        if self.finite == 0 { f64::NAN } else { self.min }
    }

    /// The largest finite number; NaN of an empty stream.
    pub fn max(&self) -> f64 {
        if self.finite == 0 { f64::NAN } else { self.max }
    }

    /// The number below which a fraction `p` in `[0, 1]` of the finite numbers lies, to the width of a bin:
    /// the relative error is at most a quarter. NaN of an empty stream.
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

    /// The numbers by magnitude: `(low, high, count)` of each bin that is not empty, the most negative first.
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
    // The exponent and the first two bits of the mantissa.
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
            let x = x.widen();
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
                let x = x.widen();
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
mod tests;
