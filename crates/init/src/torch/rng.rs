//! PyTorch's CPU generator, to the bit.

use std::f64::consts::PI;

use candle_core::DType;
use half::{bf16, f16};
use rayon::prelude::*;
use wick_kernels::simd::{self, SimdLevel, Task};

use super::math::{ln, sin_cos};
use super::mt19937::Mt19937;
use crate::Distribution;
use crate::distribution::normal_cdf;
use crate::source::Values;

/// PyTorch's CPU generator after `torch.manual_seed(seed)`: draws what `torch` 2.15 draws, to the bit, in the
/// order in which it is asked.
///
/// `normal_`, `uniform_`, `trunc_normal_`, `sparse_` and the schemes made of them are equal for `f32`, `f64`, `bf16`
/// and `f16` (golden values in this crate's tests); `orthogonal_` up to the rounding of its decomposition. Only the
/// low 32 bits of the seed count, as in PyTorch.
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{Initializer, torch::TorchRng};
///
/// // torch.manual_seed(42); torch.rand(3)
/// let mut rng = TorchRng::new(42);
/// let unit = Initializer::Uniform { low: 0.0, high: 1.0 };
/// let drawn = unit.tensor(&mut rng, 3, DType::F32, &Device::Cpu)?.to_vec1::<f32>()?;
/// assert_eq!(drawn.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), [0x3f61dc66, 0x3f6a3db3, 0x3ec406b8]);
/// # Ok::<(), wick_init::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TorchRng {
    engine: Mt19937,
    /// The second normal of a pair drawn one by one, kept for the next.
    cached_normal: Option<f64>,
}

/// From this many elements on, PyTorch draws normals in blocks of sixteen.
const BLOCK: usize = 16;

