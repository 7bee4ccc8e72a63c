//! The units of a layer: which are dead, which are copies, and how similar the samples are.

use candle_core::{DType, Device, Result, Tensor};
use wick_theory::{Activation, BatchGeometry};

/// What the units of a layer do over the samples of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Units {
    /// How many units the layer has.
    pub count: usize,
    /// The fraction of units that have the same value for every sample.
    pub constant: f64,
    /// The fraction of units that equal an earlier unit for every sample; constant units do not count.
    pub copies: f64,
    /// The samples: their lengths and cosines.
    pub batch: BatchGeometry,
}

/// Larger batches are subsampled to this many samples.
pub(crate) const MAX_SAMPLES: usize = 256;

/// Two units are copies if their sums differ by at most this fraction of the sum of magnitudes, which is more
/// than the rounding of `f32` products.
const COPY_TOLERANCE: f64 = 1e-6;

impl Units {
    /// The units of a tensor: its last dimension, or its second of four or five, `[batch, channel, …]`. All
    /// other dimensions count as samples; of more than 256 samples, 256 evenly spaced ones are read. The
    /// result is `None` for a tensor of one dimension or one sample.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use wick_probe::Units;
    ///
    /// // One of the four units is always 0, and one is a copy.
    /// let h = Tensor::new(&[[0.0f32, 1.0, 2.0, 1.0], [0.0, 3.0, -1.0, 3.0]], &Device::Cpu)?;
    /// let units = Units::of(&h)?.expect("two dimensions");
    /// assert_eq!((units.count, units.constant, units.copies), (4, 0.25, 0.25));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn of(xs: &Tensor) -> Result<Option<Self>> {
        Ok(rows(xs)?.map(|(values, count, samples)| {
            let units = Self::of_rows(&values, count);
            Self { batch: BatchGeometry { samples, ..units.batch }, ..units }
        }))
    }

    fn of_rows(values: &[f64], count: usize) -> Self {
        let mut constant = vec![true; count];
        // Two weighted sums and the sum of magnitudes. Only copies have equal weighted sums, up to rounding.
        let mut sums = vec![[0.0f64; 3]; count];
        for (sample, row) in values.chunks_exact(count).enumerate() {
            let index = sample as f64;
            let factors = [(1.0 + index).sqrt().fract() + 0.5, (2.0 + index).cbrt().fract() - 1.5];
            for (((&x, first), constant), sums) in row.iter().zip(values).zip(&mut constant).zip(&mut sums) {
                *constant &= x == *first;
                sums[0] += x * factors[0];
                sums[1] += x * factors[1];
                sums[2] += x.abs();
            }
        }
        let mut living: Vec<[f64; 3]> = sums
            .into_iter()
            .zip(&constant)
            .filter(|(_, constant)| !**constant)
            .map(|(sums, _)| sums)
            .collect();
        living.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let equal =
            |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).all(|(x, y)| (x - y).abs() <= COPY_TOLERANCE * a[2]);
        let copies = living.windows(2).filter(|pair| equal(&pair[0], &pair[1])).count();
        Self {
            count,
            constant: (count - living.len()) as f64 / count as f64,
            copies: copies as f64 / count as f64,
            batch: BatchGeometry::of(values, count),
        }
    }
}

/// At most 256 evenly spaced samples of a tensor, row by row; how many units it has, and how many samples in
/// all. The result is `None` for a tensor without units or with fewer than two samples.
fn rows(xs: &Tensor) -> Result<Option<(Vec<f64>, usize, usize)>> {
    let last = match xs.rank() {
        0 | 1 => return Ok(None),
        4 | 5 => xs.transpose(1, xs.rank() - 1)?,
        _ => xs.clone(),
    };
    let count = last.dim(last.rank() - 1)?;
    let samples = xs.elem_count() / count.max(1);
    if samples < 2 {
        return Ok(None);
    }
    let mut rows = last.detach().reshape((samples, count))?;
    if samples > MAX_SAMPLES {
        let chosen: Vec<u32> = (0..MAX_SAMPLES).map(|row| (row * samples / MAX_SAMPLES) as u32).collect();
        rows = rows.index_select(&Tensor::from_vec(chosen, MAX_SAMPLES, rows.device())?, 0)?;
    }
    let values = rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(Some((values, count, samples)))
}

/// The mean of `φ'²` over the pre-activations of at most 256 samples.
pub(crate) fn slope_square(activation: Activation, pre_activation: &Tensor) -> Result<Option<f64>> {
    Ok(rows(pre_activation)?.map(|(values, ..)| {
        values.iter().map(|&x| activation.derivative(x).powi(2)).sum::<f64>() / values.len() as f64
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_constants_are_counted() {
        let rows: Vec<f32> = (0..40u8)
            .flat_map(|sample| {
                let a = f32::from(sample).sin();
                // A unit, a copy up to rounding, its negative, nearly a copy, a constant.
                [a, a * (1.0 + 1e-7), -a, a * 1.001, 3.0]
            })
            .collect();
        let units = Units::of(&Tensor::from_vec(rows, (40, 5), &Device::Cpu).unwrap()).unwrap().unwrap();
        assert_eq!((units.constant, units.copies), (0.2, 0.2));
        // The channels of an image are units; its pixels are samples.
        let image = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((2, 3, 2, 2)).unwrap();
        assert_eq!(Units::of(&image).unwrap().map(|units| units.count), Some(3));
        let one_sample = Tensor::zeros((1, 4), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(Units::of(&one_sample).unwrap(), None);
    }
}
