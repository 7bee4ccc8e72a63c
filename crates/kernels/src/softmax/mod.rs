//! Softmax and its logarithm over the last dimension, with their backward passes.

mod composed;
pub(crate) mod cpu;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::cpu::lanes;
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;

/// `softmax(x)_i = eˣⁱ⁻ᵐ / Σ_j eˣʲ⁻ᵐ` over the last dimension, with its largest number `m`; any shape `[…, n]`,
/// differentiable: `∂/∂x = y ⊙ (g - Σ_j g_j y_j)`.
///
/// On a CPU, `f32` and `f64` take one pass in blocks of a fixed size, with the same bits for any number of threads
/// and at every SIMD level with a fused multiply-add; `bf16` and `f16` are computed in `f32` and rounded once. On other
/// devices the op is composed of candle's own ops. A logit of -∞ has the probability 0; a row of nothing else is NaN,
/// as in PyTorch. A probability below `2⁻¹²⁶` of the largest one is 0.
///
/// (candle's `softmax_last_dim` is as fast forward, and has no backward pass: the gradient ends there without an error.)
///
/// ```
/// use candle_core::{Device, Var};
/// use wick_kernels::softmax;
///
/// let x = Var::new(&[[0f64, 3f64.ln()]], &Device::Cpu)?;
/// let y = softmax(&x)?;
/// assert!((y.to_vec2::<f64>()?[0][1] - 0.75).abs() < 1e-15);
/// let gradient = y.narrow(1, 1, 1)?.sum_all()?.backward()?.get(&x).map(|g| g.to_vec2::<f64>()).transpose()?;
/// assert!(gradient.is_some_and(|g| (g[0][1] - 0.75 * 0.25).abs() < 1e-15));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the tensor is a scalar or not floating point.
pub fn softmax(xs: &Tensor) -> Result<Tensor> {
    apply(xs, false)
}

/// `ln softmax(x)_i = x_i - m - ln Σ_j eˣʲ⁻ᵐ` over the last dimension, with its largest number `m`; any shape
/// `[…, n]`, differentiable: `∂/∂x = g - eʸ Σ_j g_j`. Types, devices and bits are those of [`softmax`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::log_softmax;
///
/// let y = log_softmax(&Tensor::new(&[0f64, f64::NEG_INFINITY, 0.0], &Device::Cpu)?)?.to_vec1::<f64>()?;
/// assert!((y[0] + 2f64.ln()).abs() < 1e-15 && y[1] == f64::NEG_INFINITY);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the tensor is a scalar or not floating point.
pub fn log_softmax(xs: &Tensor) -> Result<Tensor> {
    apply(xs, true)
}

fn apply(xs: &Tensor, log: bool) -> Result<Tensor> {
    let op = SoftmaxOp { log };
    if xs.rank() == 0 || !lanes::is_float(xs.dtype()) {
        bail!(
            "{} takes a floating point tensor of one dimension or more, not {:?} {:?}",
            op.name(),
            xs.dtype(),
            xs.shape()
        );
    }
    if !lanes::are_for(xs) {
        return composed::apply(xs, log);
    }
    if lanes::is_half(xs.dtype()) {
        return apply(&xs.to_dtype(DType::F32)?, log)?.to_dtype(xs.dtype());
    }
    xs.contiguous()?.apply_op1(op)
}

struct SoftmaxOp {
    log: bool,
}

/// The numbers of the last dimension.
fn width(shape: &Shape) -> usize {
    shape.dims().last().copied().unwrap_or(0)
}

impl CustomOp1 for SoftmaxOp {
    fn name(&self) -> &'static str {
        if self.log { "log-softmax" } else { "softmax" }
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (level, width) = (SimdLevel::best(), width(layout.shape()));
        let output = match storage {
            CpuStorage::F32(_) => {
                CpuStorage::F32(cpu::values::<f32>(level, slice::of(storage, layout)?, width, self.log))
            }
            _ => CpuStorage::F64(cpu::values::<f64>(level, slice::of(storage, layout)?, width, self.log)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, ys: &Tensor, gs: &Tensor) -> Result<Option<Tensor>> {
        match ys.dtype() {
            DType::F32 => self.gradient::<f32>(ys, gs).map(Some),
            _ => self.gradient::<f64>(ys, gs).map(Some),
        }
    }
}

impl SoftmaxOp {
    fn gradient<T: lanes::Float>(&self, ys: &Tensor, gs: &Tensor) -> Result<Tensor> {
        let (level, width) = (SimdLevel::best(), width(ys.shape()));
        let of = |ys: &[T], gs: &[T]| cpu::gradients(level, ys, gs, width, self.log);
        let gs = gs.contiguous()?;
        let gradient = slice::with(ys, |ys| slice::with(&gs, |gs| of(ys, gs)))??;
        Tensor::from_vec(gradient, ys.shape(), &Device::Cpu)
    }
}
