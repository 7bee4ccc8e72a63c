//! The loop of dropout.

use std::mem::MaybeUninit;

use crate::cpu::element::Element;
use crate::cpu::malloc::room;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::dropout::philox::{self, BLOCKS};

/// The elements of sixteen blocks of four words.
const GROUP: usize = 4 * BLOCKS;
/// The elements of a task.
const TASK: usize = 256 * GROUP;

/// A mask, and what the numbers are multiplied by that it leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask {
    /// A word below this drops its number.
    threshold: u32,
    scale: f64,
    key: u64,
    number: u64,
}

impl Mask {
    /// The mask of a probability in `(0, 1)`.
    pub(super) fn new(p: f64, key: u64, number: u64) -> Self {
        // Saturates at a probability that is nearly 1.
        Self { threshold: (p * 4_294_967_296.0).ceil() as u32, scale: 1.0 / (1.0 - p), key, number }
    }

    /// The numbers that the mask leaves, divided by `1 - p`, and zeros.
    pub(super) fn apply<T: Element + Default>(&self, level: SimdLevel, xs: &[T]) -> Vec<T> {
        let mut out = room(xs.len());
        parallel::for_each_part(&mut out.spare_capacity_mut()[..xs.len()], TASK, |task, out| {
            let first = task * TASK;
            simd::run(level, Part { mask: self, first: first / GROUP, xs: &xs[first..][..out.len()], out });
        });
        // SAFETY: the parts are all of the memory, and `Part` writes each place of its own.
        unsafe { out.set_len(xs.len()) };
        out
    }
}

struct Part<'a, T> {
    mask: &'a Mask,
    /// The number of the first group of elements.
    first: usize,
    xs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Element + Default> simd::Task for Part<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Mask { threshold, scale, key, number } = *self.mask;
        let zero = T::default();
        let ((xs, rest), (out, out_rest)) = (self.xs.as_chunks::<GROUP>(), self.out.as_chunks_mut::<GROUP>());
        let mut group = self.first as u64;
        for (xs, out) in xs.iter().zip(out) {
            let words = philox::sixteen_blocks(group * BLOCKS as u64, number, key);
            group += 1;
            for (word, words) in words.iter().enumerate() {
                for (lane, &bits) in words.iter().enumerate() {
                    let place = word * BLOCKS + lane;
                    let value = xs[place].scaled(scale);
                    out[place].write(if bits < threshold { zero } else { value });
                }
            }
        }
        if !rest.is_empty() {
            let words = philox::sixteen_blocks(group * BLOCKS as u64, number, key);
            for (place, (&x, out)) in rest.iter().zip(out_rest).enumerate() {
                let dropped = words[place / BLOCKS][place % BLOCKS] < threshold;
                out.write(if dropped { zero } else { x.scaled(scale) });
            }
        }
    }
}
