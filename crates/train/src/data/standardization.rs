//! Standardisation: a mean and a standard deviation for each column.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::rows::{self, Law};
use crate::error::Error;

/// The smallest number above 0.
const SMALLEST: f64 = f64::from_bits(1);

/// The mean and the standard deviation of each column, learned on some samples, by which all others are
/// shifted and scaled: `(x - mean)/std`. A column is one number of a sample, whatever shape a sample has.
///
/// The standard deviation is that of the samples, `√(Σ(x - mean)²/n)`. A column of equal numbers has the
/// standard deviation 1 and becomes 0 where it has this number.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_train::data::Standardization;
///
/// let data = Tensor::new(&[[1f32, 7.0], [3.0, 7.0], [100.0, 9.0]], &Device::Cpu)?;
/// let learned = Standardization::learn(&data, &[0, 1])?; // the training part alone
/// assert_eq!((learned.mean(), learned.std()), (&[2.0, 7.0][..], &[1.0, 1.0][..]));
/// assert_eq!(learned.constant_columns(), [1]);
/// let applied = learned.apply(&data)?;
/// assert_eq!(applied.to_vec2::<f32>()?, [[-1.0, 0.0], [1.0, 0.0], [98.0, 2.0]]);
/// assert_eq!(learned.restore(&applied)?.to_vec2::<f32>()?, data.to_vec2::<f32>()?);
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Standardization {
    mean: Vec<f64>,
    std: Vec<f64>,
    constant: Vec<usize>,
}

/// The serialised form, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    mean: Vec<f64>,
    std: Vec<f64>,
    constant: Vec<usize>,
}

impl TryFrom<Stored> for Standardization {
    type Error = Error;

    fn try_from(Stored { mean, std, constant }: Stored) -> Result<Self, Error> {
        let made = Self { mean, std, constant };
        let columns = made.mean.len();
        let is_finite = made.mean.iter().chain(&made.std).all(|x| x.is_finite());
        if made.std.len() == columns
            && columns > 0
            && is_finite
            && made.std.iter().all(|std| *std > 0.0)
            && made.constant.iter().all(|column| *column < columns)
        {
            Ok(made)
        } else {
            Err(Error::Standardization)
        }
    }
}

/// What is known of a column after the first look: its range.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// The power of two that scales the numbers to a largest magnitude between 1/2 and 2, as two factors: a
    /// single one could overflow for subnormal numbers.
    fn scale(self) -> (f64, f64) {
        let largest = self.low.abs().max(self.high.abs());
        let exponent = if largest > 0.0 { -(libm::ilogb(largest)) } else { 0 };
        let half = exponent / 2;
        (libm::ldexp(1.0, half), libm::ldexp(1.0, exponent - half))
    }
}

impl Standardization {
    /// Learns mean and standard deviation on some samples of a tensor `[samples, …]`, in `f64` and two passes.
    /// Each column is scaled by a power of two, which is exact, so that neither sums nor squares overflow or
    /// vanish; the second pass corrects the mean of the first.
    ///
    /// # Errors
    /// There is no sample, or one that the tensor does not have, or a number that is not finite: its sample
    /// and column are named, from 0.
    pub fn learn(data: &Tensor, samples: &[usize]) -> Result<Self, Error> {
        Self::learn_filled(data, samples, &[])
    }

    /// Learns one mean and one standard deviation for all numbers of some samples, whatever their column, as for
    /// the pixels of images: a pixel that is always 0 stays as far from the others as it was.
    ///
    /// # Errors
    /// As [`learn`](Self::learn).
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_train::data::Standardization;
    ///
    /// let images = Tensor::new(&[[0u8, 2], [0, 6]], &Device::Cpu)?;
    /// let learned = Standardization::learn_whole(&images, &[0, 1])?;
    /// assert_eq!((learned.mean(), learned.std()[0]), (&[2.0, 2.0][..], 6f64.sqrt()));
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn learn_whole(data: &Tensor, samples: &[usize]) -> Result<Self, Error> {
        Self::learn_whole_filled(data, samples, &[])
    }

    /// As [`learn_whole`](Self::learn_whole), with other numbers for NaN.
    pub(super) fn learn_whole_filled(data: &Tensor, samples: &[usize], fill: &[f64]) -> Result<Self, Error> {
        let by_column = Self::learn_filled(data, samples, fill)?;
        let columns = by_column.mean.len();
        // No square overflows or vanishes beside the largest number.
        let largest = by_column.mean.iter().chain(&by_column.std).fold(0f64, |m, x| m.max(x.abs()));
        let mean = by_column.mean.iter().map(|mean| mean / columns as f64).sum::<f64>();
        let mut std: Vec<f64> = by_column.std.clone();
        by_column.constant.iter().for_each(|column| std[*column] = 0.0);
        let square = |x: f64| (x / largest) * (x / largest);
        let squares = by_column.mean.iter().zip(&std).map(|(x, std)| square(*std) + square(x - mean));
        let std = (squares.sum::<f64>() / columns as f64).sqrt() * largest;
        Self::uniform(columns, mean, if std > 0.0 { std } else { 1.0 })
    }

