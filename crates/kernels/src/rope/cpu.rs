//! The rotation on a CPU.

use std::mem::MaybeUninit;

use crate::cpu::element::Number;
use crate::cpu::malloc::room;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::rope::layout::RopeLayout;

/// The number of elements that one task rotates, about.
const TASK: usize = 1 << 14;

/// What is rotated, and in which direction.
#[derive(Clone, Copy)]
pub(super) struct Rotation {
    pub(super) dims: [usize; 4],
    pub(super) layout: RopeLayout,
    /// The elements of `cos` and `sin` from one sequence to the next.
    pub(super) of_batch: usize,
    /// Whether it is the opposite angle.
    pub(super) back: bool,
}

/// The rotated tensor, contiguous. `xs` has the strides of the first three dimensions, and contiguous rows.
pub(super) fn rotate<T: Number>(
    rotation: &Rotation,
    xs: &[T],
    strides: [usize; 3],
    (cos, sin): (&[T], &[T]),
) -> Vec<T> {
    let [batch, second, third, width] = rotation.dims;
    let (rows, count) = (batch * second * third, batch * second * third * width);
    let mut out = room(count);
    if count > 0 {
        let of_task = (TASK / width).max(1);
        parallel::for_each_part(&mut out.spare_capacity_mut()[..count], of_task * width, |task, out| {
            let first = task * of_task;
            let rows = first..(first + of_task).min(rows);
            simd::run(SimdLevel::best(), Part { rotation, rows, xs, strides, cos, sin, out });
        });
    }
    // SAFETY: the tasks have written every row.
    unsafe { out.set_len(count) };
    out
}

struct Part<'a, T> {
    rotation: &'a Rotation,
    rows: std::ops::Range<usize>,
    xs: &'a [T],
    strides: [usize; 3],
    cos: &'a [T],
    sin: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Number> simd::Task for Part<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rotation { dims: [_, second, third, width], layout, of_batch, back } = *self.rotation;
        let half = width / 2;
        for (row, out) in self.rows.zip(self.out.chunks_exact_mut(width)) {
            let (batch, rest) = (row / (second * third), row % (second * third));
            let (i, j) = (rest / third, rest % third);
            let start = batch * self.strides[0] + i * self.strides[1] + j * self.strides[2];
            let xs = &self.xs[start..start + width];
            let position = if layout == RopeLayout::HalvesOfPositions { i } else { j };
            let at = batch * of_batch + position * half;
            let (cos, sin) = (&self.cos[at..at + half], &self.sin[at..at + half]);
            if layout == RopeLayout::Interleaved {
                let (xs, out) = (xs.as_chunks::<2>().0, out.as_chunks_mut::<2>().0);
                for ((pair, out), (&c, &s)) in xs.iter().zip(out).zip(cos.iter().zip(sin)) {
                    let s = if back { -s } else { s };
                    out[0].write(pair[0] * c - pair[1] * s);
                    out[1].write(pair[0] * s + pair[1] * c);
                }
            } else {
                let ((xs, ys), (out_x, out_y)) = (xs.split_at(half), out.split_at_mut(half));
                let outs = out_x.iter_mut().zip(out_y);
                for (((&x, &y), (out_x, out_y)), (&c, &s)) in
                    xs.iter().zip(ys).zip(outs).zip(cos.iter().zip(sin))
                {
                    let s = if back { -s } else { s };
                    out_x.write(x * c - y * s);
                    out_y.write(x * s + y * c);
                }
            }
        }
    }
}
