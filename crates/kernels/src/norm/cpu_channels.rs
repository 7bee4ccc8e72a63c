//! The loops of group norm and batch norm.

use std::mem::MaybeUninit;

use crate::cpu::lanes::{self, BLOCK, Float, LANES};
use crate::cpu::malloc::room;
use crate::cpu::parallel::{self, Start};
use crate::cpu::simd::{self, SimdLevel};
use crate::norm::Scale;
use crate::norm::cpu_rows::{corrected, parts};
use crate::norm::gradients::{Gradients, Wanted};

/// How a tensor `[batch, channels, n]` falls into groups of segments of `n` numbers, one for each sample and channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) n: usize,
    /// The groups of the channels of each sample; `None` if a group is a channel of all samples.
    pub(super) groups: Option<usize>,
}

impl Plan {
    /// The number of all groups.
    pub(super) fn count(self) -> usize {
        self.groups.map_or(self.channels, |groups| self.batch * groups)
    }

    /// The number of segments of a group.
    #[inline(always)]
    fn segments(self) -> usize {
        self.groups.map_or(self.batch, |groups| self.channels / groups)
    }

    /// The number of a segment of a group among all segments.
    #[inline(always)]
    fn segment(self, group: usize, index: usize) -> usize {
        match self.groups {
            Some(_) => group * self.segments() + index,
            None => index * self.channels + group,
        }
    }

    /// The groups that one task takes.
    fn of_task(self) -> usize {
        lanes::rows_of_task(self.segments() * self.n)
    }
}

/// What both passes are given.
#[derive(Clone, Copy)]
pub(super) struct Channels<'a, T> {
    pub(super) plan: Plan,
    pub(super) xs: &'a [T],
    pub(super) weight: &'a [T],
}

/// The mean and the variance of each group.
pub(super) fn statistics<T: Float>(level: SimdLevel, plan: Plan, xs: &[T]) -> Vec<(f64, f64)> {
    let mut all = vec![(0.0, 0.0); plan.count()];
    let of_task = plan.of_task();
    parallel::for_each_part(&mut all, of_task, |task, out| {
        simd::run(level, Statistics { plan, xs, first: task * of_task, out });
    });
    all
}

struct Statistics<'a, T> {
    plan: Plan,
    xs: &'a [T],
    first: usize,
    out: &'a mut [(f64, f64)],
}

impl<T: Float> simd::Task for Statistics<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (plan, xs) = (self.plan, self.xs);
        let size = (plan.segments() * plan.n) as f64;
        // The segments of a group of channels follow each other: they are one.
        let (count, n) = match plan.groups {
            Some(_) => (1, plan.segments() * plan.n),
            None => (plan.batch, plan.n),
        };
        for (index, out) in self.out.iter_mut().enumerate() {
            let group = self.first + index;
            let place = |index: usize| match plan.groups {
                Some(_) => group * n,
                None => plan.segment(group, index) * n,
            };
            let mut sum = 0.0;
            for index in 0..count {
                sum += lanes::sum(&xs[place(index)..][..n]);
            }
            let centre = T::narrow(sum / size);
            let mut sums = [0.0; 2];
            for index in 0..count {
                let [off, squares] = lanes::sums_about(&xs[place(index)..][..n], centre);
                sums[0] += off;
                sums[1] += squares;
            }
            *out = corrected(centre, sums, size);
        }
    }
}

/// The norm of each element, by the scales of the groups.
pub(super) fn forward<T: Float>(level: SimdLevel, of: Channels<T>, bias: &[T], scales: &[Scale]) -> Vec<T> {
    let mut out = room(of.xs.len());
    let start = Start(out.spare_capacity_mut().as_mut_ptr());
    let of_task = of.plan.of_task();
    parallel::for_each(of.plan.count().div_ceil(of_task), |task| {
        let groups = task * of_task..of.plan.count().min((task + 1) * of_task);
        simd::run(level, Forward { of, bias, scales, groups, start: &start });
    });
    // SAFETY: the groups have every segment, and `Forward` writes each place of its own.
    unsafe { out.set_len(of.xs.len()) };
    out
}

struct Forward<'a, T> {
    of: Channels<'a, T>,
    bias: &'a [T],
    scales: &'a [Scale],
    groups: std::ops::Range<usize>,
    start: &'a Start<MaybeUninit<T>>,
}

impl<T: Float> simd::Task for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let plan = self.of.plan;
        for group in self.groups {
            let [centre, rest, r] = parts(self.scales[group]);
            for index in 0..plan.segments() {
                let segment = plan.segment(group, index);
                let xs = &self.of.xs[segment * plan.n..][..plan.n];
                // SAFETY: no other group has the segment.
                let out = unsafe { std::slice::from_raw_parts_mut(self.start.at(segment * plan.n), plan.n) };
                let (weight, bias) =
                    (self.of.weight[segment % plan.channels], self.bias[segment % plan.channels]);
                for (out, &x) in out.iter_mut().zip(xs) {
                    out.write((((x - centre) - rest) * r).fused(weight, bias));
                }
            }
        }
    }
}

