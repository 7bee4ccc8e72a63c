//! The input of a convolution as the loops read it: padded, and for strides above 1 split by the remainder of the
//! row and of the column, so that every kernel entry reads neighbouring outputs from neighbouring places.

use std::borrow::Cow;

use crate::conv::geometry::Geometry;
use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};

/// How one channel of the input is staged.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    geometry: Geometry,
    /// The remainders, of the row and of the column modulo the stride, that the kernel's entries have.
    phases: [Vec<usize>; 2],
    /// The rows and the columns of each part.
    part: [usize; 2],
    /// Whether a channel is staged as it is.
    identity: bool,
}

/// The parts of a channel: for each axis, the remainders that occur.
fn phases(geometry: &Geometry, axis: usize) -> Vec<usize> {
    let stride = geometry.window.stride[axis];
    let taps = 0..geometry.kernel[axis];
    let mut phases: Vec<usize> = taps.map(|tap| tap * geometry.window.dilation[axis] % stride).collect();
    phases.sort_unstable();
    phases.dedup();
    phases
}

impl Stage {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let window = geometry.window;
        let identity = window.stride == [1; 2] && window.padding == [0; 2];
        let extent = window.extent(geometry.kernel);
        let part = [0, 1].map(|axis| geometry.places[axis] + (extent[axis] - 1) / window.stride[axis]);
        let part = if identity { geometry.image } else { part };
        Self { geometry: *geometry, phases: [phases(geometry, 0), phases(geometry, 1)], part, identity }
    }

    /// The number of elements of a staged channel.
    pub(crate) fn size(&self) -> usize {
        self.phases[0].len() * self.phases[1].len() * self.part[0] * self.part[1]
    }

    /// The number of elements of one part of a staged channel.
    pub(crate) fn part_size(&self) -> usize {
        self.part[0] * self.part[1]
    }

    /// The distance from one row to the next.
    pub(crate) fn row(&self) -> usize {
        self.part[1]
    }

    /// The place within a staged channel at which an entry of the kernel reads the first output's factor.
    pub(crate) fn offset(&self, tap: [usize; 2]) -> usize {
        let window = self.geometry.window;
        let at = [0, 1].map(|axis| tap[axis] * window.dilation[axis]);
        let phase = [0, 1].map(|axis| {
            let wanted = at[axis] % window.stride[axis];
            self.phases[axis].iter().position(|&phase| phase == wanted).unwrap_or(0)
        });
        let part = (phase[0] * self.phases[1].len() + phase[1]) * self.part[0] * self.part[1];
        part + at[0] / window.stride[0] * self.row() + at[1] / window.stride[1]
    }

    /// For each row of the matrix of columns, of one group: the place at which it reads the first output's factor.
    pub(crate) fn offsets(&self) -> Vec<usize> {
        let [height, width] = self.geometry.kernel;
        let taps = (0..height).flat_map(|i| (0..width).map(move |j| [i, j]));
        let of_channel: Vec<usize> = taps.map(|tap| self.offset(tap)).collect();
        let of_channel = &of_channel;
        let channels = 0..self.geometry.inputs;
        channels.flat_map(|c| of_channel.iter().map(move |offset| c * self.size() + offset)).collect()
    }

    /// All channels of all images, staged.
    pub(crate) fn stage<'a, T: Number>(&self, xs: &'a [T]) -> Cow<'a, [T]> {
        if self.identity {
            return Cow::Borrowed(xs);
        }
        let size = self.size();
        let mut staged = vec![T::ZERO; self.geometry.batch * self.geometry.channels() * size];
        let some = (GRAIN / size.max(1)).max(1);
        parallel::for_each_part(&mut staged, some * size, |part, staged| {
            for (index, to) in staged.chunks_exact_mut(size).enumerate() {
                let channel = part * some + index;
                self.stage_channel(&xs[channel * self.geometry.pixels()..][..self.geometry.pixels()], to);
            }
        });
        Cow::Owned(staged)
    }

    /// One channel, into memory that holds zeros wherever the padding is.
    pub(crate) fn stage_channel<T: Number>(&self, from: &[T], to: &mut [T]) {
        simd::run(SimdLevel::best(), StageChannel { stage: self, from, to });
    }

    /// All channels of all images from the sums of what their staged places got.
    pub(crate) fn unstage<T: Number>(&self, staged: Vec<T>) -> Vec<T> {
        if self.identity {
            return staged;
        }
        let (size, pixels) = (self.size(), self.geometry.pixels());
        let mut xs = vec![T::ZERO; self.geometry.input_len()];
        let some = (GRAIN / pixels.max(1)).max(1);
        parallel::for_each_part(&mut xs, some * pixels, |part, xs| {
            for (index, to) in xs.chunks_exact_mut(pixels).enumerate() {
                self.unstage_channel(&staged[(part * some + index) * size..][..size], to);
            }
        });
        xs
    }

    pub(crate) fn unstage_channel<T: Number>(&self, from: &[T], to: &mut [T]) {
        simd::run(SimdLevel::best(), UnstageChannel { stage: self, from, to });
    }

    /// Calls `each` with each staged row that holds a row of the image: the place of its first column and the number
    /// of them, the place in the image, and the distance of the columns in the image.
    #[inline(always)]
    fn rows(&self, mut each: impl FnMut(usize, usize, usize, usize)) {
        let (window, [height, width]) = (self.geometry.window, self.geometry.image);
        let [rows, columns] = self.part;
        let [stride_h, stride_w] = window.stride;
        for (a, &phase_h) in self.phases[0].iter().enumerate() {
            for (b, &phase_w) in self.phases[1].iter().enumerate() {
                let part = (a * self.phases[1].len() + b) * rows * columns;
                // The columns v of the part with padding ≤ v·stride + phase < padding + width.
                let first = window.padding[1].saturating_sub(phase_w).div_ceil(stride_w).min(columns);
                let end = (window.padding[1] + width).saturating_sub(phase_w).div_ceil(stride_w).min(columns);
                if first >= end {
                    continue;
                }
                let column = first * stride_w + phase_w - window.padding[1];
                for u in 0..rows {
                    let Some(row) = (u * stride_h + phase_h).checked_sub(window.padding[0]) else { continue };
                    if row < height {
                        each(part + u * columns + first, end - first, row * width + column, stride_w);
                    }
                }
            }
        }
    }
}

