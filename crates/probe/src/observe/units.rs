//! The units of a layer: which are dead, which are copies, and how similar the samples are.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};
use wick_theory::{Activation, BatchGeometry};

/// What the units of a layer do over the samples of a batch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Units {
    /// How many units the layer has.
    pub count: usize,
    /// The fraction of units that have the same value for every sample.
    pub constant: f64,
    /// The fraction of units that are above 0 for every sample, if no value of the layer is below 0; else 0. By
    /// chance a ReLU is as often on for every sample as it is off.
    pub always_on: f64,
    /// The fraction of units that equal an earlier unit for every sample. Units that are constant, or at the
    /// largest magnitude of the layer for every sample, as those of a saturated tanh are, do not count.
    pub copies: f64,
    /// The fraction of the units' mean square, about the mean of the layer, that is their variance over the
    /// samples: near 0 if all samples are alike.
    pub spread: f64,
    /// Whether the values of each sample are probabilities: none is negative, and they add up to 1.
    pub probabilities: bool,
    /// The samples: their lengths and cosines.
    pub batch: BatchGeometry,
    /// The only value of each constant unit.
    pub(crate) only: Vec<Option<f64>>,
}

/// Larger batches are subsampled to this many samples.
pub(crate) const MAX_SAMPLES: usize = 256;

/// The mean of `φ'²` is taken over this many samples.
const MAX_SLOPE_SAMPLES: usize = 64;

/// Two units are copies if their sums differ by at most this fraction of the sum of magnitudes, which is more
/// than the rounding of `f32` products.
const COPY_TOLERANCE: f64 = 1e-6;

/// A unit whose values are all of at least this fraction of the layer's largest magnitude is saturated.
const SATURATED_FRACTION: f64 = 0.98;

/// Probabilities add up to 1 up to the rounding of `bf16`.
const SUM_TOLERANCE: f64 = 0.02;

impl Units {
    /// The units of a tensor: its last dimension, or its second of four or five, `[batch, channel, …]`. All
    /// other dimensions count as samples; of more than 256 samples, 256 are read, one of each of equal parts by a
    /// hash. The result is `None` for a tensor of one dimension or one sample.
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
        Self::along(xs, None)
    }

    /// Does the same for units along the given axis, counted from 0: 1 for `[batch, channel, length]`. Without
    /// an axis, or if the tensor does not have it, they are where [`of`](Self::of) looks for them.
    ///
    /// # Errors
    /// If the device cannot hand over the values.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use wick_probe::Units;
    ///
    /// let h = Tensor::zeros((8, 3, 20), DType::F32, &Device::Cpu)?;
    /// assert_eq!(Units::along(&h, Some(1))?.map(|units| units.count), Some(3));
    /// assert_eq!(Units::of(&h)?.map(|units| units.count), Some(20));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn along(xs: &Tensor, axis: Option<usize>) -> Result<Option<Self>> {
        Ok(rows(xs, axis, MAX_SAMPLES)?.map(|(values, count, samples)| {
            let units = Self::of_rows(&values, count);
            Self { batch: BatchGeometry { samples, ..units.batch }, ..units }
        }))
    }

    fn of_rows(values: &[f64], count: usize) -> Self {
        let samples = (values.len() / count) as f64;
        let largest = values.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let mut probabilities = smallest >= 0.0 && count > 1;
        let mut units = vec![Unit::default(); count];
        for (sample, row) in values.chunks_exact(count).enumerate() {
            let index = sample as f64;
            let factors = [(1.0 + index).sqrt().fract() + 0.5, (2.0 + index).cbrt().fract() - 1.5];
            for ((&x, &first), unit) in row.iter().zip(values).zip(&mut units) {
                unit.add(x, first, factors);
            }
            probabilities = probabilities && (row.iter().sum::<f64>() - 1.0).abs() < SUM_TOLERANCE;
        }
        let is_living = |unit: &&Unit| unit.varies && unit.least < SATURATED_FRACTION * largest;
        let mut living: Vec<[f64; 3]> = units.iter().filter(is_living).map(|unit| unit.sums).collect();
        living.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let equal =
            |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).all(|(x, y)| (x - y).abs() <= COPY_TOLERANCE * a[2]);
        let copies = living.windows(2).filter(|pair| equal(&pair[0], &pair[1])).count();
        let fraction = |n: usize| n as f64 / count as f64;
        let means = || units.iter().zip(values).map(|(unit, first)| first + unit.sum / samples);
        let mean = means().sum::<f64>() / count as f64;
        let within: f64 = units.iter().map(|unit| unit.variance(samples)).sum();
        let between: f64 = means().map(|of_unit| (of_unit - mean).powi(2)).sum();
        let always_on = fraction(units.iter().filter(|unit| unit.least > 0.0).count());
        let only = units.iter().zip(values).map(|(unit, x)| (!unit.varies).then_some(*x));
        Self {
            count,
            constant: fraction(units.iter().filter(|unit| !unit.varies).count()),
            always_on: if smallest >= 0.0 { always_on } else { 0.0 },
            copies: fraction(copies),
            spread: within / (within + between).max(f64::MIN_POSITIVE),
            probabilities,
            batch: BatchGeometry::of(values, count),
            only: only.collect(),
        }
    }
}

