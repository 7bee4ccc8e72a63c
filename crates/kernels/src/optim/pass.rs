//! One pass over the numbers of a variable on the CPU.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use half::bf16;

use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::{parallel, slice};
use crate::optim::real::{Real, Short};

/// The number of numbers that one task steps.
pub(crate) const PART: usize = 1 << 15;

/// One step of an optimizer that keeps `K` numbers for each number of a variable.
pub(crate) trait Rule<const K: usize>: Copy + Send + Sync {
    /// The name of the op.
    const NAME: &'static str;

    /// Steps a part of a variable. It must be `#[inline(always)]` and consist of plain loops, so that it is
    /// compiled for the vector unit in use.
    fn step<T: Real>(self, weights: &mut [T], gradients: &[T], state: [&mut [T]; K]);

    /// The same by candle's ops: the new weights and the new state.
    fn composed(
        self,
        weights: &Tensor,
        gradients: &Tensor,
        state: [&Tensor; K],
    ) -> Result<(Tensor, [Tensor; K])>;
}

/// The `f32` weights of a `bf16` or `f16` variable, and the state.
type Data<'a, T, const K: usize> = (Option<&'a mut [T]>, [&'a mut [T]; K]);

/// A step as an op that changes the variable in place.
pub(crate) struct Pass<'a, R, T, const K: usize> {
    rule: R,
    level: SimdLevel,
    data: Mutex<Data<'a, T, K>>,
}

impl<'a, R: Rule<K>, T: Real, const K: usize> Pass<'a, R, T, K> {
    pub(crate) fn new(
        rule: R,
        level: SimdLevel,
        masters: Option<&'a mut [T]>,
        state: [&'a mut [T]; K],
    ) -> Self {
        Self { rule, level, data: Mutex::new((masters, state)) }
    }

    fn run<S: Short>(
        &self,
        mut rounded: Option<&mut [S]>,
        weights: &mut [T],
        gradients: &[T],
        state: [&mut [T]; K],
    ) {
        let (mut weights, mut gradients, mut state) = (weights, gradients, state);
        let mut parts = Vec::with_capacity(weights.len().div_ceil(PART));
        while !weights.is_empty() {
            let size = weights.len().min(PART);
            let (part, rest) = gradients.split_at(size);
            gradients = rest;
            parts.push(Part {
                rule: self.rule,
                rounded: rounded.as_mut().map(|rounded| take(rounded, size)),
                weights: take(&mut weights, size),
                gradients: part,
                state: state.each_mut().map(|state| take(state, size)),
            });
        }
        parallel::for_each_part(&mut parts, 1, |_, parts| {
            parts.iter_mut().for_each(|part| simd::run(self.level, part));
        });
    }
}

/// The first elements, which are taken off the rest.
fn take<'a, X>(rest: &mut &'a mut [X], size: usize) -> &'a mut [X] {
    let (part, behind) = std::mem::take(rest).split_at_mut(size);
    *rest = behind;
    part
}

impl<R: Rule<K>, T: Real, const K: usize> InplaceOp2 for Pass<'_, R, T, K> {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        w_layout: &Layout,
        gradients: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<()> {
        let gradients = slice::of::<T>(gradients, g_layout)?;
        let Some((first, end)) = w_layout.contiguous_offsets() else {
            bail!("{} takes a contiguous variable", R::NAME)
        };
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let (masters, state) = &mut *data;
        let state = state.each_mut().map(|state| &mut **state);
        let count = end - first;
        let sizes = [gradients.len(), masters.as_ref().map_or(count, |masters| masters.len())];
        if sizes.into_iter().chain(state.iter().map(|state| state.len())).any(|size| size != count) {
            bail!("a gradient of {:?} for a variable of {:?}", g_layout.dims(), w_layout.dims());
        }
        match (weights, masters) {
            (CpuStorage::BF16(rounded), Some(masters)) => {
                self.run(Some(&mut rounded[first..end]), masters, gradients, state);
            }
            (CpuStorage::F16(rounded), Some(masters)) => {
                self.run(Some(&mut rounded[first..end]), masters, gradients, state);
            }
            (weights, None) => match T::numbers(weights) {
                Some(weights) => self.run::<bf16>(None, &mut weights[first..end], gradients, state),
                None => bail!("{} takes weights in {:?}", R::NAME, T::DTYPE),
            },
            _ => bail!("{} keeps masters for bf16 and f16 alone", R::NAME),
        }
        Ok(())
    }
}

/// The part of a variable that one task steps.
struct Part<'a, R, S, T, const K: usize> {
    rule: R,
    /// The variable itself, if `weights` are its masters.
    rounded: Option<&'a mut [S]>,
    weights: &'a mut [T],
    gradients: &'a [T],
    state: [&'a mut [T]; K],
}

impl<R: Rule<K>, S: Short, T: Real, const K: usize> simd::Task for &mut Part<'_, R, S, T, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if let Some(rounded) = &self.rounded {
            for (w, x) in self.weights.iter_mut().zip(rounded.iter()) {
                // A variable that was set from outside, by a loaded checkpoint say, is followed.
                if S::of(w.single()).widen() != x.widen() {
                    *w = T::of_single(x.widen());
                }
            }
        }
        self.rule.step(self.weights, self.gradients, self.state.each_mut().map(|state| &mut **state));
        if let Some(rounded) = &mut self.rounded {
            for (x, w) in rounded.iter_mut().zip(self.weights.iter()) {
                *x = S::of(w.single());
            }
        }
    }
}
