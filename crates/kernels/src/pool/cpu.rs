//! Pools on a CPU: loops over whole channels in the cache, as those of depthwise convolutions.

use crate::conv::depthwise;
use crate::conv::geometry::Geometry;
use crate::conv::stage::Stage;
use crate::cpu::element::Number;
use crate::cpu::parallel::{self, Start};
use crate::cpu::simd::{self, SimdLevel};
use crate::linalg::gemm::implicit::with_buffer;

/// The number of places whose maxima are found side by side.
const BLOCK: usize = 32;
/// The number of comparisons that one task takes, at least.
const GRAIN: usize = 1 << 16;

/// The sizes that the loops over a channel need.
struct Places {
    stage: Stage,
    /// The place of each entry of the kernel.
    offsets: Vec<usize>,
    /// The places of all outputs in the long row, in whole blocks.
    long: usize,
    /// The staged channel, and what the last block may read behind it.
    room: usize,
    /// The channels of one task.
    some: usize,
}

impl Places {
    fn new(g: &Geometry) -> Self {
        let (stage, [_, width]) = (Stage::new(g), g.kernel);
        let offsets: Vec<usize> = (0..g.taps()).map(|tap| stage.offset([tap / width, tap % width])).collect();
        let long = ((g.places[0] - 1) * stage.row() + g.places[1]).next_multiple_of(BLOCK);
        let room = stage.size() + offsets.iter().max().copied().unwrap_or(0) + long;
        Self { offsets, long, room, some: (GRAIN / (g.area() * g.taps()).max(1)).max(1), stage }
    }
}

/// The maxima, and with `KEEP` the entries of the window that they are.
pub(super) fn max<T: Number, const KEEP: bool>(g: &Geometry, xs: &[T]) -> (Vec<T>, Vec<u16>) {
    let (places, area, pixels) = (Places::new(g), g.area(), g.pixels());
    let mut ys = vec![T::ZERO; g.output_len()];
    let mut entries = vec![0u16; if KEEP { g.output_len() } else { 0 }];
    let start = Start(entries.as_mut_ptr());
    parallel::for_each_part(&mut ys, places.some * area, |part, ys| {
        with_buffer(places.room + 2 * places.long, |buffer: &mut [T]| {
            let (staged, rest) = buffer.split_at_mut(places.room);
            let (values, numbers) = rest.split_at_mut(places.long);
            staged.fill(T::NEG_INFINITY);
            for (index, ys) in ys.chunks_exact_mut(area).enumerate() {
                let plane = part * places.some + index;
                let xs = &xs[plane * pixels..][..pixels];
                places.stage.stage_channel(xs, &mut staged[..places.stage.size()]);
                let offsets = &places.offsets;
                simd::run(SimdLevel::best(), Largest::<T, KEEP> { xs: staged, offsets, values, numbers });
                for (row, ys) in ys.chunks_exact_mut(g.places[1]).enumerate() {
                    let from = row * places.stage.row();
                    ys.copy_from_slice(&values[from..from + ys.len()]);
                    if KEEP {
                        let first = plane * area + row * g.places[1];
                        debug_assert!(first + ys.len() <= g.output_len());
                        // SAFETY: the entries of a channel belong to its task alone.
                        let to = unsafe { std::slice::from_raw_parts_mut(start.at(first), ys.len()) };
                        let numbers = &numbers[from..from + to.len()];
                        simd::run(SimdLevel::best(), Narrow { numbers, to });
                    }
                }
            }
        });
    });
    (ys, entries)
}

/// `values[p] = max_t x[p + offset[t]]` and the first `t` of it, for whole blocks.
struct Largest<'a, T, const KEEP: bool> {
    xs: &'a [T],
    offsets: &'a [usize],
    values: &'a mut [T],
    numbers: &'a mut [T],
}

impl<T: Number, const KEEP: bool> simd::Task for Largest<'_, T, KEEP> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let blocks = self.values.as_chunks_mut::<BLOCK>().0.iter_mut();
        for (block, (values, to)) in blocks.zip(self.numbers.as_chunks_mut::<BLOCK>().0).enumerate() {
            let (mut largest, mut numbers) = ([T::NEG_INFINITY; BLOCK], [T::ZERO; BLOCK]);
            for (tap, offset) in self.offsets.iter().enumerate() {
                let tap = T::narrow(tap as f64);
                if let Some(xs) = self.xs[block * BLOCK + offset..].first_chunk::<BLOCK>() {
                    for ((largest, number), &x) in largest.iter_mut().zip(&mut numbers).zip(xs) {
                        // A NaN is taken, and stays.
                        #[allow(clippy::eq_op)] // Only a NaN differs from itself.
                        let better = (x > *largest) | (x != x);
                        *largest = if better { x } else { *largest };
                        if KEEP {
                            *number = if better { tap } else { *number };
                        }
                    }
                }
            }
            *values = largest;
            if KEEP {
                *to = numbers;
            }
        }
    }
}

