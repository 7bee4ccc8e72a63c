//! Statistics of a whole tensor.

use candle_core::{DType, Result, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::cpu::element::Number;
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::slice;
#[cfg(feature = "cuda")]
use crate::stats::cuda;
use crate::stats::histogram::Histogram;
use crate::stats::moments::Moments;
use crate::stats::partial::{BLOCK, Partial, Summary, by_blocks};

/// Mean, std, rms, min, max and a histogram of a tensor of any shape, layout, device and floating point or
/// integer type, computed in `f64`. The histogram covers `range`; without one, it goes from the smallest to
/// the largest element.
///
/// # Errors
/// If the values cannot be copied from the device.
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
    if cuda::can_summarize(xs, bins) {
        return cuda::summarize(xs, range, bins);
    }
    match slice::on_cpu(xs)? {
        (xs, DType::F64) => slice::with::<f64, _>(&xs, |values| summarize_slice(values, range, bins)),
        (xs, _) => slice::with::<f32, _>(&xs, |values| summarize_slice(values, range, bins)),
    }
}

/// The moments of a tensor of any shape, layout, device and floating point or integer type, in `f64`. A contiguous
/// floating point tensor on the CPU is not copied.
///
/// # Errors
/// If the values cannot be copied from the device.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_kernels::moments;
///
/// let x = Tensor::new(&[[-1.0f32, 0.0], [0.5, 2.5]], &Device::Cpu)?.to_dtype(DType::BF16)?;
/// let moments = moments(&x)?;
/// assert_eq!((moments.count(), moments.mean(), moments.variance()), (4, 0.5, 1.625));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn moments(xs: &Tensor) -> Result<Moments> {
    /// The moments of numbers that `widen` makes `f32` of, block after block.
    fn widened<T: Copy + Sync>(values: &[T], widen: impl Fn(&[T], &mut [f32]) + Sync) -> Moments {
        merged(by_blocks(values, |block| {
            let mut wide = [0.0; BLOCK];
            let wide = &mut wide[..block.len()];
            widen(block, wide);
            Moments::of(wide)
        }))
    }
    let merged_of = |xs: &Tensor| match xs.dtype() {
        DType::F64 => slice::with(xs, |values: &[f64]| merged(by_blocks(values, Moments::of))),
        _ => slice::with(xs, |values: &[f32]| merged(by_blocks(values, Moments::of))),
    };
    let is_plain = xs.device().is_cpu() && xs.is_contiguous();
    match xs.dtype() {
        DType::F64 | DType::F32 if is_plain => merged_of(xs),
        DType::BF16 if is_plain => slice::with(xs, |values: &[bf16]| widened(values, widen_bf16)),
        DType::F16 if is_plain => {
            slice::with(xs, |values: &[f16]| widened(values, HalfFloatSliceExt::convert_to_f32_slice))
        }
        _ => merged_of(&slice::on_cpu(xs)?.0),
    }
}

/// The upper half of an `f32` is the `bf16`.
fn widen_bf16(values: &[bf16], wide: &mut [f32]) {
    for (wide, x) in wide.iter_mut().zip(values) {
        *wide = f32::from_bits(u32::from(x.to_bits()) << 16);
    }
}

/// The moments of all blocks, merged in order.
fn merged(blocks: Vec<Moments>) -> Moments {
    blocks.iter().fold(Moments::default(), |mut all, block| {
        all.merge(block);
        all
    })
}

/// The fraction of the elements at or below `low` or at or above `high`: of a pre-activation and the
/// saturation thresholds of its activation, the fraction that is saturated.
///
/// # Errors
/// If the values cannot be copied from the device.
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
    fn count<T: Number>(values: &[T], low: f64, high: f64) -> u64 {
        by_blocks(values, |block| count_outside(block, low, high)).into_iter().sum()
    }
    #[cfg(feature = "cuda")]
    if cuda::can_summarize(xs, 1) {
        return Ok(cuda::count_outside(xs, low, high)? as f64 / xs.elem_count() as f64);
    }
    let is_plain = xs.dtype() == DType::F32 && xs.device().is_cpu() && xs.is_contiguous();
    let (plain, dtype) = if is_plain { (xs.clone(), DType::F32) } else { slice::on_cpu(xs)? };
    let outside = match (plain, dtype) {
        (xs, DType::F64) => slice::with::<f64, _>(&xs, |values| count(values, low, high)),
        (xs, _) => slice::with::<f32, _>(&xs, |values| count(values, low, high)),
    }?;
    Ok(outside as f64 / xs.elem_count() as f64)
}

/// The number of values at or below `low` or at or above `high`.
pub(crate) fn count_outside<T: Number>(values: &[T], low: f64, high: f64) -> u64 {
    // The count of a part fits in 32 bits.
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

impl<T: Number> simd::Task for CountOutside<'_, T> {
    type Output = u32;

    /// Counts the values that are not outside, NaN included, and subtracts.
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

fn summarize_slice<T: Number>(values: &[T], range: Option<(f64, f64)>, bins: usize) -> Summary {
    // With a known range, one pass over the values suffices; otherwise the histogram needs a second pass.
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

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

    /// n = 100,003: the rounding errors of sums of n numbers stay below 1e-12 of the standard deviation. The twin is `f32`.
    #[test]
    fn moments_of_each_type_are_those_of_two_passes() {
        let xs = (wave(100_003) + 0.3).unwrap();
        for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64] {
            let xs = xs.to_dtype(dtype).unwrap();
            let values = xs.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            let own = moments(&xs).unwrap();
            assert_eq!(own.count(), values.len() as u64);
            assert!(
                (own.mean() - mean).abs() < 1e-12 * std && (own.std() / std - 1.0).abs() < 1e-12,
                "{dtype:?}"
            );
            let rough = values.iter().map(|x| *x as f32).sum::<f32>() / n as f32;
            assert!((f64::from(rough) - mean).abs() > 1e-12 * std || dtype == DType::I64, "{dtype:?}");
            let summary = summarize(&xs, None, 3).unwrap();
            assert_eq!((own.mean(), own.std()), (summary.mean, summary.std), "{dtype:?}");
            assert_eq!((own.min(), own.max()), (summary.min, summary.max), "{dtype:?}");
        }
        let table = xs.narrow(0, 0, 100_000).unwrap().reshape((100, 1000)).unwrap();
        let part = table.t().unwrap().narrow(0, 3, 500).unwrap();
        assert_eq!(moments(&part).unwrap(), moments(&part.contiguous().unwrap()).unwrap());
        assert_eq!(moments(&xs.narrow(0, 0, 0).unwrap()).unwrap().count(), 0);
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
