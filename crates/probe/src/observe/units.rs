//! The units of a layer: which are dead, which are copies, and how similar the samples are.

use std::sync::LazyLock;

use candle_core::{Result, Tensor};
use wick_kernels::SimdLevel;
use wick_kernels::simd;
use wick_theory::{Activation, BatchGeometry};

use crate::observe::rows::{rows, rows_of_f32};

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
    /// The constant units, rising.
    pub(crate) constants: Vec<usize>,
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
        let units = simd::run(SimdLevel::best(), OfRows { values, count });
        let samples = (values.len() / count) as f64;
        let largest = units.iter().fold(0.0f64, |largest, unit| largest.max(unit.most));
        let smallest = units.iter().fold(f64::INFINITY, |smallest, unit| smallest.min(unit.smallest));
        let is_one = |row: &[f64]| (row.iter().sum::<f64>() - 1.0).abs() < SUM_TOLERANCE;
        let probabilities = smallest >= 0.0 && count > 1 && values.chunks_exact(count).all(is_one);
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
        let constants: Vec<usize> = (0..count).filter(|&unit| !units[unit].varies).collect();
        Self {
            count,
            constant: fraction(constants.len()),
            always_on: if smallest >= 0.0 { always_on } else { 0.0 },
            copies: fraction(copies),
            spread: within / (within + between).max(f64::MIN_POSITIVE),
            probabilities,
            batch: simd::run(SimdLevel::best(), Geometry { values, count }),
            constants,
        }
    }
}

/// The weights of the samples in the two sums that only copies have in common.
static FACTORS: LazyLock<[[f64; 2]; MAX_SAMPLES]> = LazyLock::new(|| {
    std::array::from_fn(|sample| {
        let index = sample as f64;
        [(1.0 + index).sqrt().fract() + 0.5, (2.0 + index).cbrt().fract() - 1.5]
    })
});

/// One unit over the samples.
#[derive(Debug, Clone, Copy)]
struct Unit {
    varies: bool,
    /// The sum of the differences from the first value, and that of their squares.
    sum: f64,
    squares: f64,
    /// The least and the largest magnitude, and the smallest value.
    least: f64,
    most: f64,
    smallest: f64,
    /// Two weighted sums and the sum of magnitudes. Only copies have equal weighted sums, up to rounding.
    sums: [f64; 3],
}

impl Unit {
    fn variance(&self, samples: f64) -> f64 {
        (self.squares / samples - (self.sum / samples).powi(2)).max(0.0)
    }
}

/// The units of rows of numbers, at most [`MAX_SAMPLES`]. No operation is fused, and each unit adds up its numbers
/// in the order of the samples, so that the bits are the same with every vector unit.
struct OfRows<'a> {
    values: &'a [f64],
    count: usize,
}

impl simd::Task for OfRows<'_> {
    type Output = Vec<Unit>;

    #[inline(always)]
    fn run(self) -> Vec<Unit> {
        const LANES: usize = 8;
        let mut units = Vec::with_capacity(self.count);
        let whole = self.count / LANES * LANES;
        for first in (0..whole).step_by(LANES) {
            self.some::<LANES>(first, &mut units);
        }
        for first in whole..self.count {
            self.some::<1>(first, &mut units);
        }
        units
    }
}

impl OfRows<'_> {
    /// Adds the units from `first` on, whose sums stay in the registers.
    #[inline(always)]
    fn some<const N: usize>(&self, first: usize, units: &mut Vec<Unit>) {
        let mut firsts = [0.0; N];
        firsts.copy_from_slice(&self.values[first..first + N]);
        let mut varies = [0u64; N];
        let [mut sum, mut squares, mut most, mut a, mut b, mut sizes] = [[0.0f64; N]; 6];
        let [mut least, mut smallest] = [[f64::INFINITY; N]; 2];
        for (row, factors) in self.values.chunks_exact(self.count).zip(FACTORS.iter()) {
            let mut xs = [0.0; N];
            xs.copy_from_slice(&row[first..first + N]);
            for lane in 0..N {
                let x = xs[lane];
                let (size, difference) = (x.abs(), x - firsts[lane]);
                // A NaN differs from itself, and is neither smaller nor larger.
                varies[lane] |= u64::from(x != firsts[lane]);
                sum[lane] += difference;
                squares[lane] += difference * difference;
                least[lane] = if size < least[lane] { size } else { least[lane] };
                most[lane] = if size > most[lane] { size } else { most[lane] };
                smallest[lane] = if x < smallest[lane] { x } else { smallest[lane] };
                a[lane] += x * factors[0];
                b[lane] += x * factors[1];
                sizes[lane] += size;
            }
        }
        for lane in 0..N {
            units.push(Unit {
                varies: varies[lane] != 0,
                sum: sum[lane],
                squares: squares[lane],
                least: least[lane],
                most: most[lane],
                smallest: smallest[lane],
                sums: [a[lane], b[lane], sizes[lane]],
            });
        }
    }
}

