//! Rotary position embeddings.

mod composed;
mod cpu;
pub(crate) mod layout;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};

use crate::cpu::element::Number;
use crate::cpu::slice;
use cpu::{Rotation, rotate};
use layout::RopeLayout;

/// Rotates each pair `(x, y)` of a head to `(x·cos θ - y·sin θ, x·sin θ + y·cos θ)`, differentiable in `xs`, where
/// `cos` and `sin` are `[positions, width/2]`, or `[batch, positions, width/2]` if each sequence has its own (Su et al.
/// 2021, *RoFormer*, equation 34). They may have more positions than `xs`, of which the first are used.
///
/// The backward pass rotates the gradient by the opposite angle. On a CPU this is one pass, forward and backward;
/// `bf16` and `f16` are computed in `f32` and rounded once. `xs` may be strided; the output is contiguous. On other
/// devices, and where `cos` or `sin` depends on a variable, candle's ops do the work.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::{RopeLayout, rope};
///
/// let x = Var::new(&[[[[1f32, 2.0, 3.0, 4.0]]]], &Device::Cpu)?; // a quarter turn for the first pair, none for the second
/// let (cos, sin) = (Tensor::new(&[[0f32, 1.0]], &Device::Cpu)?, Tensor::new(&[[1f32, 0.0]], &Device::Cpu)?);
/// let y = rope(&x, &cos, &sin, RopeLayout::Halves)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [-3.0, 2.0, 1.0, 4.0]);
/// let gradient = y.sqr()?.sum_all()?.backward()?.get(&x).map(|g| g.flatten_all()?.to_vec1::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(vec![2.0, 4.0, 6.0, 8.0])); // a rotation keeps the length: that of Σ x²
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit together.
pub fn rope(xs: &Tensor, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Tensor> {
    let rotation = check(xs, cos, sin, layout)?;
    if !xs.device().is_cpu() || cos.track_op() || sin.track_op() {
        return composed::composed(xs, cos, sin, layout);
    }
    let wide = |t: &Tensor| match t.dtype() {
        DType::BF16 | DType::F16 => t.to_dtype(DType::F32),
        _ => Ok(t.clone()),
    };
    let (cos, sin) = (wide(cos)?.contiguous()?, wide(sin)?.contiguous()?);
    let wide = wide(xs)?;
    let wide = if wide.stride()[3] == 1 { wide } else { wide.contiguous()? };
    wide.apply_op1(Rope { rotation, cos, sin })?.to_dtype(xs.dtype())
}

fn check(xs: &Tensor, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Rotation> {
    let [batch, second, third, width] = *xs.dims() else {
        bail!("rope takes a tensor of 4 dimensions, not {:?}", xs.dims());
    };
    let positions = if layout == RopeLayout::HalvesOfPositions { second } else { third };
    let fits = |t: &Tensor| match *t.dims() {
        [all, half] => all >= positions && 2 * half == width,
        [of_batch, all, half] => of_batch == batch && all >= positions && 2 * half == width,
        _ => false,
    };
    if !fits(cos) || cos.dims() != sin.dims() {
        bail!(
            "rope of {:?} takes cos and sin [positions, {}/2] or [{batch}, positions, {width}/2] of at least \
             {positions} positions, not {:?} and {:?}",
            xs.dims(),
            width,
            cos.dims(),
            sin.dims()
        );
    }
    let floating = matches!(xs.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    let alike = |t: &Tensor| t.dtype() == xs.dtype() && t.device().same_device(xs.device());
    if !floating || !alike(cos) || !alike(sin) {
        bail!(
            "rope takes xs, cos and sin of one floating point type on one device, not {:?}, {:?} and {:?}",
            xs.dtype(),
            cos.dtype(),
            sin.dtype()
        );
    }
    // The angles of a sequence of its own begin after all positions of the one before.
    let of_batch = if cos.rank() == 3 { cos.dims()[1] * (width / 2) } else { 0 };
    Ok(Rotation { dims: [batch, second, third, width], layout, of_batch, back: false })
}

/// The op on a CPU.
struct Rope {
    rotation: Rotation,
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    fn forward_as<T: Number>(&self, xs: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
        // The offset of an empty view may lie behind all numbers.
        let xs = T::cpu_storage_as_slice(xs)?.get(layout.start_offset()..).unwrap_or_default();
        let strides = layout.stride();
        let (cos, cos_layout) = self.cos.storage_and_layout();
        let (sin, sin_layout) = self.sin.storage_and_layout();
        let angles = (elements::<T>(&cos, cos_layout)?, elements::<T>(&sin, sin_layout)?);
        let rotated = rotate(&self.rotation, xs, [strides[0], strides[1], strides[2]], angles);
        Ok(T::to_cpu_storage_owned(rotated))
    }
}

fn elements<'a, T: Number>(storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    slice::of_cpu(storage, layout)
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rotated = match xs {
            CpuStorage::F32(_) => self.forward_as::<f32>(xs, layout)?,
            _ => self.forward_as::<f64>(xs, layout)?,
        };
        Ok((rotated, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        debug_assert!(matches!(gradient.device(), Device::Cpu));
        let rotation = Rotation { back: !self.rotation.back, ..self.rotation };
        let op = Rope { rotation, cos: self.cos.clone(), sin: self.sin.clone() };
        Ok(Some(gradient.detach().contiguous()?.apply_op1_no_bwd(&op)?))
    }
}
