//! Layer norm and RMS norm: each row of the last dimension by itself.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

use crate::cpu::lanes::{self, Float};
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;
use crate::norm::cpu_rows::{self, Rows};
use crate::norm::gradients::Wanted;
use crate::norm::{Scale, check_eps, composed, inner, parameters, storage};

/// Layer norm over the last dimension (Ba, Kiros and Hinton 2016, *Layer Normalization*, equations 3 and 4):
/// `y = (x - mean)/√(var + eps) ⊙ weight + bias`, where the mean and the variance (divided by `n`) are those of the
/// `n` numbers of a row; `x` is `[…, n]`, `weight` and `bias` are `[n]`. Differentiable in all three, by the formulas
/// with `x̂ = (x - mean)·r`, `r = 1/√(var + eps)` and `a = g ⊙ weight`: `∂/∂x = r (a - mean(a) - x̂ mean(a ⊙ x̂))`,
/// `∂/∂weight = Σ g ⊙ x̂` and `∂/∂bias = Σ g` over the rows. A gradient that nothing asks for is not computed.
///
/// On a CPU, `f32` and `f64` take one pass over the memory in each direction, with the same bits for any number of
/// threads and at every SIMD level with a fused multiply-add. The variance is that of the differences from a first
/// mean, corrected (Chan, Golub and LeVeque 1983, *Algorithms for computing the sample variance*, equation 1.7), so that
/// a mean far from 0 costs no digits. `bf16` and `f16` are computed in `f32` and rounded once. On other devices the op
/// is composed of candle's own ops.
///
/// (candle's fused `layer_norm` has no backward pass: the gradient ends there without an error.)
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::layer_norm;
///
/// let x = Var::new(&[[1f64, 2.0, 6.0]], &Device::Cpu)?; // mean 3, variance 14/3
/// let w = Tensor::new(&[1f64, 1.0, 2.0], &Device::Cpu)?;
/// let y = layer_norm(&x, &w, None, 0.0)?;
/// let r = (3f64 / 14.0).sqrt();
/// let expected = [-2.0 * r, -r, 6.0 * r];
/// assert!(y.to_vec2::<f64>()?[0].iter().zip(expected).all(|(y, e)| (y - e).abs() < 1e-15));
/// // A constant that is added to a row changes nothing: the gradients of a row sum to 0.
/// let gradient = y.sqr()?.sum_all()?.backward()?.get(&x).map(|g| g.sum_all()?.to_scalar::<f64>()).transpose()?;
/// assert!(gradient.is_some_and(|sum| sum.abs() < 1e-14));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes or types do not fit together (`f32` parameters go with half-precision rows), or `eps` is negative.
pub fn layer_norm(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    apply("a layer norm", xs, weight, bias, eps, true)
}

/// RMS norm over the last dimension (Zhang and Sennrich 2019, *Root Mean Square Layer Normalization*, equation 4):
/// `y = x/√(mean(x²) + eps) ⊙ weight`; `x` is `[…, n]` and `weight` `[n]`. Differentiable in both, by the formulas with
/// `x̂ = x·r`, `r = 1/√(mean(x²) + eps)` and `a = g ⊙ weight`: `∂/∂x = r (a - x̂ mean(a ⊙ x̂))` and
/// `∂/∂weight = Σ g ⊙ x̂` over the rows. Types, devices and bits are those of [`layer_norm`].
///
/// (candle's fused `rms_norm` has no backward pass: the gradient ends there without an error.)
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::rms_norm;
///
/// let x = Tensor::new(&[[3f32, 4.0], [0.0, 0.0]], &Device::Cpu)?;
/// let w = Tensor::new(&[1f32, 10.0], &Device::Cpu)?;
/// let y = rms_norm(&x, &w, 0.5)?.to_vec2::<f32>()?; // mean square 12.5
/// assert!((y[0][0] - 3.0 / 13f32.sqrt()).abs() < 1e-6 && (y[0][1] - 40.0 / 13f32.sqrt()).abs() < 1e-5);
/// assert_eq!(y[1], [0.0, 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`layer_norm`].
pub fn rms_norm(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    apply("an RMS norm", xs, weight, None, eps, false)
}

fn apply(
    name: &str,
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    centred: bool,
) -> Result<Tensor> {
    check_eps(name, eps)?;
    let (Some(&size), true) = (xs.dims().last(), lanes::is_float(xs.dtype())) else {
        bail!(
            "{name} takes a floating point tensor of one dimension or more, not {:?} {:?}",
            xs.dtype(),
            xs.shape()
        );
    };
    let (weight, given) = parameters(name, xs, size, Some(weight), bias)?;
    let rows = xs.to_dtype(inner(xs.dtype()))?;
    let normed = if lanes::are_for(xs) {
        rows.contiguous()?.apply_op3(&weight, &given, RowNorm { eps, centred, scales: OnceLock::new() })?
    } else {
        composed::rows(&rows, &weight, bias.is_some().then_some(&given), eps, centred)?
    };
    normed.to_dtype(xs.dtype())
}

/// A norm of rows as an op, with what the forward pass keeps for the backward pass: two numbers of each row.
struct RowNorm {
    eps: f64,
    centred: bool,
    scales: OnceLock<Vec<Scale>>,
}

impl RowNorm {
    fn forward<T: Float>(&self, xs: &[T], weight: &[T], bias: &[T]) -> CpuStorage {
        let rows = Rows { xs, weight, centred: self.centred };
        let (values, scales) = cpu_rows::forward(SimdLevel::best(), rows, bias, self.eps);
        // An op is applied once.
        self.scales.get_or_init(|| scales);
        storage(values)
    }

    fn backward<T: Float>(
        &self,
        [xs, weight, bias, gs]: [&Tensor; 4],
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(scales) = self.scales.get() else { bail!("the norm has not gone forward") };
        let wanted = Wanted::of(xs, weight, bias);
        let gs = gs.contiguous()?;
        let of = |xs: &[T], weight: &[T], gs: &[T]| {
            let rows = Rows { xs, weight, centred: self.centred };
            cpu_rows::backward(SimdLevel::best(), rows, scales, gs, wanted)
        };
        let gradients =
            slice::with(xs, |xs| slice::with(weight, |weight| slice::with(&gs, |gs| of(xs, weight, gs))))???;
        gradients.tensors([xs, weight, bias])
    }
}

impl CustomOp3 for RowNorm {
    fn name(&self) -> &'static str {
        if self.centred { "layer-norm" } else { "rms-norm" }
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let normed = match xs {
            CpuStorage::F32(_) => self.forward::<f32>(
                slice::of(xs, x_layout)?,
                slice::of(weight, w_layout)?,
                slice::of(bias, b_layout)?,
            ),
            _ => self.forward::<f64>(
                slice::of(xs, x_layout)?,
                slice::of(weight, w_layout)?,
                slice::of(bias, b_layout)?,
            ),
        };
        Ok((normed, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gs: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        match xs.dtype() {
            DType::F32 => self.backward::<f32>([xs, weight, bias, gs]),
            _ => self.backward::<f64>([xs, weight, bias, gs]),
        }
    }
}
