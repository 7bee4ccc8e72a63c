//! Elements from the words of a keyed stream, 64 at a time, on every core.

use std::mem::MaybeUninit;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use wick_kernels::simd::{self, SimdLevel, Task};
use wick_kernels::{advise_large_pages, parallel};

use super::math::{ln_f32, ln_f64, sin_cos_pi_f32, sin_cos_pi_f64};
use super::truncated::Truncated;
use super::{Domain, Key};
use crate::rng::law::Law;

/// The number of elements in a group: four words of sixteen blocks.
const GROUP: usize = 64;
/// The number of groups that one task draws: 64 KiB of `f32`, which fits the second-level cache.
const TASK: usize = 256;

/// Draws `count` elements from a law whose parameters have been checked: `f64` in `f64`, `bf16` and `f16` as `f32`
/// that are rounded once.
pub(crate) fn draw<T: Copy + Send>(key: Key, law: Law, count: usize) -> Vec<T>
where
    for<'a> Part<'a, T>: Task<Output = ()>,
{
    draw_at(SimdLevel::best(), key, law, count)
}

/// Draws at a SIMD level. Every level gives the same bits, because no operation is a fused multiply-add.
fn draw_at<T: Copy + Send>(level: SimdLevel, key: Key, law: Law, count: usize) -> Vec<T>
where
    for<'a> Part<'a, T>: Task<Output = ()>,
{
    fill(count, |start, out| simd::run(level, Part { key, law, start, out }))
}

/// Makes `count` elements; each task fills its part, given the number of the part's first group.
fn fill<T: Copy + Send>(count: usize, fill: impl Fn(u64, &mut [MaybeUninit<T>]) + Sync) -> Vec<T> {
    let mut out = Vec::with_capacity(count);
    let places = &mut out.spare_capacity_mut()[..count];
    advise_large_pages(places);
    parallel::for_each_part(places, GROUP * TASK, |task, places| fill((task * TASK) as u64, places));
    // SAFETY: the tasks have filled all of the places.
    unsafe { out.set_len(count) };
    out
}

/// The part of the elements that one task draws.
pub(crate) struct Part<'a, T> {
    key: Key,
    law: Law,
    start: u64,
    out: &'a mut [MaybeUninit<T>],
}

/// A type whose elements are drawn in `f32` and rounded.
trait Narrow: Copy + Send {
    fn round(group: [f32; GROUP]) -> [Self; GROUP];
}

impl Narrow for f32 {
    #[inline(always)]
    fn round(group: [f32; GROUP]) -> [f32; GROUP] {
        group
    }
}

impl Narrow for bf16 {
    #[inline(always)]
    fn round(group: [f32; GROUP]) -> [bf16; GROUP] {
        group.map(bf16::from_f32)
    }
}

impl Narrow for f16 {
    #[inline(always)]
    fn round(group: [f32; GROUP]) -> [f16; GROUP] {
        let mut rounded = [f16::ZERO; GROUP];
        rounded.convert_from_f32_slice(&group);
        rounded
    }
}

impl<T: Narrow> Task for Part<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { key, law, start, out } = self;
        match law {
            Law::Constant(value) => out.fill(MaybeUninit::new(T::round([value as f32; GROUP])[0])),
            Law::Normal { mean, std } => by_groups(key, start, out, &Rounded(Normals { mean, std })),
            Law::Uniform { low, high } => by_groups(key, start, out, &Rounded(Uniforms { low, high })),
            Law::TruncatedNormal { mean, std, low, high } => {
                by_groups(key, start, out, &Rounded(Truncated::new(mean, std, low, high)));
            }
        }
    }
}

impl Task for Part<'_, f64> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { key, law, start, out } = self;
        match law {
            Law::Constant(value) => out.fill(MaybeUninit::new(value)),
            Law::Normal { mean, std } => by_groups(key, start, out, &Normals { mean, std }),
            Law::Uniform { low, high } => by_groups(key, start, out, &Uniforms { low, high }),
            Law::TruncatedNormal { mean, std, low, high } => {
                by_groups(key, start, out, &Truncated::new(mean, std, low, high));
            }
        }
    }
}

/// Makes the 64 elements of a group. (`#[target_feature]` is not inherited by a closure that is not inlined,
/// so this is a trait with a method.)
trait Group<T> {
    fn group(&self, key: Key, number: u64) -> [T; GROUP];
}

/// The elements of a group, rounded.
struct Rounded<G>(G);

impl<T: Narrow, G: Group<f32>> Group<T> for Rounded<G> {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [T; GROUP] {
        T::round(self.0.group(key, number))
    }
}

struct Normals {
    mean: f64,
    std: f64,
}

struct Uniforms {
    low: f64,
    high: f64,
}

impl Group<f32> for Normals {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [f32; GROUP] {
        let words = key.group(Domain::Elements, number);
        let (mean, std) = (self.mean as f32, self.std as f32);
        let mut values = [[0.0; 16]; 4];
        for pair in [0, 2] {
            for lane in 0..16 {
                let (a, b) = normal_pair_f32(words[pair][lane], words[pair + 1][lane]);
                values[pair][lane] = mean + std * a;
                values[pair + 1][lane] = mean + std * b;
            }
        }
        flat(values)
    }
}

impl Group<f64> for Normals {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [f64; GROUP] {
        let words = wide_words(key, number);
        let mut values = [[0.0; 16]; 4];
        for pair in [0, 2] {
            for lane in 0..16 {
                let (a, b) = normal_pair_f64(words[pair][lane], words[pair + 1][lane]);
                values[pair][lane] = self.mean + self.std * a;
                values[pair + 1][lane] = self.mean + self.std * b;
            }
        }
        flat(values)
    }
}

