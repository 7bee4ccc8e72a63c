//! Convolutions in which each input channel is a group of its own: loops over whole channels, in the cache.
//!
//! A staged channel (`stage`) is read as one long row: output `(h, w)` stands at `h·row + w`, and an entry of the
//! kernel adds its offset. The places between the ends of two rows of outputs are computed too and dropped.

use crate::conv::geometry::Geometry;
use crate::conv::stage::{Stage, copy_row};
use crate::conv::sums::LANES;
use crate::cpu::element::Number;
use crate::cpu::parallel::{self, Start};
use crate::cpu::simd::{self, SimdLevel};
use crate::linalg::gemm::implicit::with_buffer;

/// The number of places that are summed side by side.
const BLOCK: usize = 64;
/// The number of multiplications that one task takes, at least.
const GRAIN: usize = 1 << 16;

/// The places of all of a channel's outputs in the long row, in whole blocks.
fn places(geometry: &Geometry, stage: &Stage) -> usize {
    ((geometry.places[0] - 1) * stage.row() + geometry.places[1]).next_multiple_of(BLOCK)
}

/// The offset of each entry of the kernel.
fn offsets(geometry: &Geometry, stage: &Stage) -> Vec<usize> {
    let [height, width] = geometry.kernel;
    (0..height * width).map(|tap| stage.offset([tap / width, tap % width])).collect()
}

/// The number of channels of one task.
fn some_channels(geometry: &Geometry) -> usize {
    (GRAIN / (geometry.area() * geometry.taps() * geometry.outputs).max(1)).max(1)
}

pub(crate) fn forward<T: Number>(
    level: SimdLevel,
    geometry: &Geometry,
    xs: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let stage = Stage::new(geometry);
    let (places, offsets) = (places(geometry, &stage), offsets(geometry, &stage));
    let (pixels, area, taps) = (geometry.pixels(), geometry.area(), geometry.taps());
    let (multiplier, channels) = (geometry.outputs, geometry.groups);
    let some = some_channels(geometry);
    let mut ys = vec![T::ZERO; geometry.output_len()];
    let room = stage.size() + offsets.iter().max().copied().unwrap_or(0) + places;
    parallel::for_each_part(&mut ys, some * multiplier * area, |part, ys| {
        with_buffer(room + places, |buffer: &mut [T]| {
            let (staged, long) = buffer.split_at_mut(room);
            staged.fill(T::ZERO);
            for (index, ys) in ys.chunks_exact_mut(multiplier * area).enumerate() {
                let plane = part * some + index;
                let channel = plane % channels;
                stage.stage_channel(&xs[plane * pixels..][..pixels], &mut staged[..stage.size()]);
                for (output, ys) in ys.chunks_exact_mut(area).enumerate() {
                    let output = channel * multiplier + output;
                    let weight = &weight[output * taps..][..taps];
                    let start = bias.map_or(T::ZERO, |bias| bias[output]);
                    simd::run(level, Correlate { xs: staged, offsets: &offsets, weight, start, to: long });
                    let rows = ys.chunks_exact_mut(geometry.places[1]).zip(long.chunks(stage.row()));
                    rows.for_each(|(to, from)| copy_row(from, to));
                }
            }
        });
    });
    ys
}

/// `to[p] = start + Σ_t w[t]·x[p + offset[t]]`, for whole blocks.
struct Correlate<'a, T> {
    xs: &'a [T],
    offsets: &'a [usize],
    weight: &'a [T],
    start: T,
    to: &'a mut [T],
}

impl<T: Number> simd::Task for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (block, to) in self.to.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let mut sums = [self.start; BLOCK];
            for (offset, w) in self.offsets.iter().zip(self.weight) {
                if let Some(xs) = self.xs[block * BLOCK + offset..].first_chunk::<BLOCK>() {
                    for (sum, x) in sums.iter_mut().zip(xs) {
                        *sum += *x * *w;
                    }
                }
            }
            *to = sums;
        }
    }
}