impl TorchRng {
    /// The generator after `torch.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { engine: Mt19937::new(seed as u32), cached_normal: None }
    }

    /// The next 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        self.engine.next_u32()
    }

    /// Fills with numbers in `[0, 1)`, each from a word.
    fn units(&mut self, out: &mut [f32]) {
        simd::run(SimdLevel::best(), Units { engine: &mut self.engine, out });
    }

    fn unit_f64(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        let word = u64::from(self.word()) << 32 | u64::from(self.word());
        (word & ((1 << 53) - 1)) as f64 * SCALE
    }

    /// Draws a tensor's elements, rounded to the type if that is narrower than `f32`.
    pub(crate) fn draw(&mut self, distribution: Distribution, count: usize, dtype: DType) -> Values {
        match distribution {
            Distribution::Constant(value) if dtype == DType::F64 => Values::F64(vec![value; count]),
            Distribution::Constant(value) => Values::F32(vec![value as f32; count]),
            Distribution::Normal { mean, std } if dtype == DType::F64 => {
                Values::F64(self.normal_f64(count, mean, std))
            }
            Distribution::Normal { mean, std } => Values::F32(self.normal(count, mean, std, dtype)),
            Distribution::Uniform { low, high } if dtype == DType::F64 => {
                let mut draw = || below(high, low, self.unit_f64().mul_add(high - low, low));
                Values::F64((0..count).map(|_| draw()).collect())
            }
            Distribution::Uniform { low, high } => Values::F32(self.uniform(count, low, high, dtype)),
            Distribution::TruncatedNormal { mean, std, low, high } => {
                self.truncated_normal(count, (mean, std), (low, high), dtype)
            }
        }
    }

    fn uniform(&mut self, count: usize, low: f64, high: f64, dtype: DType) -> Vec<f32> {
        let mut data = vec![0.0; count];
        self.units(&mut data);
        let (low, high) = (low as f32, high as f32);
        in_parallel(&mut data, |part| simd::run(SimdLevel::best(), Interval { data: part, low, high }));
        if dtype != DType::F32 {
            let (first, end) = (round(low, dtype), round(high, dtype));
            for x in &mut data {
                *x = below(end, first, round(*x, dtype));
            }
        }
        data
    }

    fn normal(&mut self, count: usize, mean: f64, std: f64, dtype: DType) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| round(self.one_normal(mean, std) as f32, dtype)).collect();
        }
        let mut data = vec![0.0; count];
        // The narrow types draw nothing for what the tail will overwrite.
        let first = if dtype == DType::F32 { count } else { count - count % BLOCK };
        self.units(&mut data[..first]);
        let (mean, std) = (mean as f32, std as f32);
        let blocks = |data: &mut [f32]| simd::run(SimdLevel::best(), NormalBlocks { data, mean, std });
        in_parallel(&mut data, blocks);
        if !count.is_multiple_of(BLOCK) {
            // The last sixteen again, over what is finished of them.
            let tail = &mut data[count - BLOCK..];
            self.units(tail);
            blocks(tail);
        }
        if dtype != DType::F32 {
            for x in &mut data {
                *x = round(*x, dtype);
            }
        }
        data
    }

    fn normal_f64(&mut self, count: usize, mean: f64, std: f64) -> Vec<f64> {
        if count < BLOCK {
            return (0..count).map(|_| self.one_normal(mean, std)).collect();
        }
        let block = |d: &mut [f64]| {
            for j in 0..BLOCK / 2 {
                let (u1, u2) = (1.0 - d[j], d[j + BLOCK / 2]);
                let r = (-2.0 * u1.ln()).sqrt();
                let (sin, cos) = (2.0 * PI * u2).sin_cos();
                d[j] = (r * cos).mul_add(std, mean);
                d[j + BLOCK / 2] = (r * sin).mul_add(std, mean);
            }
        };
        let mut data: Vec<f64> = (0..count).map(|_| self.unit_f64()).collect();
        data.chunks_exact_mut(BLOCK).for_each(block);
        if !count.is_multiple_of(BLOCK) {
            let tail = &mut data[count - BLOCK..];
            tail.fill_with(|| self.unit_f64());
            block(tail);
        }
        data
    }

    /// One normal by itself, in `f64`, from a pair of which the other is kept.
    fn one_normal(&mut self, mean: f64, std: f64) -> f64 {
        let z = self.cached_normal.take().unwrap_or_else(|| {
            let (u1, u2) = (self.unit_f64(), self.unit_f64());
            let r = (-2.0 * (-u2).ln_1p()).sqrt();
            let angle = 2.0 * PI * u1;
            self.cached_normal = Some(r * angle.sin());
            r * angle.cos()
        });
        z.mul_add(std, mean)
    }

    /// `trunc_normal_`: normals drawn again where they are outside, or, where few would be inside, uniforms
    /// kept with the density's chance. Each time a whole tensor is drawn.
    fn truncated_normal(
        &mut self,
        count: usize,
        (mean, std): (f64, f64),
        (low, high): (f64, f64),
        dtype: DType,
    ) -> Values {
        if std == 0.0 {
            // All of it is at the mean, which then lies in the window.
            return self.draw(Distribution::Constant(mean), count, dtype);
        }
        let inside = normal_cdf((high - mean) / std) - normal_cdf((low - mean) / std);
        let wide = dtype == DType::F64;
        let exact = |x: f64| if wide { x } else { f64::from(round(x as f32, dtype)) };
        let mut draw = |distribution| self.draw(distribution, count, dtype).into_f64();
        let mut values;
        if inside > 0.3 {
            let normal = Distribution::Normal { mean, std };
            let outside = |x: f64| x < exact(low) || x > exact(high);
            values = draw(normal);
            while values.iter().any(|&x| outside(x)) {
                for (x, again) in values.iter_mut().zip(draw(normal)) {
                    if outside(*x) {
                        *x = again;
                    }
                }
            }
        } else {
            let peak = -0.5 * ((mean.clamp(low, high) - mean) / std).powi(2);
            let (proposal, unit) =
                (Distribution::Uniform { low, high }, Distribution::Uniform { low: 0.0, high: 1.0 });
            // Each step is rounded to the type, as tensors are; of the scalars, what is subtracted is, and the divisor
            // of a narrow type is an `f32`.
            let divisor = if wide { std } else { f64::from(std as f32) };
            let log_density = |x: f64| {
                let z = exact(exact(x - exact(mean)) / divisor);
                exact(exact(exact(z * z) * -0.5) - exact(peak))
            };
            values = draw(proposal);
            let mut candidates = values.clone();
            let mut pending = vec![true; count];
            loop {
                for ((pending, x), u) in pending.iter_mut().zip(&candidates).zip(draw(unit)) {
                    let log = if wide { u.ln() } else { f64::from(round(log_of(u as f32), dtype)) };
                    *pending = *pending && log > log_density(*x);
                }
                if !pending.contains(&true) {
                    break;
                }
                candidates = draw(proposal);
                for ((x, again), _) in values.iter_mut().zip(&candidates).zip(&pending).filter(|(_, p)| **p) {
                    *x = *again;
                }
            }
        }
        if wide { Values::F64(values) } else { Values::F32(values.into_iter().map(|x| x as f32).collect()) }
    }
}