impl Group<f32> for Uniforms {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [f32; GROUP] {
        let words = key.group(Domain::Elements, number);
        let mut values = [0.0; GROUP];
        for (value, &word) in values.iter_mut().zip(words.as_flattened()) {
            *value = uniform_f32(self.low, self.high, word);
        }
        values
    }
}

impl Group<f64> for Uniforms {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [f64; GROUP] {
        let mut values = [0.0; GROUP];
        for (value, &word) in values.iter_mut().zip(wide_words(key, number).as_flattened()) {
            *value = uniform_f64(self.low, self.high, word);
        }
        values
    }
}

impl Group<f32> for Truncated {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [f32; GROUP] {
        let words = key.group(Domain::Elements, number);
        let mut values = [0.0; GROUP];
        match self.near() {
            // The compiler vectorizes the loop only without this branch inside.
            Some(near) => {
                for (value, &word) in values.iter_mut().zip(words.as_flattened()) {
                    *value = near.at(word);
                }
            }
            None => {
                for (value, &word) in values.iter_mut().zip(words.as_flattened()) {
                    *value = self.at_f32(word);
                }
            }
        }
        values
    }
}

impl Group<f64> for Truncated {
    #[inline(always)]
    fn group(&self, key: Key, number: u64) -> [f64; GROUP] {
        let mut values = [0.0; GROUP];
        for (value, &word) in values.iter_mut().zip(wide_words(key, number).as_flattened()) {
            *value = self.at_f64(word);
        }
        values
    }
}

/// Returns the words of `f32` with 32 further low bits: an element in `f32` is near the same element in
/// `f64`, but it is computed in `f32` and not rounded from `f64`.
#[inline(always)]
fn wide_words(key: Key, group: u64) -> [[u64; 16]; 4] {
    let (high, low) = (key.group(Domain::Elements, group), key.group(Domain::Extension, group));
    let mut words = [[0u64; 16]; 4];
    for (word, out) in words.iter_mut().enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            *out = u64::from(high[word][lane]) << 32 | u64::from(low[word][lane]);
        }
    }
    words
}

#[inline(always)]
fn flat<T: Copy + Default>(values: [[T; 16]; 4]) -> [T; GROUP] {
    let mut out = [T::default(); GROUP];
    out.copy_from_slice(values.as_flattened());
    out
}

/// Fills group after group; the last group may be cut short.
#[inline(always)]
fn by_groups<T: Copy, G: Group<T>>(key: Key, start: u64, out: &mut [MaybeUninit<T>], group: &G) {
    let (whole, rest) = out.as_chunks_mut::<GROUP>();
    let after = start + whole.len() as u64;
    for (number, out) in (start..).zip(whole) {
        *out = group.group(key, number).map(MaybeUninit::new);
    }
    if !rest.is_empty() {
        let last = group.group(key, after);
        for (place, value) in rest.iter_mut().zip(last) {
            place.write(value);
        }
    }
}

/// Maps a word to a number in `[-1, 1]`, uniformly.
#[inline(always)]
fn signed_f32(word: u32) -> f32 {
    const SCALE: f32 = 1.0 / (1u32 << 31) as f32;
    word as i32 as f32 * SCALE
}

#[inline(always)]
fn signed_f64(word: u64) -> f64 {
    const SCALE: f64 = 1.0 / (1u64 << 63) as f64;
    word as i64 as f64 * SCALE
}

/// Maps a word to a number in `[low, high]`, uniformly.
#[inline(always)]
pub(crate) fn uniform_f32(low: f64, high: f64, word: u32) -> f32 {
    let (middle, half) = ((0.5 * (low + high)) as f32, (0.5 * (high - low)) as f32);
    (middle + half * signed_f32(word)).max(low as f32).min(high as f32)
}

/// As [`uniform_f32`], in `f64`.
#[inline(always)]
pub(crate) fn uniform_f64(low: f64, high: f64, word: u64) -> f64 {
    let (middle, half) = (0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low);
    (middle + half * signed_f64(word)).max(low).min(high)
}

/// Makes two independent standard normals from two words, by Box and Muller 1958. The first word is taken
/// half a step above zero, so the largest value is `√(66 ln 2)` = 6.76, and no value is infinite.
#[inline(always)]
pub(crate) fn normal_pair_f32(radius: u32, angle: u32) -> (f32, f32) {
    const SCALE: f32 = 1.0 / (1u64 << 32) as f32;
    let u = (radius as f32 + 0.5) * SCALE;
    let r = (-2.0 * ln_f32(u)).sqrt();
    let (sin, cos) = sin_cos_pi_f32(signed_f32(angle));
    (r * cos, r * sin)
}

/// As [`normal_pair_f32`], with 64 bits for each of the two; the largest value is `√(130 ln 2)` = 9.49.
#[inline(always)]
pub(crate) fn normal_pair_f64(radius: u64, angle: u64) -> (f64, f64) {
    const SCALE: f64 = 1.0 / (1u128 << 64) as f64;
    let u = (radius as f64 + 0.5) * SCALE;
    let r = (-2.0 * ln_f64(u)).sqrt();
    let (sin, cos) = sin_cos_pi_f64(signed_f64(angle));
    (r * cos, r * sin)
}

#[cfg(test)]
mod tests;
