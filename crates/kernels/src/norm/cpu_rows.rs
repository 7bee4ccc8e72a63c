//! The loops of layer norm and RMS norm.

use std::mem::MaybeUninit;

use crate::cpu::lanes::{self, Float};
use crate::cpu::malloc::room;
use crate::cpu::parallel::{self, Start};
use crate::cpu::simd::{self, SimdLevel};
use crate::norm::Scale;
use crate::norm::gradients::{Gradients, Wanted};

/// What both passes are given: rows as long as the weight.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) xs: &'a [T],
    pub(super) weight: &'a [T],
    /// Whether the mean is subtracted.
    pub(super) centred: bool,
}

/// The norm of each row, and its scale.
pub(super) fn forward<T: Float>(
    level: SimdLevel,
    rows: Rows<T>,
    bias: &[T],
    eps: f64,
) -> (Vec<T>, Vec<Scale>) {
    let width = rows.weight.len();
    let (of_task, count) = (lanes::rows_of_task(width), rows.xs.len());
    let mut out = room(count);
    let mut scales = vec![[0.0; 2]; count.checked_div(width).unwrap_or(0)];
    let start = Start(scales.as_mut_ptr());
    parallel::for_each_part(&mut out.spare_capacity_mut()[..count], of_task * width, |task, out| {
        let xs = &rows.xs[task * of_task * width..][..out.len()];
        // SAFETY: the tasks' rows are distinct, and the scales outlive the loop.
        let scales = unsafe { std::slice::from_raw_parts_mut(start.at(task * of_task), out.len() / width) };
        simd::run(level, Forward { rows: Rows { xs, ..rows }, bias, eps, out, scales });
    });
    // SAFETY: the parts are all of the memory, and `Forward` writes each place of its own.
    unsafe { out.set_len(count) };
    (out, scales)
}

struct Forward<'a, T> {
    rows: Rows<'a, T>,
    bias: &'a [T],
    eps: f64,
    out: &'a mut [MaybeUninit<T>],
    scales: &'a mut [Scale],
}

impl<T: Float> simd::Task for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (weight, width) = (self.rows.weight, self.rows.weight.len());
        let rows = self.rows.xs.chunks_exact(width).zip(self.out.chunks_exact_mut(width));
        for ((xs, out), scale) in rows.zip(self.scales) {
            let (bias, out) = (&self.bias[..width], &mut out[..width]);
            if self.rows.centred {
                *scale = scale_of(xs, self.eps);
                let [centre, rest, r] = parts(*scale);
                for place in 0..width {
                    out[place].write((((xs[place] - centre) - rest) * r).fused(weight[place], bias[place]));
                }
            } else {
                let square = lanes::dot(xs, xs) / width as f64;
                *scale = [0.0, 1.0 / (square + self.eps).sqrt()];
                let r = T::narrow(scale[1]);
                for place in 0..width {
                    out[place].write((xs[place] * r) * weight[place]);
                }
            }
        }
    }
}

/// The mean of a row and `1/√(var + eps)`.
#[inline(always)]
fn scale_of<T: Float>(xs: &[T], eps: f64) -> Scale {
    let n = xs.len() as f64;
    let centre = T::narrow(lanes::sum(xs) / n);
    let (mean, variance) = corrected(centre, lanes::sums_about(xs, centre), n);
    [mean, 1.0 / (variance + eps).sqrt()]
}

/// The mean and the variance of `n` numbers from the sums of their differences from a centre, and of the squares.
#[inline(always)]
pub(super) fn corrected<T: Float>(centre: T, [off, squares]: [f64; 2], n: f64) -> (f64, f64) {
    let off = off / n;
    let variance = squares / n - off * off;
    // Rounding may leave a little less than 0 if all numbers are equal.
    (centre.widen() + off, if variance < 0.0 { 0.0 } else { variance })
}

/// The mean as two numbers of the type, which are subtracted one after the other, and the factor.
#[inline(always)]
pub(super) fn parts<T: Float>([mean, r]: Scale) -> [T; 3] {
    let centre = T::narrow(mean);
    [centre, T::narrow(mean - centre.widen()), T::narrow(r)]
}

/// The number of rows whose gradients of the parameters are summed in the elements' own type.
const GROUP: usize = 32;
/// The largest number of tasks, each of which has sums of the parameters' gradients of its own.
const TASKS: usize = 64;

