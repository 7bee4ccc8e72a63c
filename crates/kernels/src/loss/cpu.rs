//! A loss and its gradient over slices, in one pass.

use candle_core::{Result, bail};

use crate::activation::math::exp_below_0;
use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::loss::function::LossFunction;

/// The number of outputs that one task takes, in whole rows: fixed, so that the sum is the same with any
/// number of threads.
const BLOCK: usize = 1 << 14;

/// What the outputs should be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Targets<'a, T> {
    /// As many numbers as there are outputs.
    Rows(&'a [T]),
    /// The number of the class of each sample.
    Classes(&'a [u32]),
}

/// The loss of `samples` rows of outputs, a mean over the samples, and its gradient.
pub(super) fn loss_and_gradient<T: Number>(
    function: LossFunction,
    outputs: &[T],
    samples: usize,
    targets: Targets<T>,
) -> Result<(f64, Vec<T>)> {
    let width = outputs.len() / samples.max(1);
    if let Targets::Classes(classes) = targets
        && let Some(sample) = classes.iter().position(|&class| class as usize >= width)
    {
        bail!("sample {sample} is of class {}, but there are only {width} outputs", classes[sample]);
    }
    let (rows, scale) = ((BLOCK / width.max(1)).max(1), 1.0 / samples as f64);
    let mut gradient = vec![T::ZERO; outputs.len()];
    let mut blocks: Vec<Block<T>> = gradient
        .chunks_mut((rows * width).max(1))
        .zip(outputs.chunks((rows * width).max(1)))
        .enumerate()
        .map(|(block, (gradient, outputs))| {
            let first = block * rows;
            let targets = match targets {
                Targets::Rows(rows) => Targets::Rows(&rows[first * width..][..outputs.len()]),
                Targets::Classes(classes) => Targets::Classes(&classes[first..][..outputs.len() / width]),
            };
            Block { function, outputs, targets, width, scale, gradient, sum: 0.0 }
        })
        .collect();
    parallel::for_each_part(&mut blocks, 1, |_, blocks| {
        blocks.iter_mut().for_each(|block| simd::run(SimdLevel::best(), block));
    });
    let sum: f64 = blocks.iter().map(|block| block.sum).sum();
    Ok((sum * scale, gradient))
}

/// The samples that one task takes.
struct Block<'a, T> {
    function: LossFunction,
    outputs: &'a [T],
    targets: Targets<'a, T>,
    width: usize,
    /// One over the number of all samples.
    scale: f64,
    gradient: &'a mut [T],
    /// The sum of the samples' losses.
    sum: f64,
}

impl<T: Number> simd::Task for &mut Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, scale) = (self.width, self.scale);
        // Loops, not sums of iterators: their closures would not be compiled for the level.
        for sample in 0..self.outputs.len() / width {
            let places = sample * width..(sample + 1) * width;
            let (outputs, gradient) = (&self.outputs[places.clone()], &mut self.gradient[places.clone()]);
            self.sum += match (self.function, self.targets) {
                (LossFunction::SquaredError, Targets::Rows(targets)) => {
                    squared_error(outputs, &targets[places], scale, gradient)
                }
                (LossFunction::CrossEntropy, Targets::Rows(targets)) => {
                    cross_entropy(outputs, &targets[places], scale, gradient)
                }
                (LossFunction::CrossEntropy, Targets::Classes(classes)) => {
                    let class = classes[sample] as usize;
                    let (largest, log_sum) = softmax(outputs, scale, gradient);
                    gradient[class] = T::narrow(gradient[class].widen() - scale);
                    (largest - outputs[class].widen()) + log_sum
                }
                // `loss_and_gradient` is not called with them.
                (LossFunction::SquaredError, Targets::Classes(_)) => f64::NAN,
            };
        }
    }
}

/// `½‖o - y‖²`, and `(o - y)` times the scale.
#[inline(always)]
fn squared_error<T: Number>(outputs: &[T], targets: &[T], scale: f64, gradient: &mut [T]) -> f64 {
    let mut sum = 0.0;
    for ((gradient, o), y) in gradient.iter_mut().zip(outputs).zip(targets) {
        let difference = o.widen() - y.widen();
        sum += difference * difference;
        *gradient = T::narrow(difference * scale);
    }
    0.5 * sum
}

/// `-Σ y ln softmax(o)`, in which a target of 0 adds nothing, and `(softmax(o)·Σy - y)` times the scale.
#[inline(always)]
fn cross_entropy<T: Number>(outputs: &[T], targets: &[T], scale: f64, gradient: &mut [T]) -> f64 {
    let mut total = 0.0;
    for y in targets {
        total += y.widen();
    }
    let (largest, log_sum) = softmax(outputs, total * scale, gradient);
    let mut sum = 0.0;
    for ((gradient, o), y) in gradient.iter_mut().zip(outputs).zip(targets) {
        let y = y.widen();
        *gradient = T::narrow(gradient.widen() - y * scale);
        sum += if y == 0.0 { 0.0 } else { y * ((largest - o.widen()) + log_sum) };
    }
    sum
}

/// Writes `softmax(o)` times the scale; returns the largest output `m` and `ln Σ eᵒ⁻ᵐ`. Their sum would lose the
/// second where the outputs are large.
#[inline(always)]
fn softmax<T: Number>(outputs: &[T], scale: f64, softmax: &mut [T]) -> (f64, f64) {
    let mut largest = f64::NEG_INFINITY;
    for o in outputs {
        let o = o.widen();
        largest = if o > largest { o } else { largest };
    }
    let mut sum = 0.0;
    for o in outputs {
        sum += exp_below_0(o.widen() - largest);
    }
    let scale = scale / sum;
    for (softmax, o) in softmax.iter_mut().zip(outputs) {
        *softmax = T::narrow(exp_below_0(o.widen() - largest) * scale);
    }
    (largest, sum.ln())
}
