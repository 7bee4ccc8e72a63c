//! The activations as tensor ops.

#[cfg(any(feature = "cuda", test))]
pub(crate) mod code;
mod composed;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod function;
pub(crate) mod math;
mod scalar;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use wick_theory::Activation;

use crate::cpu::simd::SimdLevel;
use composed::compose;
use cpu::{gradients, values};

/// `φ(xs)`, element by element, for any shape and any floating point type.
///
/// On a CPU, `f64` is computed by [`Activation::value`] and [`Activation::derivative`], and the narrower
/// types by vectorised functions that are within 2 units in the last place of these, forward and backward,
/// with the same bits on every processor that has a fused multiply-add. On NVIDIA's GPUs a kernel of this
/// crate does the same, in `f32` for all types but `f64`; on other devices the activation is composed of
/// candle's own ops.
///
/// ```
/// use candle_core::{Device, Var};
/// use wick_kernels::activate;
/// use wick_theory::Activation;
///
/// let x = Var::new(&[-1.0f64, 0.0, 2.0], &Device::Cpu)?;
/// let y = activate(Activation::Relu, &x)?;
/// assert_eq!(y.to_vec1::<f64>()?, [0.0, 0.0, 2.0]);
/// let gradients = y.sum_all()?.backward()?;
/// // candle's own relu says 1 at 0; PyTorch and this say 0.
/// assert_eq!(gradients.get(&x).map(|g| g.to_vec1::<f64>()).transpose()?, Some(vec![0.0, 0.0, 1.0]));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn activate(activation: Activation, xs: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(xs.clone()),
        _ if has_ops(xs) => xs.apply_op1(Value(activation)),
        _ => compose(activation, xs),
    }
}

/// `φ'(xs) ⊙ gradient`, outside the graph: what a backward pass through [`activate`] computes.
///
/// # Errors
/// If the shapes or types of the two differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::activation_gradient;
/// use wick_theory::Activation;
///
/// let (x, g) = (Tensor::new(&[0.0f64, 1.0], &Device::Cpu)?, Tensor::new(&[2.0f64, 2.0], &Device::Cpu)?);
/// let product = activation_gradient(Activation::Softsign, &x, &g)?;
/// assert_eq!(product.to_vec1::<f64>()?, [2.0, 0.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn activation_gradient(activation: Activation, xs: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(gradient.clone()),
        _ if has_ops(xs) => xs.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &Gradient(activation)),
        _ => {
            let xs = candle_core::Var::from_tensor(&xs.detach())?;
            let gradients = (compose(activation, &xs)? * gradient.detach())?.sum_all()?.backward()?;
            match gradients.get(&xs) {
                Some(product) => Ok(product.clone()),
                None => bail!("{activation} of {:?} has no gradient", xs.shape()),
            }
        }
    }
}

/// Whether this crate has ops for the tensor.
fn has_ops(xs: &Tensor) -> bool {
    let floating = matches!(xs.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    xs.device().is_cpu() || cfg!(feature = "cuda") && xs.device().is_cuda() && floating
}

/// The forward op.
struct Value(Activation);

impl CustomOp1 for Value {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            // The result of a strided input is laid out afresh, in row-major order.
            let mut contiguous = storage.device().zeros_impl(layout.shape(), storage.dtype())?;
            storage.copy_strided_src(&mut contiguous, 0, layout)?;
            return self.cpu_fwd(&contiguous, &Layout::contiguous(layout.shape()));
        };
        use CpuStorage::{BF16, F16, F32, F64};
        let (activation, level) = (self.0, SimdLevel::best());
        let output = match storage {
            F32(xs) => F32(values(level, activation, &xs[start..end])),
            BF16(xs) => BF16(values(level, activation, &xs[start..end])),
            F16(xs) => F16(values(level, activation, &xs[start..end])),
            F64(xs) => F64(values(SimdLevel::PORTABLE, activation, &xs[start..end])),
            other => bail!("{} takes floating point tensors, not {}", self.name(), other.dtype().as_str()),
        };
        Ok((output, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, xs: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::value(self.0, xs, layout)
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        activation_gradient(self.0, &xs.detach(), &gradient.detach()).map(Some)
    }
}

/// The backward op, on two contiguous tensors.
struct Gradient(Activation);

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "activation-gradient"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        gs: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        if x_layout.shape() != g_layout.shape() {
            bail!("a gradient of {:?} for an input of {:?}", g_layout.shape(), x_layout.shape());
        }
        let (Some((x0, x1)), Some((g0, g1))) = (x_layout.contiguous_offsets(), g_layout.contiguous_offsets())
        else {
            bail!("{} takes contiguous tensors", self.name());
        };
        use CpuStorage::{BF16, F16, F32, F64};
        let (activation, level) = (self.0, SimdLevel::best());
        let output = match (xs, gs) {
            (F32(xs), F32(gs)) => F32(gradients(level, activation, &xs[x0..x1], &gs[g0..g1])),
            (BF16(xs), BF16(gs)) => BF16(gradients(level, activation, &xs[x0..x1], &gs[g0..g1])),
            (F16(xs), F16(gs)) => F16(gradients(level, activation, &xs[x0..x1], &gs[g0..g1])),
            (F64(xs), F64(gs)) => F64(gradients(SimdLevel::PORTABLE, activation, &xs[x0..x1], &gs[g0..g1])),
            (xs, gs) => {
                bail!("a gradient of {} for an input of {}", gs.dtype().as_str(), xs.dtype().as_str())
            }
        };
        Ok((output, x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        xs: &CudaStorage,
        x_layout: &Layout,
        gs: &CudaStorage,
        g_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::gradient(self.0, (xs, x_layout), (gs, g_layout))
    }
}

#[cfg(test)]
mod tests;
