//! The loops of PyTorch's `uniform_` and `normal_` over whole tensors.

use std::f64::consts::PI;

use candle_core::DType;
use half::{bf16, f16};
use rayon::prelude::*;
use wick_kernels::simd::{self, SimdLevel, Task};

use super::math::{ln, sin_cos};
use super::mt19937::Mt19937;

/// PyTorch draws normals in blocks of sixteen, if there are at least sixteen.
pub(super) const BLOCK: usize = 16;

/// Replaces a number that was rounded to the end of a half-open interval by the interval's first number, as
/// PyTorch's `uniform_` does in every type.
#[inline(always)]
pub(super) fn below<T: PartialEq>(end: T, first: T, x: T) -> T {
    if x == end { first } else { x }
}

/// Rounds to a narrower type and back.
pub(super) fn round(x: f32, dtype: DType) -> f32 {
    match dtype {
        DType::BF16 => bf16::from_f32(x).to_f32(),
        DType::F16 => f16::from_f32(x).to_f32(),
        _ => x,
    }
}

/// Calls `fill` for parts of whole blocks, on every core.
pub(super) fn in_parallel(data: &mut [f32], fill: impl Fn(&mut [f32]) + Sync + Send) {
    data.par_chunks_mut(1024 * BLOCK).for_each(fill);
}

/// Fills `out` with numbers in `[0, 1)` of 24 bits, each from one word.
pub(super) fn units(engine: &mut Mt19937, out: &mut [f32]) {
    simd::run(SimdLevel::best(), Units { engine, out });
}

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

/// Maps numbers in `[0, 1)` to numbers in `[low, high)`.
pub(super) fn interval(data: &mut [f32], low: f32, high: f32) {
    simd::run(SimdLevel::best(), Interval { data, low, high });
}

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

/// Maps the sixteen uniforms of each block to sixteen normals; an incomplete last block is left as it is.
pub(super) fn normal_blocks(data: &mut [f32], mean: f32, std: f32) {
    simd::run(SimdLevel::best(), NormalBlocks { data, mean, std });
}

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
