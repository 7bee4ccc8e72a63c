//! Statistics of a whole tensor.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use crate::{Histogram, Moments};

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
    match on_cpu(xs)? {
        (xs, DType::F64) => with_slice::<f64, _>(&xs, |values| summarize_slice(values, range, bins)),
        (xs, _) => with_slice::<f32, _>(&xs, |values| summarize_slice(values, range, bins)),
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
/// let (low, high) = Activation::Tanh.flat_tails();
/// assert_eq!(wick_kernels::share_outside(&z, low, high)?, 0.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn share_outside(xs: &Tensor, low: f64, high: f64) -> Result<f64> {
    fn count<T: Copy + Into<f64> + Sync>(values: &[T], low: f64, high: f64) -> u64 {
        let block = |block: &[T]| {
            let outside = |&&x: &&T| {
                let x = x.into();
                x <= low || x >= high
            };
            block.iter().filter(outside).count() as u64
        };
        values.par_chunks(BLOCK).map(block).sum()
    }
    let outside = match on_cpu(xs)? {
        (xs, DType::F64) => with_slice::<f64, _>(&xs, |values| count(values, low, high))?,
        (xs, _) => with_slice::<f32, _>(&xs, |values| count(values, low, high))?,
    };
    Ok(outside as f64 / xs.elem_count() as f64)
}

/// The tensor on the CPU, contiguous, in `f64` if it was that or an integer type, else in `f32`, which
/// holds every `bf16` and `f16`.
fn on_cpu(xs: &Tensor) -> Result<(Tensor, DType)> {
    let dtype = match xs.dtype() {
        DType::F32 | DType::BF16 | DType::F16 => DType::F32,
        _ => DType::F64,
    };
    Ok((xs.detach().to_device(&Device::Cpu)?.to_dtype(dtype)?.contiguous()?, dtype))
}

/// A type that a [`CpuStorage`] lends a slice of.
trait Element: Copy + Into<f64> + Sync {
    fn slice(storage: &CpuStorage) -> Option<&[Self]>;
}

impl Element for f32 {
    fn slice(storage: &CpuStorage) -> Option<&[Self]> {
        if let CpuStorage::F32(values) = storage { Some(values) } else { None }
    }
}

impl Element for f64 {
    fn slice(storage: &CpuStorage) -> Option<&[Self]> {
        if let CpuStorage::F64(values) = storage { Some(values) } else { None }
    }
}

/// Calls with the elements of a contiguous CPU tensor, where they lie.
fn with_slice<T: Element, R>(xs: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = xs.storage_and_layout();
    let values = match &*storage {
        Storage::Cpu(storage) => T::slice(storage),
        _ => None,
    };
    match (values, layout.contiguous_offsets()) {
        (Some(values), Some((start, end))) => Ok(f(&values[start..end])),
        _ => bail!("a contiguous CPU tensor was expected, not {:?}", xs.dtype()),
    }
}

fn summarize_slice<T: Element>(values: &[T], range: Option<(f64, f64)>, bins: usize) -> Summary {
    // With a range known, one pass over the values does both; else the histogram has to wait for the range.
    let blocks = || values.par_chunks(BLOCK);
    let counted = |low, high| {
        move |block: &[T]| {
            let mut histogram = Histogram::new(low, high, bins);
            histogram.add(block);
            histogram
        }
    };
    let (moments, histograms): (Vec<Moments>, Vec<Histogram>) = match range {
        Some((low, high)) => {
            let count = counted(low, high);
            blocks().map(|block| (Moments::of(block), count(block))).unzip()
        }
        None => {
            let moments: Vec<Moments> = blocks().map(Moments::of).collect();
            let all = merged(&moments);
            (moments, blocks().map(counted(all.min(), all.max())).collect())
        }
    };
    let moments = merged(&moments);
    let (low, high) = range.unwrap_or((moments.min(), moments.max()));
    let mut histogram = Histogram::new(low, high, bins);
    for part in &histograms {
        histogram.merge(part);
    }
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

fn merged(parts: &[Moments]) -> Moments {
    parts.iter().fold(Moments::default(), |mut all, part| {
        all.merge(part);
        all
    })
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
        assert_eq!(share_outside(&xs, -1.5, 3.0).unwrap(), (low + high) / n);
        assert_eq!(share_outside(&xs, f64::NEG_INFINITY, 3.0).unwrap(), high / n);
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
