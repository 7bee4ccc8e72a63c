//! PyTorch's CPU generator, to the bit.

mod loops;
mod math;
mod mt19937;
pub(super) mod truncated;

use std::f64::consts::PI;

use candle_core::DType;

use super::law::Law;
use super::values::Values;
use loops::{BLOCK, below, in_parallel, round};
use mt19937::Mt19937;

/// PyTorch's CPU generator after `torch.manual_seed(seed)`. It draws the bits that `torch` 2.15 draws, in the
/// order of the calls.
///
/// `normal_`, `uniform_`, `trunc_normal_`, `sparse_` and the initializers made of them are equal for `f32`,
/// `f64`, `bf16` and `f16` (golden values in this workspace's tests); `orthogonal_` is equal up to the
/// rounding of its decomposition. Only the low 32 bits of the seed count, as in PyTorch.
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
    seed: u64,
    /// The second normal of a pair that was drawn one by one, kept for the next call.
    cached_normal: Option<f64>,
}

impl TorchRng {
    /// Makes the generator after `torch.manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { engine: Mt19937::new(seed as u32), seed, cached_normal: None }
    }

    /// The seed that the generator was made with, as `torch.initial_seed()`.
    pub fn initial_seed(&self) -> u64 {
        self.seed
    }

    /// Draws the next 32 bits.
    pub(super) fn word(&mut self) -> u32 {
        self.engine.next_u32()
    }

    /// Fills `out` with numbers in `[0, 1)`, each from one word.
    fn units(&mut self, out: &mut [f32]) {
        loops::units(&mut self.engine, out);
    }

    fn unit_f64(&mut self) -> f64 {
        const SCALE: f64 = 1.0 / (1u64 << 53) as f64;
        let word = u64::from(self.word()) << 32 | u64::from(self.word());
        (word & ((1 << 53) - 1)) as f64 * SCALE
    }

    /// Draws a tensor's elements, rounded to the type if that is narrower than `f32`.
    pub(super) fn draw(&mut self, law: Law, count: usize, dtype: DType) -> Values {
        match law {
            Law::Constant(value) if dtype == DType::F64 => Values::F64(vec![value; count]),
            Law::Constant(value) => Values::F32(vec![value as f32; count]),
            Law::Normal { mean, std } if dtype == DType::F64 => {
                Values::F64(self.normal_f64(count, mean, std))
            }
            Law::Normal { mean, std } => Values::F32(self.normal(count, mean, std, dtype)),
            Law::Uniform { low, high } if dtype == DType::F64 => {
                let mut draw = || below(high, low, self.unit_f64().mul_add(high - low, low));
                Values::F64((0..count).map(|_| draw()).collect())
            }
            Law::Uniform { low, high } => Values::F32(self.uniform(count, low, high, dtype)),
            Law::TruncatedNormal { mean, std, low, high } => {
                truncated::draw((mean, std), (low, high), dtype, |law| self.draw(law, count, dtype))
            }
        }
    }

    fn uniform(&mut self, count: usize, low: f64, high: f64, dtype: DType) -> Vec<f32> {
        let mut data = vec![0.0; count];
        self.units(&mut data);
        let (low, high) = (low as f32, high as f32);
        in_parallel(&mut data, |part| loops::interval(part, low, high));
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
        // PyTorch draws no words of a narrow type for the elements that the tail overwrites.
        let first = if dtype == DType::F32 { count } else { count - count % BLOCK };
        self.units(&mut data[..first]);
        let (mean, std) = (mean as f32, std as f32);
        in_parallel(&mut data, |part| loops::normal_blocks(part, mean, std));
        if !count.is_multiple_of(BLOCK) {
            // The last sixteen elements are drawn again, over those that are finished.
            let tail = &mut data[count - BLOCK..];
            self.units(tail);
            loops::normal_blocks(tail, mean, std);
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

    /// Draws a single normal in `f64`; the other one of its pair is kept for the next call.
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
}
