//! Statistics of a whole tensor.

use candle_core::{DType, Device, Result, Tensor};

use crate::slice::{self, Lend};
use crate::{Histogram, Moments, SimdLevel, parallel, simd};

/// What a tensor looks like. Made by [`summarize`].
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many elements.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The population standard deviation.
    pub std: f64,
    /// The root mean square.
    pub rms: f64,
    /// The smallest element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// How the elements spread.
    pub histogram: Histogram,
}

/// Elements that are summed as one block. Blocks are merged in their order, so that the bits do not depend
/// on the number of threads.
const BLOCK: usize = 1 << 13;

/// Mean, std, rms, min, max and a histogram of a tensor of any shape, layout, device and floating point or
/// integer type, computed in `f64`. The histogram covers `range`, or from the smallest to the largest element.
///
/// # Errors
/// If the device cannot hand over the values.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::summarize;
///
/// let x = Tensor::new(&[[-1.0f32, 0.0], [0.5, 1.0]], &Device::Cpu)?;
/// let summary = summarize(&x, Some((-1.0, 1.0)), 4)?;
/// assert_eq!((summary.mean, summary.min, summary.max), (0.125, -1.0, 1.0));
/// assert_eq!(summary.histogram.counts, [1, 0, 1, 2]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn summarize(xs: &Tensor, range: Option<(f64, f64)>, bins: usize) -> Result<Summary> {
    #[cfg(feature = "cuda")]
    if crate::cuda::has(xs, bins) {
        return crate::cuda::summarize(xs, range, bins);
    }
    match on_cpu(xs)? {
        (xs, DType::F64) => Ok(summarize_slice(&slice::lend::<f64>(&xs)?, range, bins)),
        (xs, _) => Ok(summarize_slice(&slice::lend::<f32>(&xs)?, range, bins)),
    }
}

/// The share of the elements at or below `low` or at or above `high`: the saturated ones, for the flat tails
/// of an activation and its pre-activation.
///
/// # Errors
/// If the device cannot hand over the values.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_theory::Activation;
///
/// let z = Tensor::new(&[-3.0f32, -1.0, 0.5, 2.0], &Device::Cpu)?;
/// let (low, high) = Activation::Tanh.saturation_thresholds();
/// assert_eq!(wick_kernels::fraction_outside(&z, low, high)?, 0.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn fraction_outside(xs: &Tensor, low: f64, high: f64) -> Result<f64> {
    fn count<T: Lend>(values: &[T], low: f64, high: f64) -> u64 {
        by_blocks(values, |block| count_outside(block, low, high)).into_iter().sum()
    }
    #[cfg(feature = "cuda")]
    if crate::cuda::has(xs, 1) {
        return Ok(crate::cuda::outside(xs, low, high)? as f64 / xs.elem_count() as f64);
    }
    let outside = match on_cpu(xs)? {
        (xs, DType::F64) => count(&slice::lend::<f64>(&xs)?, low, high),
        (xs, _) => count(&slice::lend::<f32>(&xs)?, low, high),
    };
    Ok(outside as f64 / xs.elem_count() as f64)
}

/// What `of` makes of each block, in order.
fn by_blocks<T: Sync, R: Send>(values: &[T], of: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    parallel::map(values.len().div_ceil(BLOCK), |block| {
        of(&values[block * BLOCK..values.len().min((block + 1) * BLOCK)])
    })
}

/// How many are at or below `low` or at or above `high`.
pub(crate) fn count_outside<T: Lend>(values: &[T], low: f64, high: f64) -> u64 {
    // A part's count fits in 32 bits.
    let (low, high) = (T::at_most(low), T::at_least(high));
    values
        .chunks(1 << 30)
        .map(|values| u64::from(simd::run(SimdLevel::best(), CountOutside { values, low, high })))
        .sum()
}

struct CountOutside<'a, T> {
    values: &'a [T],
    low: T,
    high: T,
}

impl<T: Lend> simd::Task for CountOutside<'_, T> {
    type Output = u32;

    /// Counts those that are not outside, NaN among them: the second comparison is masked by the first.
    #[inline(always)]
    #[allow(clippy::neg_cmp_op_on_partial_ord)]
    fn run(self) -> u32 {
        let mut others = 0;
        for &x in self.values {
            others += u32::from(!(x <= self.low) & !(x >= self.high));
        }
        self.values.len() as u32 - others
    }
}

/// The tensor on the CPU, contiguous, in `f64` if it was that or an integer type, else in `f32`, which
/// holds every `bf16` and `f16`.
pub(crate) fn on_cpu(xs: &Tensor) -> Result<(Tensor, DType)> {
    let dtype = match xs.dtype() {
        DType::F32 | DType::BF16 | DType::F16 => DType::F32,
        _ => DType::F64,
    };
    Ok((xs.detach().to_device(&Device::Cpu)?.to_dtype(dtype)?.contiguous()?, dtype))
}