/// The numbers of entries, as integers.
struct Narrow<'a, T> {
    numbers: &'a [T],
    to: &'a mut [u16],
}

impl<T: Number> simd::Task for Narrow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (to, number) in self.to.iter_mut().zip(self.numbers) {
            *to = number.widen() as i32 as u16;
        }
    }
}

/// The gradient of the pixels from that of the maxima.
pub(super) fn of_max<T: Number>(g: &Geometry, dys: &[T], entries: &[u16]) -> Vec<T> {
    let (places, area, pixels) = (Places::new(g), g.area(), g.pixels());
    let (size, [_, width]) = (places.stage.size(), g.places);
    let mut dxs = vec![T::ZERO; g.input_len()];
    parallel::for_each_part(&mut dxs, places.some * pixels, |part, dxs| {
        with_buffer(size, |staged: &mut [T]| {
            for (index, dxs) in dxs.chunks_exact_mut(pixels).enumerate() {
                let first = (part * places.some + index) * area;
                let (dys, entries) = (&dys[first..][..area], &entries[first..][..area]);
                staged.fill(T::ZERO);
                let rows = dys.chunks_exact(width).zip(entries.chunks_exact(width)).enumerate();
                for (row, (dys, entries)) in rows {
                    let row = row * places.stage.row();
                    for (column, (dy, entry)) in dys.iter().zip(entries).enumerate() {
                        staged[row + column + places.offsets[usize::from(*entry)]] += *dy;
                    }
                }
                places.stage.unstage_channel(staged, dxs);
            }
        });
    });
    dxs
}

/// The number of pixels that each output of a channel is the mean of.
fn counts(g: &Geometry, include_padding: bool) -> Vec<f64> {
    let along = |axis: usize| {
        let (window, size) = (g.window, g.image[axis]);
        (0..g.places[axis]).map(move |place| {
            let taps =
                (0..g.kernel[axis]).map(|tap| place * window.stride[axis] + tap * window.dilation[axis]);
            let inside = |at: &usize| (window.padding[axis]..window.padding[axis] + size).contains(at);
            if include_padding { g.kernel[axis] } else { taps.filter(inside).count() }
        })
    };
    along(0).flat_map(|rows| along(1).map(move |columns| (rows * columns).max(1) as f64)).collect()
}

/// Divides each output of each channel by the number of its pixels.
fn divide<T: Number>(ys: &mut [T], counts: &[f64]) {
    parallel::for_each_part(ys, counts.len(), |_, ys| {
        simd::run(SimdLevel::best(), Divide { ys, counts });
    });
}

struct Divide<'a, T> {
    ys: &'a mut [T],
    counts: &'a [f64],
}

impl<T: Number> simd::Task for Divide<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (y, count) in self.ys.iter_mut().zip(self.counts) {
            *y /= T::narrow(*count);
        }
    }
}

/// The means.
pub(super) fn mean<T: Number>(g: &Geometry, xs: &[T], include_padding: bool) -> Vec<T> {
    if g.output_len() == 0 {
        return Vec::new();
    }
    let ones = vec![T::narrow(1.0); g.taps()];
    let mut ys = depthwise::forward(SimdLevel::best(), g, xs, &ones, None);
    divide(&mut ys, &counts(g, include_padding));
    ys
}

/// The gradient of the pixels from that of the means.
pub(super) fn of_mean<T: Number>(g: &Geometry, dys: &[T], include_padding: bool) -> Vec<T> {
    if g.output_len() == 0 || g.input_len() == 0 {
        return vec![T::ZERO; g.input_len()];
    }
    let (mut dys, ones) = (dys.to_vec(), vec![T::narrow(1.0); g.taps()]);
    divide(&mut dys, &counts(g, include_padding));
    depthwise::of_input(SimdLevel::best(), g, &dys, &ones)
}
