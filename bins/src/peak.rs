//! The machine's limits: the rate of an FMA loop that stays in the registers, and the rate of a sweep through
//! memory.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use wick_kernels::SimdLevel;

/// GFLOP/s of all threads in a loop of fused multiply-adds on `f32`, with the vectors of a level.
pub fn flops(level: SimdLevel) -> f64 {
    let threads = rayon::current_num_threads();
    let rounds = 20_000_000u64;
    let start = Instant::now();
    let flops: f64 = (0..threads).into_par_iter().with_max_len(1).map(|_| fma(level, rounds)).sum();
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

fn fma(level: SimdLevel, rounds: u64) -> f64 {
    match level.name() {
        // SAFETY: a processor that has the level has what the function needs.
        #[cfg(target_arch = "x86_64")]
        "avx512" => unsafe { fma_avx512(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        "avx2" => unsafe { fma_avx2(rounds) },
        _ => fma_portable(rounds),
    }
}

/// The loop keeps twelve sums of one vector each, enough to hide the latency of two units. It is written with
/// intrinsics: a loop that the compiler vectorises by itself measured 58 to 83 % of this one's rate.
macro_rules! fma_loop {
    ($rounds:expr, $lanes:expr, $splat:expr, $fma:expr) => {{
        const SUMS: usize = 12;
        let (a, b) = ($splat(black_box(0.999)), $splat(black_box(1e-3)));
        let mut sums = [b; SUMS];
        for _ in 0..$rounds {
            for sum in &mut sums {
                *sum = $fma(*sum, a, b);
            }
        }
        black_box(sums);
        $rounds as f64 * (2 * SUMS * $lanes) as f64
    }};
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fma_avx512(rounds: u64) -> f64 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    fma_loop!(rounds, 16, _mm512_set1_ps, _mm512_fmadd_ps)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fma_avx2(rounds: u64) -> f64 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    fma_loop!(rounds, 8, _mm256_set1_ps, _mm256_fmadd_ps)
}

fn fma_portable(rounds: u64) -> f64 {
    fma_loop!(rounds, 1, std::convert::identity::<f32>, f32::mul_add)
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