fn summarize_slice<T: Lend>(values: &[T], range: Option<(f64, f64)>, bins: usize) -> Summary {
    // With a range known, one pass over the values does both; else the histogram has to wait for the range.
    let histogram = range.map(|(low, high)| Histogram::new(low, high, bins));
    let mut all = Partial { moments: Moments::default(), histogram, bins };
    let parts = by_blocks(values, |block: &[T]| {
        let mut part = all.clone();
        part.add(block);
        part
    });
    for part in &parts {
        all.merge(part);
    }
    all.summary(values)
}

/// The summary of values whose moments are known: counts the bins.
pub(crate) fn summarize_with_moments<T: Lend>(values: &[T], moments: Moments, bins: usize) -> Summary {
    Partial { moments, histogram: None, bins }.summary(values)
}

/// A summary of some of the values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partial {
    pub(crate) moments: Moments,
    /// Where the range is known before the values are.
    pub(crate) histogram: Option<Histogram>,
    pub(crate) bins: usize,
}

impl Partial {
    /// Adds values, of which there should be some thousands at most.
    pub(crate) fn add<T: Lend>(&mut self, values: &[T]) {
        self.moments.merge(&Moments::of(values));
        if let Some(histogram) = &mut self.histogram {
            histogram.add(values);
        }
    }

    /// Adds what another part has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            histogram.merge(other);
        }
    }

    /// The summary of all values, which are looked at again if their histogram is still to be made.
    pub(crate) fn summary<T: Lend>(self, values: &[T]) -> Summary {
        let moments = self.moments;
        let histogram = self.histogram.unwrap_or_else(|| {
            let mut all = Histogram::new(moments.min(), moments.max(), self.bins);
            let parts = by_blocks(values, |block: &[T]| {
                let mut histogram = all.clone();
                histogram.add(block);
                histogram
            });
            for part in &parts {
                all.merge(part);
            }
            all
        });
        Summary {
            count: moments.count(),
            mean: moments.mean(),
            std: moments.std(),
            rms: moments.rms(),
            min: moments.min(),
            max: moments.max(),
            histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize) -> Tensor {
        let values: Vec<f32> = (0..count).map(|i| ((i as f32) * 0.7).sin() * 3.0 + 1.0).collect();
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn against_two_passes_in_f64() {
        let xs = wave(100_003);
        let values: Vec<f64> = xs.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let summary = summarize(&xs, None, 30).unwrap();
        assert!((summary.mean - mean).abs() < 1e-13);
        assert!((summary.std - variance.sqrt()).abs() < 1e-13);
        assert!((summary.rms - (values.iter().map(|x| x * x).sum::<f64>() / n).sqrt()).abs() < 1e-12);
        assert_eq!((summary.count, summary.histogram.counts.iter().sum()), (100_003, 100_003));
        assert_eq!((summary.histogram.low, summary.histogram.high), (summary.min, summary.max));
        let low = values.iter().filter(|x| **x <= -1.5).count() as f64;
        let high = values.iter().filter(|x| **x >= 3.0).count() as f64;
        assert_eq!(fraction_outside(&xs, -1.5, 3.0).unwrap(), (low + high) / n);
        assert_eq!(fraction_outside(&xs, f64::NEG_INFINITY, 3.0).unwrap(), high / n);
    }

    #[test]
    fn threads_change_no_bit() {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let xs = wave(300_001);
        for range in [None, Some((-1.0, 1.0))] {
            let run = || summarize(&xs, range, 30).unwrap();
            assert_eq!(pool(1).install(run), pool(2).install(run));
        }
    }

    #[test]
    fn any_layout_and_type() {
        let xs = wave(60).reshape((6, 10)).unwrap();
        let strided = xs.t().unwrap().narrow(0, 2, 5).unwrap();
        let plain = summarize(&strided.contiguous().unwrap(), None, 5).unwrap();
        assert_eq!(summarize(&strided, None, 5).unwrap(), plain);
        let integers = Tensor::new(&[1u8, 2, 3, 4], &Device::Cpu).unwrap();
        assert_eq!(summarize(&integers, None, 3).unwrap().mean, 2.5);
        let half = xs.to_dtype(DType::BF16).unwrap();
        let widened = summarize(&half.to_dtype(DType::F32).unwrap(), None, 5).unwrap();
        assert_eq!(summarize(&half, None, 5).unwrap(), widened);
        let empty = summarize(&Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap(), None, 5).unwrap();
        assert!(empty.mean.is_nan() && empty.count == 0);
    }
}