/// The geometry of rows of numbers.
struct Geometry<'a> {
    values: &'a [f64],
    count: usize,
}

impl simd::Task for Geometry<'_> {
    type Output = BatchGeometry;

    #[inline(always)]
    fn run(self) -> BatchGeometry {
        BatchGeometry::of_f64(self.values, self.count)
    }
}

/// Pre-activations of at most 64 samples, and the activation behind them.
#[derive(Debug, Clone)]
pub(crate) struct Slopes {
    activation: Activation,
    values: Vec<f32>,
}

impl Slopes {
    /// A copy of the pre-activations in the buffer; `None` if they are not of `f32` on the CPU, or have no samples.
    pub(crate) fn of(
        activation: Activation,
        pre_activation: &Tensor,
        axis: Option<usize>,
        buffer: Vec<f32>,
    ) -> Option<Self> {
        let values = rows_of_f32(pre_activation, axis, MAX_SLOPE_SAMPLES, buffer)?;
        Some(Self { activation, values })
    }

    pub(crate) fn into_buffer(self) -> Vec<f32> {
        self.values
    }

    /// The mean of `φ'²`.
    pub(crate) fn mean_square(&self) -> f64 {
        mean_square(self.activation, self.values.iter().copied().map(f64::from))
    }
}

fn mean_square(activation: Activation, values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    // A ReLU has a slope at NaN, and hides it.
    let square = |x: f64| if x.is_nan() { x } else { activation.derivative(x).powi(2) };
    values.map(square).sum::<f64>() / count
}

/// The mean of `φ'²` over the pre-activations of at most 64 samples.
pub(crate) fn slope_square(
    activation: Activation,
    pre_activation: &Tensor,
    axis: Option<usize>,
) -> Result<Option<f64>> {
    Ok(rows(pre_activation, axis, MAX_SLOPE_SAMPLES)?
        .map(|(values, ..)| mean_square(activation, values.into_iter())))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

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

    /// Units have the same bits at every SIMD level, and are those of plain loops, one unit after another.
    #[test]
    fn units_have_the_bits_of_plain_loops() {
        let count = 21;
        let mut values: Vec<f64> = (0..100 * count).map(|i| f64::from((i as f32 * 0.7).sin())).collect();
        values[5] = f64::NAN;
        (0..100).for_each(|sample| values[sample * count + 20] = -3.5);
        let all: Vec<(Vec<Unit>, BatchGeometry)> = SimdLevel::available()
            .map(|level| {
                let rows = OfRows { values: &values, count };
                (simd::run(level, rows), simd::run(level, Geometry { values: &values, count }))
            })
            .collect();
        for (units, geometry) in &all {
            // A NaN makes this text unequal to no other.
            assert_eq!(format!("{units:?} {geometry:?}"), format!("{:?} {:?}", all[0].0, all[0].1));
        }
        for (index, unit) in all[0].0.iter().enumerate().filter(|(index, _)| *index != 5) {
            let of_unit = || values.iter().skip(index).step_by(count);
            let first = values[index];
            let weighted = |which: usize| -> f64 {
                of_unit().zip(FACTORS.iter()).fold(0.0, |sum, (x, factors)| sum + x * factors[which])
            };
            assert_eq!(unit.varies, index != 20);
            assert_eq!(unit.sum, of_unit().fold(0.0, |sum, x| sum + (x - first)));
            assert_eq!(unit.squares, of_unit().fold(0.0, |sum, x| sum + (x - first) * (x - first)));
            assert_eq!(unit.sums[..2], [weighted(0), weighted(1)]);
            assert_eq!(unit.most, of_unit().fold(0.0, |most: f64, x| most.max(x.abs())));
            assert_eq!(unit.smallest, of_unit().fold(f64::INFINITY, |least, x| least.min(*x)));
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
