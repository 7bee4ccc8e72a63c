//! Elements from any generator of `rand`'s.

use rand::Rng;

use super::keyed::fill::{normal_pair_f32, normal_pair_f64, uniform_f32, uniform_f64};
use super::keyed::truncated::Truncated;
use super::law::Law;

/// Draws `count` elements, each from 32 bits of the generator.
pub(super) fn draw_f32(rng: &mut dyn Rng, law: Law, count: usize) -> Vec<f32> {
    match law {
        Law::Constant(value) => vec![value as f32; count],
        Law::Normal { mean, std } => in_pairs(count, || {
            let (a, b) = normal_pair_f32(rng.next_u32(), rng.next_u32());
            [a, b].map(|z| mean as f32 + std as f32 * z)
        }),
        Law::Uniform { low, high } => (0..count).map(|_| uniform_f32(low, high, rng.next_u32())).collect(),
        Law::TruncatedNormal { mean, std, low, high } => {
            let truncated = Truncated::new(mean, std, low, high);
            (0..count).map(|_| truncated.at_f32(rng.next_u32())).collect()
        }
    }
}

/// As [`draw_f32`], each element in `f64` from 64 bits.
pub(super) fn draw_f64(rng: &mut dyn Rng, law: Law, count: usize) -> Vec<f64> {
    match law {
        Law::Constant(value) => vec![value; count],
        Law::Normal { mean, std } => in_pairs(count, || {
            let (a, b) = normal_pair_f64(rng.next_u64(), rng.next_u64());
            [a, b].map(|z| mean + std * z)
        }),
        Law::Uniform { low, high } => (0..count).map(|_| uniform_f64(low, high, rng.next_u64())).collect(),
        Law::TruncatedNormal { mean, std, low, high } => {
            let truncated = Truncated::new(mean, std, low, high);
            (0..count).map(|_| truncated.at_f64(rng.next_u64())).collect()
        }
    }
}

fn in_pairs<T>(count: usize, mut pair: impl FnMut() -> [T; 2]) -> Vec<T> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        values.extend(pair());
    }
    values.truncate(count);
    values
}