/// The gradients with respect to the rows, the weight and the bias.
pub(super) fn backward<T: Float>(
    level: SimdLevel,
    rows: Rows<T>,
    scales: &[Scale],
    gs: &[T],
    wanted: Wanted,
) -> Gradients<T> {
    let width = rows.weight.len();
    let of_task = lanes::rows_of_task(width).max(scales.len().div_ceil(TASKS));
    let count = if wanted.input { rows.xs.len() } else { 0 };
    let mut input = room(count);
    let start = Start(input.spare_capacity_mut().as_mut_ptr());
    let sums = parallel::map(scales.len().div_ceil(of_task), |task| {
        let first = task * of_task;
        let scales = &scales[first..scales.len().min(first + of_task)];
        let place = first * width..(first + scales.len()) * width;
        // SAFETY: the tasks' rows are distinct, and the memory outlives the loop.
        let out = wanted
            .input
            .then(|| unsafe { std::slice::from_raw_parts_mut(start.at(place.start), place.len()) });
        let rows = Rows { xs: &rows.xs[place.clone()], ..rows };
        let sums = if wanted.parameters { width } else { 0 };
        let mut task =
            Backward { rows, scales, gs: &gs[place], out, weight: vec![0.0; sums], bias: vec![0.0; sums] };
        simd::run(level, &mut task);
        (task.weight, task.bias)
    });
    // SAFETY: the tasks' rows are all of the memory, and `Backward` writes each place of its own.
    unsafe { input.set_len(count) };
    let mut gradients = Gradients { input, weight: vec![0.0; width], bias: vec![0.0; width] };
    for (weight, bias) in sums {
        for (sum, part) in gradients.weight.iter_mut().zip(weight) {
            *sum += part;
        }
        for (sum, part) in gradients.bias.iter_mut().zip(bias) {
            *sum += part;
        }
    }
    gradients
}

struct Backward<'a, T> {
    rows: Rows<'a, T>,
    scales: &'a [Scale],
    gs: &'a [T],
    out: Option<&'a mut [MaybeUninit<T>]>,
    /// The sums of the parameters' gradients; empty if they are not wanted.
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl<T: Float> simd::Task for &mut Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (weight, width) = (self.rows.weight, self.rows.weight.len());
        let (n, sums) = (width as f64, !self.weight.is_empty());
        let (mut of_weight, mut of_bias) =
            (vec![T::ZERO; self.weight.len()], vec![T::ZERO; self.weight.len()]);
        // A row's x̂ and a, which stay in the first-level cache.
        let (mut normed, mut scaled) = (vec![T::ZERO; width], vec![T::ZERO; width]);
        let rows = self.rows.xs.chunks_exact(width).zip(self.gs.chunks_exact(width));
        for ((row, (xs, gs)), &scale) in rows.enumerate().zip(self.scales) {
            let parts = parts(scale);
            let (normed, scaled) = (&mut normed[..width], &mut scaled[..width]);
            normalize(xs, parts, normed);
            if sums {
                let (of_weight, of_bias) = (&mut of_weight[..width], &mut of_bias[..width]);
                add_to_parameters(normed, gs, of_weight, of_bias);
                if (row + 1) % GROUP == 0 || row + 1 == self.scales.len() {
                    flush(of_weight, &mut self.weight);
                    flush(of_bias, &mut self.bias);
                }
            }
            if let Some(out) = &mut self.out {
                multiply(gs, weight, scaled);
                let of_a = if self.rows.centred { lanes::sum(scaled) / n } else { 0.0 };
                let of_ax = -lanes::dot(scaled, normed) / n;
                let means = [of_a, of_ax].map(T::narrow);
                of_row(normed, scaled, parts[2], means, &mut out[row * width..][..width]);
            }
        }
    }
}

// Loops that are functions of their own: the compiler vectorizes one only over slices of which it knows that they do not
// overlap.

/// `x̂` of a row.
#[inline(always)]
fn normalize<T: Float>(xs: &[T], [centre, rest, r]: [T; 3], normed: &mut [T]) {
    for (normed, &x) in normed.iter_mut().zip(xs) {
        *normed = ((x - centre) - rest) * r;
    }
}

/// `a = g·weight` of a row.
#[inline(always)]
fn multiply<T: Float>(gs: &[T], weight: &[T], scaled: &mut [T]) {
    for ((scaled, &g), &weight) in scaled.iter_mut().zip(gs).zip(weight) {
        *scaled = g * weight;
    }
}

/// Adds a row's part of the gradients of the weight and the bias.
#[inline(always)]
fn add_to_parameters<T: Float>(normed: &[T], gs: &[T], of_weight: &mut [T], of_bias: &mut [T]) {
    let width = of_weight.len();
    let (normed, gs, of_bias) = (&normed[..width], &gs[..width], &mut of_bias[..width]);
    for place in 0..width {
        of_weight[place] = gs[place].fused(normed[place], of_weight[place]);
        of_bias[place] += gs[place];
    }
}

/// The gradient of a row, from `x̂`, `a`, `mean(a)` and `-mean(a x̂)`.
#[inline(always)]
fn of_row<T: Float>(normed: &[T], scaled: &[T], r: T, [of_a, of_ax]: [T; 2], out: &mut [MaybeUninit<T>]) {
    let width = out.len();
    let (normed, scaled) = (&normed[..width], &scaled[..width]);
    for place in 0..width {
        out[place].write(normed[place].fused(of_ax, scaled[place] - of_a) * r);
    }
}

/// Adds sums of a group of rows to those of the task, and begins anew.
#[inline(always)]
fn flush<T: Float>(group: &mut [T], all: &mut [f64]) {
    for (all, sum) in all.iter_mut().zip(group) {
        *all += sum.widen();
        *sum = T::ZERO;
    }
}
