//! The matrix of columns, of which only panels exist: row `(c, i, j)` holds, for each output, the pixel that the
//! kernel's entry `(i, j)` of channel `c` meets.

use std::ops::Range;

use crate::conv::geometry::Geometry;
use crate::conv::stage::Stage;
use crate::cpu::element::Number;
use crate::cpu::simd::{self, SimdLevel};
use crate::linalg::gemm::implicit::SLACK;

/// Neighbouring outputs of one row of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first of them within the panel.
    pub(super) first: usize,
    pub(super) count: usize,
    /// The place in the staged input of the first one's factor, without the offset of the kernel's entry.
    pub(super) source: usize,
}

impl Piece {
    /// The same as a segment of gradients, of which those of an image begin `step` after those of the one before.
    pub(super) fn segment(&self, step: usize) -> Segment {
        Segment { first: self.first, count: self.count, source: self.image * step + self.place }
    }
}

/// A part of the outputs of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) image: usize,
    /// The first output within the image.
    pub(super) place: usize,
    /// The first output within the panel.
    pub(super) first: usize,
    pub(super) count: usize,
}

/// The outputs of all images, one after another, of which a panel takes some.
#[derive(Debug, Clone)]
pub(super) struct Outputs {
    area: usize,
    /// The outputs that are neighbours in the staged input too.
    row: usize,
    /// The distance in the staged input from one row of outputs to the next, and from one image to the next.
    row_step: usize,
    image_step: usize,
}

impl Outputs {
    pub(super) fn new(geometry: &Geometry, stage: &Stage) -> Self {
        let [_, width] = geometry.places;
        let joined = stage.row() == width;
        Self {
            area: geometry.area(),
            row: if joined { geometry.area() } else { width },
            row_step: stage.row(),
            image_step: geometry.channels() * stage.size(),
        }
    }

    /// The pieces of images that some outputs are.
    pub(super) fn pieces(&self, outputs: Range<usize>) -> impl Iterator<Item = Piece> {
        let (area, start) = (self.area, outputs.start);
        let mut next = outputs.start;
        std::iter::from_fn(move || {
            (next < outputs.end).then(|| {
                let (image, place) = (next / area, next % area);
                let count = (area - place).min(outputs.end - next);
                let first = next - start;
                next += count;
                Piece { image, place, first, count }
            })
        })
    }

    /// The segments of some outputs.
    pub(super) fn segments(&self, outputs: Range<usize>, segments: &mut Vec<Segment>) {
        segments.clear();
        for piece in self.pieces(outputs) {
            let (mut place, end) = (piece.place, piece.place + piece.count);
            while place < end {
                let (row, column) = (place / self.row, place % self.row);
                let count = (self.row - column).min(end - place);
                let source = piece.image * self.image_step + row * self.row_step + column;
                segments.push(Segment { first: piece.first + place - piece.place, count, source });
                place += count;
            }
        }
    }
}

/// Writes rows of the matrix, `width` apart; what is between a row's end and the next row is overwritten too.
pub(super) fn fill<T: Number>(xs: &[T], offsets: &[usize], segments: &[Segment], width: usize, to: &mut [T]) {
    // Whole pieces may be read if the last place that any segment can reach is inside.
    let last = segments.iter().map(|segment| segment.source + segment.count.next_multiple_of(SLACK)).max();
    let reach = last.unwrap_or(0) + offsets.iter().max().copied().unwrap_or(0);
    simd::run(SimdLevel::best(), Fill { xs, offsets, segments, width, whole: reach <= xs.len(), to });
}

struct Fill<'a, T> {
    xs: &'a [T],
    offsets: &'a [usize],
    segments: &'a [Segment],
    width: usize,
    whole: bool,
    to: &'a mut [T],
}

