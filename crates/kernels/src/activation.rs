//! The activations as tensor ops.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use std::mem::MaybeUninit;

use wick_theory::Activation;

use crate::compose::compose;
use crate::function::{Element, Function, Visit, visit};
use crate::math::SIN_LIMIT;
use crate::simd::{self, Task};
use crate::{SimdLevel, parallel};

/// `φ(xs)`, element by element, for any shape and any floating point type.
///
/// On a CPU, `f64` is computed by [`Activation::value`] and [`Activation::derivative`], and the narrower types by
/// vectorised functions that are within 2 units in the last place of these, forward and backward, the same bits on every
/// processor that has a fused multiply-add. On NVIDIA's GPUs a kernel of ours does the same, in `f32` for all but `f64`; on
/// other devices it is composed of candle's own ops.
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

/// Whether there are ops of ours for the tensor.
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
            F64(xs) => F64(values(SimdLevel::Portable, activation, &xs[start..end])),
            other => bail!("{} takes floating point tensors, not {}", self.name(), other.dtype().as_str()),
        };
        Ok((output, layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, xs: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        crate::cuda::value(self.0, xs, layout)
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
            (F64(xs), F64(gs)) => F64(gradients(SimdLevel::Portable, activation, &xs[x0..x1], &gs[g0..g1])),
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
        crate::cuda::gradient(self.0, (xs, x_layout), (gs, g_layout))
    }
}

/// Elements that one task computes.
const TASK: usize = 1 << 14;

/// `φ` of every element.
pub(crate) fn values<T: Element>(level: SimdLevel, activation: Activation, xs: &[T]) -> Vec<T> {
    filled(xs.len(), |start, out| {
        let xs = &xs[start..start + out.len()];
        if level.is_fast() {
            visit(activation, Values { level, xs, out });
            if activation == Activation::Sin {
                far_out(xs, out, f64::sin);
            }
        } else {
            for (out, x) in out.iter_mut().zip(xs) {
                out.write(T::narrow(activation.value(x.wide())));
            }
        }
    })
}

/// `φ'` of every element, times the gradient that comes back.
pub(crate) fn gradients<T: Element>(level: SimdLevel, activation: Activation, xs: &[T], gs: &[T]) -> Vec<T> {
    filled(xs.len(), |start, out| {
        let (xs, gs) = (&xs[start..start + out.len()], &gs[start..start + out.len()]);
        if level.is_fast() {
            visit(activation, Gradients { level, xs, gs, out });
            if activation == Activation::Sin {
                for ((out, x), g) in out.iter_mut().zip(xs).zip(gs) {
                    if x.wide().abs() > SIN_LIMIT {
                        out.write(T::narrow(x.wide().cos() * g.wide()));
                    }
                }
            }
        } else {
            for ((out, x), g) in out.iter_mut().zip(xs).zip(gs) {
                out.write(T::narrow(activation.derivative(x.wide()) * g.wide()));
            }
        }
    })
}

/// Computes again, one by one, what the vector unit's sine is not good for.
fn far_out<T: Element>(xs: &[T], out: &mut [MaybeUninit<T>], f: impl Fn(f64) -> f64) {
    for (out, x) in out.iter_mut().zip(xs) {
        if x.wide().abs() > SIN_LIMIT {
            out.write(T::narrow(f(x.wide())));
        }
    }
}

/// A vector that tasks fill part by part: `fill` gets the place of its part, and writes all of it.
fn filled<T: Send>(count: usize, fill: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync) -> Vec<T> {
    let mut values = Vec::with_capacity(count);
    let spare = &mut values.spare_capacity_mut()[..count];
    parallel::for_each_part(spare, TASK, |task, part| fill(task * TASK, part));
    // SAFETY: every part has been written by `fill`.
    unsafe { values.set_len(count) };
    values
}

struct Values<'a, T> {
    level: SimdLevel,
    xs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Element> Visit for Values<'_, T> {
    type Output = ();

    fn visit<F: Function>(self, function: F) {
        simd::run(self.level, Loop { function, with: self });
    }
}

struct Gradients<'a, T> {
    level: SimdLevel,
    xs: &'a [T],
    gs: &'a [T],
    out: &'a mut [MaybeUninit<T>],
}

impl<T: Element> Visit for Gradients<'_, T> {
    type Output = ();

    fn visit<F: Function>(self, function: F) {
        simd::run(self.level, Loop { function, with: self });
    }
}

/// `φ` of every element, in its place.
pub(crate) fn apply(level: SimdLevel, activation: Activation, xs: &mut [f32]) {
    if activation == Activation::Sin && xs.iter().any(|x| f64::from(x.abs()) > SIN_LIMIT) {
        xs.iter_mut().for_each(|x| *x = activation.value(f64::from(*x)) as f32);
    } else if activation != Activation::Identity {
        visit(activation, InPlace { level, xs });
    }
}

/// `φ'·g` in the place of `g`, from the output of the activation if that
/// [is enough](is_derivative_of_output), else from its input.
pub(crate) fn apply_gradient(level: SimdLevel, activation: Activation, known: &[f32], gs: &mut [f32]) {
    if activation == Activation::Sin && known.iter().any(|x| f64::from(x.abs()) > SIN_LIMIT) {
        let derivative = |x: f32| activation.derivative(f64::from(x));
        gs.iter_mut().zip(known).for_each(|(g, &x)| *g = (derivative(x) * f64::from(*g)) as f32);
    } else if activation != Activation::Identity {
        visit(activation, GradientInPlace { level, known, gs });
    }
}

/// Whether the derivative in `f32` is computed from the output, as PyTorch does: for tanh, `1 - h²`.
pub(crate) fn is_derivative_of_output(activation: Activation) -> bool {
    struct Ask;
    impl Visit for Ask {
        type Output = bool;

        fn visit<F: Function>(self, _: F) -> bool {
            F::OF_OUTPUT
        }
    }
    visit(activation, Ask)
}

struct InPlace<'a> {
    level: SimdLevel,
    xs: &'a mut [f32],
}

impl Visit for InPlace<'_> {
    type Output = ();

    fn visit<F: Function>(self, function: F) {
        simd::run(self.level, Loop { function, with: self });
    }
}

struct GradientInPlace<'a> {
    level: SimdLevel,
    known: &'a [f32],
    gs: &'a mut [f32],
}

impl Visit for GradientInPlace<'_> {
    type Output = ();

    fn visit<F: Function>(self, function: F) {
        simd::run(self.level, Loop { function, with: self });
    }
}

impl<F: Function> Task for Loop<F, InPlace<'_>> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.with.xs {
            *x = self.function.value_f32(*x);
        }
    }
}

impl<F: Function> Task for Loop<F, GradientInPlace<'_>> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (g, &known) in self.with.gs.iter_mut().zip(self.with.known) {
            *g = if F::OF_OUTPUT {
                self.function.gradient_of_output_f32(known, *g)
            } else {
                self.function.gradient_f32(known, *g)
            };
        }
    }
}

struct Loop<F, W> {
    function: F,
    with: W,
}

impl<F: Function, T: Element> Task for Loop<F, Values<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, &x) in self.with.out.iter_mut().zip(self.with.xs) {
            out.write(T::value(self.function, x));
        }
    }
}

impl<F: Function, T: Element> Task for Loop<F, Gradients<'_, T>> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Gradients { xs, gs, out, .. } = self.with;
        for ((out, &x), &g) in out.iter_mut().zip(xs).zip(gs) {
            out.write(T::gradient(self.function, x, g));
        }
    }
}

#[cfg(test)]
#[path = "activation_tests.rs"]
mod tests;