/// The gradients with respect to the elements, the weight and the bias. `fixed`: the scales do not depend on the
/// elements.
pub(super) fn backward<T: Float>(
    level: SimdLevel,
    of: Channels<T>,
    scales: &[Scale],
    gs: &[T],
    wanted: Wanted,
    fixed: bool,
) -> Gradients<T> {
    let plan = of.plan;
    let count = if wanted.input { of.xs.len() } else { 0 };
    let mut input = room(count);
    let mut sums = vec![[0.0; 2]; plan.batch * plan.channels];
    let (start, of_sums) = (Start(input.spare_capacity_mut().as_mut_ptr()), Start(sums.as_mut_ptr()));
    let of_task = plan.of_task();
    parallel::for_each(plan.count().div_ceil(of_task), |task| {
        let groups = task * of_task..plan.count().min((task + 1) * of_task);
        let out = wanted.input.then_some(&start);
        simd::run(level, Backward { of, scales, gs, groups, fixed, out, sums: &of_sums });
    });
    // SAFETY: the groups have every segment, and `Backward` writes each place of its own.
    unsafe { input.set_len(count) };
    let mut gradients = Gradients { input, weight: vec![0.0; plan.channels], bias: vec![0.0; plan.channels] };
    for sums in sums.chunks_exact(plan.channels.max(1)) {
        for (channel, [of_g, of_gx]) in sums.iter().enumerate() {
            gradients.bias[channel] += of_g;
            gradients.weight[channel] += of_gx;
        }
    }
    gradients
}

struct Backward<'a, T> {
    of: Channels<'a, T>,
    scales: &'a [Scale],
    gs: &'a [T],
    groups: std::ops::Range<usize>,
    fixed: bool,
    out: Option<&'a Start<MaybeUninit<T>>>,
    /// `Σ g` and `Σ g x̂` of each segment.
    sums: &'a Start<[f64; 2]>,
}

impl<T: Float> simd::Task for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let plan = self.of.plan;
        let size = (plan.segments() * plan.n) as f64;
        for group in self.groups {
            let [centre, rest, r] = parts(self.scales[group]);
            let mut all = [0.0; 2];
            for index in 0..plan.segments() {
                let segment = plan.segment(group, index);
                let place = segment * plan.n..(segment + 1) * plan.n;
                let sums = sums_of(&self.of.xs[place.clone()], &self.gs[place], [centre, rest, r]);
                // SAFETY: no other group has the segment, and the memory outlives the loop.
                unsafe { self.sums.at(segment).write(sums) };
                let weight = self.of.weight[segment % plan.channels].widen();
                all[0] += weight * sums[0];
                all[1] += weight * sums[1];
            }
            let Some(start) = self.out else { continue };
            let all = if self.fixed { [0.0; 2] } else { all };
            let (of_a, of_ax) = (T::narrow(all[0] / size), T::narrow(-all[1] / size));
            for index in 0..plan.segments() {
                let segment = plan.segment(group, index);
                let place = segment * plan.n..(segment + 1) * plan.n;
                // SAFETY: as above.
                let out = unsafe { std::slice::from_raw_parts_mut(start.at(place.start), plan.n) };
                let weight = self.of.weight[segment % plan.channels];
                for ((out, &x), &g) in out.iter_mut().zip(&self.of.xs[place.clone()]).zip(&self.gs[place]) {
                    let x = ((x - centre) - rest) * r;
                    out.write(x.fused(of_ax, g.fused(weight, -of_a)) * r);
                }
            }
        }
    }
}

/// `Σ g` and `Σ g x̂`.
#[inline(always)]
fn sums_of<T: Float>(xs: &[T], gs: &[T], [centre, rest, r]: [T; 3]) -> [f64; 2] {
    let mut all = [0.0; 2];
    for (xs, gs) in xs.chunks(BLOCK).zip(gs.chunks(BLOCK)) {
        let (mut of_g, mut of_gx) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        let ((xs, x_rest), (gs, g_rest)) = (xs.as_chunks::<LANES>(), gs.as_chunks::<LANES>());
        for (xs, gs) in xs.iter().zip(gs) {
            for lane in 0..LANES {
                of_g[lane] += gs[lane];
                of_gx[lane] = gs[lane].fused(((xs[lane] - centre) - rest) * r, of_gx[lane]);
            }
        }
        if !x_rest.is_empty() {
            let (xs, gs) = (lanes::padded(x_rest, centre), lanes::padded(g_rest, T::ZERO));
            for lane in 0..LANES {
                of_g[lane] += gs[lane];
                of_gx[lane] = gs[lane].fused(((xs[lane] - centre) - rest) * r, of_gx[lane]);
            }
        }
        all[0] += lanes::total(of_g).widen();
        all[1] += lanes::total(of_gx).widen();
    }
    all
}