/// One unit over the samples.
#[derive(Debug, Clone)]
struct Unit {
    varies: bool,
    /// The sum of the differences from the first value, and that of their squares.
    sum: f64,
    squares: f64,
    /// The least magnitude.
    least: f64,
    /// Two weighted sums and the sum of magnitudes. Only copies have equal weighted sums, up to rounding.
    sums: [f64; 3],
}

impl Default for Unit {
    fn default() -> Self {
        Self { varies: false, sum: 0.0, squares: 0.0, least: f64::INFINITY, sums: [0.0; 3] }
    }
}

impl Unit {
    fn add(&mut self, x: f64, first: f64, factors: [f64; 2]) {
        let (size, difference) = (x.abs(), x - first);
        // A NaN differs from itself.
        self.varies |= x != first;
        self.sum += difference;
        self.squares += difference * difference;
        self.least = self.least.min(size);
        self.sums[0] += x * factors[0];
        self.sums[1] += x * factors[1];
        self.sums[2] += size;
    }

    fn variance(&self, samples: f64) -> f64 {
        (self.squares / samples - (self.sum / samples).powi(2)).max(0.0)
    }
}

/// Samples of a tensor, row by row, at most `most` and [chosen by a hash](BatchGeometry::choose); how many units it
/// has, and how many samples in all. The result is `None` for a tensor without units or with fewer than two
/// samples.
fn rows(xs: &Tensor, axis: Option<usize>, most: usize) -> Result<Option<(Vec<f64>, usize, usize)>> {
    let rank = xs.rank();
    if rank < 2 {
        return Ok(None);
    }
    let axis = axis.filter(|axis| *axis < rank).unwrap_or(if rank == 4 || rank == 5 { 1 } else { rank - 1 });
    let count = xs.dim(axis)?;
    let samples = xs.elem_count() / count.max(1);
    if samples < 2 {
        return Ok(None);
    }
    let chosen = BatchGeometry::choose(samples, most);
    if let Some(values) = gathered(xs, axis, &chosen) {
        return Ok(Some((values, count, samples)));
    }
    let mut rows = xs.detach().transpose(axis, rank - 1)?.reshape((samples, count))?;
    if samples > most {
        let chosen = chosen.into_iter().map(|row| row as u32).collect();
        rows = rows.index_select(&Tensor::from_vec(chosen, most, rows.device())?, 0)?;
    }
    let values = rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(Some((values, count, samples)))
}

/// The chosen rows along an axis, read where they are, of a tensor of `f32` on the CPU; `None` for others.
fn gathered(xs: &Tensor, axis: usize, chosen: &[usize]) -> Option<Vec<f64>> {
    let (storage, layout) = xs.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(numbers)) = &*storage else { return None };
    let (mut dims, mut strides) = (layout.dims().to_vec(), layout.stride().to_vec());
    // The order of the rows is that of a tensor with the axis and the last one exchanged.
    let last = dims.len() - 1;
    dims.swap(axis, last);
    strides.swap(axis, last);
    let (count, stride) = (dims[last], strides[last]);
    let mut values = Vec::with_capacity(chosen.len() * count);
    for row in chosen {
        let (mut rest, mut from) = (*row, layout.start_offset());
        for (dim, stride) in dims[..last].iter().zip(&strides[..last]).rev() {
            from += rest % dim * stride;
            rest /= dim;
        }
        values.extend(
            (0..count).map(|unit| numbers.get(from + unit * stride).map_or(f64::NAN, |x| f64::from(*x))),
        );
    }
    Some(values)
}

