//! Optimizers that step a variable in one pass over its numbers, and what they share.
//!
//! An optimizer is a file with a [`Rule`]: the loop over the numbers of a part of a variable, its gradient
//! and its state. On a GPU it is a kernel in `cuda/optimizer.cu`, launched from the same file on many
//! variables at once.

pub(crate) mod adamw;
#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod sgd;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Var, bail};

use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};

/// The number of numbers that one task steps.
pub(crate) const PART: usize = 1 << 15;

/// One step of an optimizer that keeps `K` numbers, zero at first, for each number of a variable.
pub(crate) trait Rule<const K: usize>: Copy + Send + Sync {
    /// The name of the op.
    const NAME: &'static str;

    /// Steps a part of a variable. It must be `#[inline(always)]`, so that it is compiled for the vector unit
    /// in use.
    fn step(self, weights: &mut [f32], gradients: &[f32], state: [&mut [f32]; K]);
}

/// The variables of an optimizer that are stepped in one pass on the CPU: contiguous and of `f32`.
#[derive(Debug)]
pub(crate) struct CpuVars<const K: usize>(Vec<CpuVar<K>>);

#[derive(Debug)]
struct CpuVar<const K: usize> {
    var: Var,
    /// The state, zeros before the first step.
    state: Mutex<[Vec<f32>; K]>,
}

impl<const K: usize> CpuVars<K> {
    /// Takes those of the variables that can be stepped in one pass; returns the others too.
    pub(crate) fn split(vars: Vec<Var>) -> (Self, Vec<Var>) {
        let is_ours = |var: &Var| var.device().is_cpu() && var.dtype() == DType::F32 && var.is_contiguous();
        let (ours, others) = vars.into_iter().partition(is_ours);
        let with_state = |var: Var| {
            let zeros = std::array::from_fn(|_| vec![0.0; var.elem_count()]);
            CpuVar { var, state: Mutex::new(zeros) }
        };
        (Self(Vec::into_iter(ours).map(with_state).collect()), others)
    }

    /// Steps the variables that have a gradient.
    pub(crate) fn step(&self, rule: impl Rule<K>, gradients: &GradStore) -> Result<()> {
        for CpuVar { var, state } in &self.0 {
            if let Some(gradient) = gradients.get(var) {
                let gradient = gradient.to_dtype(DType::F32)?.contiguous()?;
                var.as_tensor().inplace_op2(&gradient, &Step { rule, state })?;
            }
        }
        Ok(())
    }
}

/// A step as an op that changes the variable in place.
struct Step<'a, R, const K: usize> {
    rule: R,
    state: &'a Mutex<[Vec<f32>; K]>,
}

impl<R: Rule<K>, const K: usize> InplaceOp2 for Step<'_, R, K> {
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
        let (CpuStorage::F32(weights), CpuStorage::F32(gradients)) = (weights, gradients) else {
            bail!("the fast step takes f32")
        };
        let (Some((w0, w1)), Some((g0, g1))) = (w_layout.contiguous_offsets(), g_layout.contiguous_offsets())
        else {
            bail!("the fast step takes contiguous tensors")
        };
        if w1 - w0 != g1 - g0 {
            bail!("a gradient of {:?} for a variable of {:?}", g_layout.dims(), w_layout.dims());
        }
        let (weights, gradients) = (&mut weights[w0..w1], &gradients[g0..g1]);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = state.each_mut().map(Vec::as_mut_slice);
        let parts = weights.chunks_mut(PART).zip(gradients.chunks(PART));
        let mut parts: Vec<Part<R, K>> = parts
            .map(|(weights, gradients)| {
                let state = rest.each_mut().map(|rest| {
                    let (part, behind) = std::mem::take(rest).split_at_mut(weights.len());
                    *rest = behind;
                    part
                });
                Part { rule: self.rule, weights, gradients, state }
            })
            .collect();
        parallel::for_each_part(&mut parts, 1, |_, parts| {
            parts.iter_mut().for_each(|part| simd::run(SimdLevel::best(), part));
        });
        Ok(())
    }
}

/// The part of a variable that one task steps.
struct Part<'a, R, const K: usize> {
    rule: R,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    state: [&'a mut [f32]; K],
}

impl<R: Rule<K>, const K: usize> simd::Task for &mut Part<'_, R, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.rule.step(self.weights, self.gradients, self.state.each_mut().map(|state| &mut **state));
    }
}