/// A number that rounding has taken to the end of an interval, which is not in it, becomes the first one: PyTorch's
/// `uniform_` in every type.
#[inline(always)]
fn below<T: PartialEq>(end: T, first: T, x: T) -> T {
    if x == end { first } else { x }
}

/// `ln` with -∞ at 0.
fn log_of(u: f32) -> f32 {
    if u == 0.0 { f32::NEG_INFINITY } else { ln(u) }
}

/// Rounds to a narrower type and back.
fn round(x: f32, dtype: DType) -> f32 {
    match dtype {
        DType::BF16 => bf16::from_f32(x).to_f32(),
        DType::F16 => f16::from_f32(x).to_f32(),
        _ => x,
    }
}

/// Runs over parts of whole blocks, on every core.
fn in_parallel(data: &mut [f32], of_part: impl Fn(&mut [f32]) + Sync + Send) {
    data.par_chunks_mut(1024 * BLOCK).for_each(of_part);
}

/// Words to numbers in `[0, 1)`, of 24 bits.
struct Units<'a> {
    engine: &'a mut Mt19937,
    out: &'a mut [f32],
}

impl Task for Units<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const SCALE: f32 = 1.0 / (1 << 24) as f32;
        self.engine.fill(self.out, |word| (word & 0x00ff_ffff) as f32 * SCALE);
    }
}

/// Numbers in `[0, 1)` to numbers in `[low, high)`.
struct Interval<'a> {
    data: &'a mut [f32],
    low: f32,
    high: f32,
}

impl Task for Interval<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.data {
            *x = below(self.high, self.low, x.mul_add(self.high - self.low, self.low));
        }
    }
}

/// Sixteen uniforms to sixteen normals, block after block; a rest is left alone.
struct NormalBlocks<'a> {
    data: &'a mut [f32],
    mean: f32,
    std: f32,
}

impl Task for NormalBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const HALF: usize = BLOCK / 2;
        let (blocks, _) = self.data.as_chunks_mut::<BLOCK>();
        for block in blocks {
            let (first, second) = block.split_at_mut(HALF);
            for j in 0..HALF {
                let r = (-2.0 * ln(1.0 - first[j])).sqrt();
                let (sin, cos) = sin_cos((2.0 * PI) as f32 * second[j]);
                first[j] = (r * cos).mul_add(self.std, self.mean);
                second[j] = (r * sin).mul_add(self.std, self.mean);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Initializer;
    use candle_core::Device;

    fn truncated(std: f64, low: f64, high: f64) -> Result<Vec<f64>, crate::Error> {
        let scheme = Initializer::TruncatedNormal { mean: 0.0, std, low, high };
        let drawn = scheme.tensor(&mut TorchRng::new(1), 500, DType::F64, &Device::Cpu)?;
        Ok(drawn.to_vec1()?)
    }

    #[test]
    fn a_window_that_would_take_for_ever_is_refused_and_one_beside_it_is_not() {
        let error = truncated(1.0, 3.0, 1e7).unwrap_err().to_string();
        assert!(error.starts_with("high = 10000000 is out of range"), "{error}");
        assert!(truncated(1.0, -1e7, -3.0).is_err());
        for (low, high) in [(3.0, 5.0), (-20.0, -8.0), (-1e7, 1e7), (2.0, 2.0)] {
            let drawn = truncated(1.0, low, high).unwrap();
            assert!(drawn.iter().all(|x| (low..=high).contains(x)), "{low} {high}");
        }
    }

    #[test]
    fn without_width_all_is_at_the_mean() {
        assert_eq!(truncated(0.0, -1.0, 2.0).unwrap(), [0.0; 500]);
    }
}
