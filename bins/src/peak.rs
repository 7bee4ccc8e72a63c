//! The machine's limits: the rate of an FMA loop on data in the first-level cache, and the rate of a sweep
//! through memory.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use wick_kernels::simd::{SimdLevel, Task, run};

/// GFLOP/s of all threads in a loop of fused multiply-adds on `f32`, with the processor's widest vectors.
pub fn flops() -> f64 {
    let Some(level) = SimdLevel::available().last() else { return f64::NAN };
    let threads = rayon::current_num_threads();
    // Without an instruction for it, a fused multiply-add is a call of a function.
    let rounds = if level.is_fast() { 200_000 } else { 12_500 };
    let start = Instant::now();
    let flops: f64 =
        (0..threads).into_par_iter().with_max_len(1).map(|_| run(level, FmaLoop { rounds })).sum();
    flops / start.elapsed().as_secs_f64() * 1e-9
}

/// GB/s of all threads that read a buffer which is larger than every cache.
pub fn bandwidth(buffer: &[f32]) -> f64 {
    let start = Instant::now();
    let part = buffer.len().div_ceil(rayon::current_num_threads());
    let sum: f32 = buffer.par_chunks(part).map(sum).sum();
    black_box(sum);
    size_of_val(buffer) as f64 / start.elapsed().as_secs_f64() * 1e-9
}

/// Repeats fused multiply-adds on 4 KiB, and returns the number of floating-point operations.
struct FmaLoop {
    rounds: u64,
}

impl Task for FmaLoop {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        const NUMBERS: usize = 1024;
        // A chain of CHAIN multiply-adds makes one load and one store cheap, and is short enough for the
        // processor to overlap the chains of several vectors.
        const CHAIN: usize = 16;
        let (a, b) = (black_box(0.999), black_box(1e-3));
        let mut numbers = [1f32; NUMBERS];
        for _ in 0..self.rounds {
            for x in &mut numbers {
                for _ in 0..CHAIN {
                    *x = x.mul_add(a, b);
                }
            }
            black_box(&mut numbers);
        }
        self.rounds as f64 * (2 * CHAIN * NUMBERS) as f64
    }
}

fn sum(part: &[f32]) -> f32 {
    let mut lanes = [0f32; 64];
    for chunk in part.as_chunks::<64>().0 {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    lanes.iter().sum()
}
