//! The sum of two tensors with weights, as one op.

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::cpu::malloc::room;
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::{parallel, slice};

/// `a·x + b·y`, each product rounded before the sum: what gradients of parts of a batch are added by.
///
/// `f32` and `f64` on a CPU take one pass on every core; other types and devices are left to candle's ops. It is not a
/// part of candle's graph.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::weighted_sum;
///
/// let (x, y) = (Tensor::new(&[1f32, 2.0], &Device::Cpu)?, Tensor::new(&[4f32, 8.0], &Device::Cpu)?);
/// assert_eq!(weighted_sum((0.5, &x), (0.25, &y))?.to_vec1::<f32>()?, [1.5, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices differ.
pub fn weighted_sum((a, x): (f64, &Tensor), (b, y): (f64, &Tensor)) -> Result<Tensor> {
    if x.shape() != y.shape() || x.dtype() != y.dtype() || !x.device().same_device(y.device()) {
        bail!(
            "a weighted sum takes two tensors of one shape, type and device, not {:?} {:?} and {:?} {:?}",
            x.dtype(),
            x.shape(),
            y.dtype(),
            y.shape()
        );
    }
    let (x, y) = (x.detach(), y.detach());
    if x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64) {
        return x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &WeightedSum { a, b });
    }
    x.affine(a, 0.0)? + y.affine(b, 0.0)?
}

struct WeightedSum {
    a: f64,
    b: f64,
}

impl CustomOp2 for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted-sum"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sum = match x {
            CpuStorage::F32(_) => {
                let weights = (self.a as f32, self.b as f32);
                CpuStorage::F32(sum(weights, slice::of(x, x_layout)?, slice::of(y, y_layout)?))
            }
            _ => CpuStorage::F64(sum((self.a, self.b), slice::of(x, x_layout)?, slice::of(y, y_layout)?)),
        };
        Ok((sum, x_layout.shape().clone()))
    }
}

/// The number of elements that one task adds.
const PART: usize = 1 << 15;

fn sum<T: WithDType>((a, b): (T, T), xs: &[T], ys: &[T]) -> Vec<T> {
    let mut out = room(xs.len());
    parallel::for_each_part(&mut out.spare_capacity_mut()[..xs.len()], PART, |part, out| {
        let place = part * PART..part * PART + out.len();
        simd::run(SimdLevel::best(), Part { a, b, xs: &xs[place.clone()], ys: &ys[place], out });
    });
    // SAFETY: the parts are all of the memory, and `Part` writes each place of its own.
    unsafe { out.set_len(xs.len()) };
    out
}

struct Part<'a, T> {
    a: T,
    b: T,
    xs: &'a [T],
    ys: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: WithDType> simd::Task for Part<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let count = self.out.len();
        let (xs, ys) = (&self.xs[..count], &self.ys[..count]);
        for ((out, x), y) in self.out.iter_mut().zip(xs).zip(ys) {
            out.write(self.a * *x + self.b * *y);
        }
    }
}