pub(crate) fn of_input<T: Number>(level: SimdLevel, geometry: &Geometry, dys: &[T], weight: &[T]) -> Vec<T> {
    let stage = Stage::new(geometry);
    let offsets = offsets(geometry, &stage);
    let (pixels, area, taps, size) = (geometry.pixels(), geometry.area(), geometry.taps(), stage.size());
    let (multiplier, channels) = (geometry.outputs, geometry.groups);
    let some = some_channels(geometry);
    // Each part of the staged channel is a sum of its own: the entries of the kernel that meet it, with the distance
    // by which each moves the outputs.
    let part = stage.part_size();
    let before = offsets.iter().map(|offset| offset % part).max().unwrap_or(0);
    let whole = part.next_multiple_of(BLOCK);
    let mut dxs = vec![T::ZERO; geometry.input_len()];
    parallel::for_each_part(&mut dxs, some * pixels, |number, dxs| {
        with_buffer(multiplier * (before + whole) + whole + size, |buffer: &mut [T]| {
            buffer.fill(T::ZERO);
            let (longs, rest) = buffer.split_at_mut(multiplier * (before + whole));
            let (sums, staged) = rest.split_at_mut(whole);
            let (mut moved, mut weights) = (Vec::new(), Vec::new());
            for (index, dxs) in dxs.chunks_exact_mut(pixels).enumerate() {
                let plane = number * some + index;
                let channel = plane % channels;
                for output in 0..multiplier {
                    let dys = &dys[(plane * multiplier + output) * area..][..area];
                    let long = &mut longs[output * (before + whole) + before..][..whole];
                    spread(geometry, &stage, dys, long);
                }
                for start in (0..size).step_by(part) {
                    moved.clear();
                    weights.clear();
                    for output in 0..multiplier {
                        for (tap, offset) in offsets.iter().enumerate() {
                            if offset - offset % part == start {
                                moved.push(output * (before + whole) + before - offset % part);
                                weights.push(weight[(channel * multiplier + output) * taps + tap]);
                            }
                        }
                    }
                    let (xs, to) = (&*longs, &mut *sums);
                    simd::run(level, Correlate { xs, offsets: &moved, weight: &weights, start: T::ZERO, to });
                    staged[start..start + part].copy_from_slice(&sums[..part]);
                }
                stage.unstage_channel(staged, dxs);
            }
        });
    });
    dxs
}

/// Writes outputs into their places in the long row, whose other places hold zeros.
fn spread<T: Number>(geometry: &Geometry, stage: &Stage, dys: &[T], long: &mut [T]) {
    let rows = dys.chunks_exact(geometry.places[1]).zip(long.chunks_mut(stage.row()));
    rows.for_each(|(from, to)| copy_row(from, &mut to[..from.len()]));
}

pub(crate) fn of_weight<T: Number>(level: SimdLevel, geometry: &Geometry, xs: &[T], dys: &[T]) -> Vec<T> {
    let stage = Stage::new(geometry);
    let (places, offsets) = (places(geometry, &stage), offsets(geometry, &stage));
    let (pixels, area, taps) = (geometry.pixels(), geometry.area(), geometry.taps());
    let (multiplier, channels) = (geometry.outputs, geometry.groups);
    let room = stage.size() + offsets.iter().max().copied().unwrap_or(0) + places;
    let mut sums = vec![T::ZERO; geometry.weight_len()];
    let start = Start(sums.as_mut_ptr());
    parallel::for_each(channels, |channel| {
        let (first, count) = (channel * multiplier * taps, multiplier * taps);
        debug_assert!(first + count <= geometry.weight_len());
        // SAFETY: the entries of a channel belong to its task alone.
        let of_weight = unsafe { std::slice::from_raw_parts_mut(start.at(first), count) };
        with_buffer(room + places, |buffer: &mut [T]| {
            buffer.fill(T::ZERO);
            let (staged, long) = buffer.split_at_mut(room);
            let mut totals = vec![0.0; count];
            for image in 0..geometry.batch {
                let plane = image * channels + channel;
                stage.stage_channel(&xs[plane * pixels..][..pixels], &mut staged[..stage.size()]);
                for output in 0..multiplier {
                    spread(geometry, &stage, &dys[(plane * multiplier + output) * area..][..area], long);
                    let totals = &mut totals[output * taps..][..taps];
                    for (total, &offset) in totals.iter_mut().zip(&offsets) {
                        *total += simd::run(level, Dot { xs: &staged[offset..], ys: long });
                    }
                }
            }
            for (to, total) in of_weight.iter_mut().zip(totals) {
                *to = T::narrow(total);
            }
        });
    });
    sums
}

/// The sum of products over whole blocks, in sums of their own that are added in order.
struct Dot<'a, T> {
    xs: &'a [T],
    ys: &'a [T],
}

impl<T: Number> simd::Task for Dot<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let mut sums = [T::ZERO; BLOCK];
        let xs = self.xs.as_chunks::<BLOCK>().0;
        for (xs, ys) in xs.iter().zip(self.ys.as_chunks::<BLOCK>().0) {
            for ((sum, x), y) in sums.iter_mut().zip(xs).zip(ys) {
                *sum += *x * *y;
            }
        }
        let mut lanes = [0.0; LANES];
        for sums in sums.as_chunks::<LANES>().0 {
            for (lane, sum) in lanes.iter_mut().zip(sums) {
                *lane += sum.widen();
            }
        }
        let mut total = 0.0;
        for lane in lanes {
            total += lane;
        }
        total
    }
}