/// The mean of `φ'²` over the pre-activations of at most 64 samples.
pub(crate) fn slope_square(
    activation: Activation,
    pre_activation: &Tensor,
    axis: Option<usize>,
) -> Result<Option<f64>> {
    Ok(rows(pre_activation, axis, MAX_SLOPE_SAMPLES)?.map(|(values, ..)| {
        values.iter().map(|&x| activation.derivative(x).powi(2)).sum::<f64>() / values.len() as f64
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(values: Vec<f32>, shape: impl Into<candle_core::Shape>) -> Units {
        Units::of(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn copies_and_constants_are_counted() {
        let rows: Vec<f32> = (0..40u8)
            .flat_map(|sample| {
                let a = f32::from(sample).sin();
                // A unit, a copy up to rounding, its negative, nearly a copy, a constant.
                [a, a * (1.0 + 1e-7), -a, a * 1.001, 3.0]
            })
            .collect();
        let found = units(rows, (40, 5));
        assert_eq!((found.constant, found.copies), (0.2, 0.2));
        // The channels of an image are units; its pixels are samples.
        let image = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((2, 3, 2, 2)).unwrap();
        assert_eq!(Units::of(&image).unwrap().map(|units| units.count), Some(3));
        let one_sample = Tensor::zeros((1, 4), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(Units::of(&one_sample).unwrap(), None);
    }

    /// Units at +1 or -1 agree by chance, and are no copies; the same units a quarter as large, beside one that
    /// is larger, are.
    #[test]
    fn saturated_units_are_no_copies() {
        let signs = |scale: f32| -> Vec<f32> {
            (0..64u8)
                .flat_map(|sample| {
                    let sign = if sample % 3 == 0 { scale } else { -scale };
                    [sign, sign, f32::from(sample).sin()]
                })
                .collect()
        };
        assert_eq!(units(signs(1.0), (64, 3)).copies, 0.0);
        assert!((units(signs(0.25), (64, 3)).copies - 1.0 / 3.0).abs() < 1e-12);
    }

    /// Samples that differ in nothing but a thousandth have no spread, whatever the scale; a single output of
    /// one sign has, and probabilities are seen as such.
    #[test]
    fn spread_is_about_the_mean_of_the_layer() {
        let of = |offset: f32, unit: f32| -> Vec<f32> {
            (0..400u16).map(|i| f32::from(i % 10) * unit + offset + 1e-3 * f32::from(i).sin()).collect()
        };
        assert!(units(of(0.0, 1.0), (40, 10)).spread < 1e-6);
        assert!(units(of(5.0, 0.0), (40, 10)).spread > 0.8);
        assert!((units(of(5.0, 0.0), (400, 1)).spread - 1.0).abs() < 1e-9);
        let rows: Vec<f32> =
            (0..40u8).flat_map(|i| [0.3 + f32::from(i % 2) * 0.1, 0.7 - f32::from(i % 2) * 0.1]).collect();
        assert!(units(rows.clone(), (40, 2)).probabilities);
        assert!(!units(rows.iter().map(|x| x * 1.1).collect(), (40, 2)).probabilities);
    }

    /// Rows that are read where they are equal those of a copy.
    #[test]
    fn rows_are_read_in_place() {
        let xs = Tensor::arange(0f32, 720.0, &Device::Cpu).unwrap().reshape((4, 6, 5, 6)).unwrap();
        for xs in [xs.clone(), xs.transpose(1, 2).unwrap(), xs.narrow(0, 1, 2).unwrap()] {
            for axis in [1, 3] {
                let wide = xs.to_dtype(DType::F64).unwrap();
                assert_eq!(rows(&xs, Some(axis), 7).unwrap(), rows(&wide, Some(axis), 7).unwrap());
            }
        }
    }

    /// A dark first row of every image does not stand for the images: 64 samples of 28 × 28 pixels, of which
    /// a fixed stride of 196 would see the rows 0, 7, 14 and 21 alone, each at its first pixel.
    #[test]
    fn chosen_pixels_are_everywhere() {
        let pixel = |index: usize| {
            let (sample, at) = (index / 784, index % 784);
            if at % 196 == 0 { 0.5 } else { ((sample * 31 + at * 17) as f32).sin() }
        };
        let image: Vec<f32> = (0..64 * 784).map(pixel).collect();
        let found = units(image, (64, 1, 28, 28));
        assert!(found.constant == 0.0 && found.batch.samples == 64 * 784, "{found:?}");
    }
}