/// The number of elements that one task stages, at least.
const GRAIN: usize = 1 << 14;

struct StageChannel<'a, T> {
    stage: &'a Stage,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Number> simd::Task for StageChannel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { stage, from, to } = self;
        stage.rows(|start, count, place, step| {
            let to = &mut to[start..start + count];
            match step {
                1 => copy_row(&from[place..place + count], to),
                2 => copy_every::<T, 2>(&from[place..], to),
                _ => to.iter_mut().zip(from[place..].iter().step_by(step)).for_each(|(to, x)| *to = *x),
            }
        });
    }
}

/// Copies a row, a short one without a call, which takes longer than the row.
#[inline(always)]
pub(crate) fn copy_row<T: Copy>(from: &[T], to: &mut [T]) {
    const PIECE: usize = 8;
    const LONG: usize = 16 * PIECE;
    let from = &from[..to.len()];
    if !(PIECE..LONG).contains(&to.len()) {
        return to.copy_from_slice(from);
    }
    for first in (0..to.len()).step_by(PIECE) {
        // The last piece may overlap the one before.
        let first = first.min(to.len() - PIECE);
        if let (Some(to), Some(from)) = (to[first..].first_chunk_mut(), from[first..].first_chunk::<PIECE>())
        {
            *to = *from;
        }
    }
}

#[inline(always)]
fn copy_every<T: Copy, const STEP: usize>(from: &[T], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(from.chunks(STEP)) {
        *to = from[0];
    }
}

struct UnstageChannel<'a, T> {
    stage: &'a Stage,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Number> simd::Task for UnstageChannel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { stage, from, to } = self;
        stage.rows(|start, count, place, step| {
            let from = &from[start..start + count];
            match step {
                1 => copy_row(from, &mut to[place..place + count]),
                _ => to[place..].iter_mut().step_by(step).zip(from).for_each(|(to, x)| *to = *x),
            }
        });
    }
}