    /// As [`learn`](Self::learn), with other numbers for NaN.
    pub(super) fn learn_filled(data: &Tensor, samples: &[usize], fill: &[f64]) -> Result<Self, Error> {
        let (count, columns) = rows::shape(data)?;
        rows::check(samples, count)?;
        let data = rows::held(data)?;
        let mut ranges = vec![Range { low: f64::INFINITY, high: f64::NEG_INFINITY }; columns];
        let mut bad = None;
        rows::for_rows(&data, samples, fill, |sample, row| {
            for (column, (x, range)) in row.iter().zip(&mut ranges).enumerate() {
                if !x.is_finite() && bad.is_none() {
                    bad = Some(Error::NotFinite { sample, column, value: *x });
                }
                *range = Range { low: range.low.min(*x), high: range.high.max(*x) };
            }
        })?;
        if let Some(bad) = bad {
            return Err(bad);
        }
        let scales: Vec<(f64, f64)> = ranges.iter().map(|range| range.scale()).collect();
        let n = samples.len() as f64;
        let mut means = vec![0.0; columns];
        rows::for_rows(&data, samples, fill, |_, row| {
            for ((sum, x), (a, b)) in means.iter_mut().zip(row).zip(&scales) {
                *sum += x * a * b;
            }
        })?;
        means.iter_mut().for_each(|sum| *sum /= n);
        let mut deviations = vec![(0.0, 0.0); columns];
        rows::for_rows(&data, samples, fill, |_, row| {
            for (((sums, x), (a, b)), mean) in deviations.iter_mut().zip(row).zip(&scales).zip(&means) {
                let deviation = x * a * b - mean;
                *sums = (sums.0 + deviation, sums.1 + deviation * deviation);
            }
        })?;
        let mut learned = Self { mean: Vec::new(), std: Vec::new(), constant: Vec::new() };
        for (column, range) in ranges.iter().enumerate() {
            let ((sum, squares), (a, b)) = (deviations[column], scales[column]);
            if range.low == range.high {
                learned.constant.push(column);
                learned.mean.push(range.low);
                learned.std.push(1.0);
                continue;
            }
            let correction = sum / n;
            let variance = squares / n - correction * correction;
            learned.mean.push((means[column] + correction) / a / b);
            // Numbers that differ have a standard deviation, however small.
            learned.std.push((variance.max(0.0).sqrt() / a / b).max(SMALLEST));
        }
        Ok(learned)
    }

    /// One mean and one standard deviation for all columns, of the user's choice: 0 and 255 take bytes to
    /// 0 to 1.
    ///
    /// # Errors
    /// There is no column, the mean is not finite, or the standard deviation not a finite number above 0.
    pub fn uniform(columns: usize, mean: f64, std: f64) -> Result<Self, Error> {
        Stored { mean: vec![mean; columns], std: vec![std; columns], constant: Vec::new() }.try_into()
    }

    /// The mean of each column, in the data's units.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each column, in the data's units; 1 for a column of equal numbers.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The columns of equal numbers, from 0, rising. They tell a model nothing.
    pub fn constant_columns(&self) -> &[usize] {
        &self.constant
    }

    /// Standardises `[samples, …]`. The result has the data's type and device if that is a floating point
    /// type, else it is `f32`. It is not a part of candle's graph.
    ///
    /// # Errors
    /// The data has another number of columns.
    pub fn apply(&self, data: &Tensor) -> Result<Tensor, Error> {
        let (samples, columns) = rows::shape(data)?;
        self.check_columns(columns)?;
        let dtype = if data.dtype().is_float() { data.dtype() } else { DType::F32 };
        let all: Vec<usize> = (0..samples).collect();
        let applied = rows::converted(&rows::held(data)?, &all, self.law(), dtype)?;
        Ok(applied.to_device(data.device())?)
    }

    /// Takes standardised numbers back, `x·std + mean`: the predictions of targets.
    ///
    /// # Errors
    /// The data has another number of columns.
    pub fn restore(&self, data: &Tensor) -> Result<Tensor, Error> {
        let (_, columns) = rows::shape(data)?;
        self.check_columns(columns)?;
        let (wide, device) = (data.to_dtype(DType::F64)?, data.device());
        let shape = (data.dim(0)?, columns);
        let vector = |xs: &[f64]| Tensor::from_slice(xs, columns, device);
        let restored = wide.reshape(shape)?.broadcast_mul(&vector(&self.std)?)?;
        let restored = restored.broadcast_add(&vector(&self.mean)?)?.reshape(data.shape())?;
        Ok(restored.to_dtype(if data.dtype().is_float() { data.dtype() } else { DType::F32 })?)
    }

    pub(super) fn law(&self) -> Law<'_> {
        Law { mean: &self.mean, std: &self.std, ..Law::default() }
    }

    pub(crate) fn check_columns(&self, columns: usize) -> Result<(), Error> {
        let learned = self.mean.len();
        if columns == learned { Ok(()) } else { Err(Error::Columns { columns, learned }) }
    }
}