impl<T: Number> simd::Task for Fill<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { xs, offsets, segments, width, whole, to } = self;
        if !whole {
            for (row, offset) in offsets.iter().enumerate() {
                for segment in segments {
                    let from = &xs[segment.source + offset..][..segment.count];
                    to[row * width + segment.first..][..segment.count].copy_from_slice(from);
                }
            }
            return;
        }
        assert!(to.len() >= offsets.len() * width + SLACK, "a panel without room to spare");
        let inside = segments.iter().all(|segment| segment.first + segment.count <= width);
        assert!(inside, "segments beyond their panel");
        for (row, offset) in offsets.iter().enumerate() {
            for segment in segments {
                let (mut at, mut from) = (row * width + segment.first, segment.source + offset);
                let end = at + segment.count;
                while at < end {
                    debug_assert!(from + SLACK <= xs.len() && at + SLACK <= to.len());
                    // SAFETY: the source ends within `xs`, as `fill` has computed, and the destination begins within
                    // the row, behind whose last element there is room for a whole piece.
                    unsafe {
                        let piece = xs.as_ptr().add(from).cast::<[T; SLACK]>().read_unaligned();
                        to.as_mut_ptr().add(at).cast::<[T; SLACK]>().write_unaligned(piece);
                    }
                    (at, from) = (at + SLACK, from + SLACK);
                }
            }
        }
    }
}

/// Adds rows of the matrix, `width` apart, to the places that they came from.
pub(super) fn scatter<T: Number>(
    rows: &[T],
    order: &[(usize, usize)],
    segments: &[Segment],
    width: usize,
    to: &mut [T],
) {
    simd::run(SimdLevel::best(), Scatter { rows, order, segments, width, to });
}

struct Scatter<'a, T> {
    rows: &'a [T],
    /// The rows with their offsets, neighbours in the image as far apart as possible: a sum that was just stored
    /// is read again only at the same address, which the processor forwards.
    order: &'a [(usize, usize)],
    segments: &'a [Segment],
    width: usize,
    to: &'a mut [T],
}

impl<T: Number> simd::Task for Scatter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { rows, order, segments, width, to } = self;
        let last = |of: fn(&Segment) -> usize| segments.iter().map(of).max().unwrap_or(0);
        let row_end = last(|segment| segment.first + segment.count);
        let reach = last(|segment| segment.source + segment.count);
        let (rows_reach, to_reach) = order
            .iter()
            .fold((0, 0), |(a, b), &(row, offset)| (a.max(row * width + row_end), b.max(offset + reach)));
        let are_whole = segments.iter().all(|segment| segment.count % SLACK == 0);
        if are_whole && rows_reach <= rows.len() && to_reach <= to.len() {
            for &(row, offset) in order {
                for segment in segments {
                    for done in (0..segment.count).step_by(SLACK) {
                        // SAFETY: no segment ends beyond either slice, as was just computed.
                        unsafe {
                            let from = rows.as_ptr().add(row * width + segment.first + done);
                            let place = to.as_mut_ptr().add(segment.source + offset + done);
                            let from = from.cast::<[T; SLACK]>().read_unaligned();
                            let mut sums = place.cast::<[T; SLACK]>().read_unaligned();
                            for (sum, from) in sums.iter_mut().zip(from) {
                                *sum += from;
                            }
                            place.cast::<[T; SLACK]>().write_unaligned(sums);
                        }
                    }
                }
            }
            return;
        }
        for &(row, offset) in order {
            for segment in segments {
                let (from, at) = (row * width + segment.first, segment.source + offset);
                let pieces = segment.count.next_multiple_of(SLACK);
                if at + pieces > to.len() || from + pieces > rows.len() {
                    for index in 0..segment.count {
                        to[at + index] += rows[from + index];
                    }
                    continue;
                }
                for done in (0..pieces).step_by(SLACK) {
                    let left = segment.count - done;
                    // SAFETY: both pieces are inside, as was just checked.
                    unsafe {
                        let from = rows.as_ptr().add(from + done).cast::<[T; SLACK]>().read_unaligned();
                        let place = to.as_mut_ptr().add(at + done).cast::<[T; SLACK]>();
                        let mut sums = place.read_unaligned();
                        if left >= SLACK {
                            for (sum, from) in sums.iter_mut().zip(from) {
                                *sum += from;
                            }
                        } else {
                            for (lane, (sum, from)) in sums.iter_mut().zip(from).enumerate() {
                                *sum += if lane < left { from } else { T::ZERO };
                            }
                        }
                        place.write_unaligned(sums);
                    }
                }
            }
        }
    }
}
