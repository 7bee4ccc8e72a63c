//! Dropout whose mask is a function of a key: nothing of it is kept.

mod cpu;
mod philox;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use half::{bf16, f16};

use crate::cpu::lanes;
use crate::cpu::simd::SimdLevel;
use crate::cpu::slice;
use cpu::Mask;

/// What the masks of a dropout layer depend on, beside the number of the mask. It is made of a number, or of a key of
/// `wick-init`'s keyed streams (`KeyedV1::new(seed).key(name)`); layers with different keys have masks that are
/// independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaskKey(u64);

impl MaskKey {
    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl From<u64> for MaskKey {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// Dropout (Srivastava et al. 2014, *Dropout: a simple way to prevent neural networks from overfitting*), inverted:
/// each number is 0 with probability `p`, else it is `x/(1 - p)`. Any shape; differentiable: `∂/∂x` is `g/(1 - p)` where
/// the number was kept, else 0.
///
/// The mask is a function of the key, of the number `mask` and of the place in row-major order, the same on
/// every device and at every SIMD level. On a CPU the backward pass draws it again, so that nothing is kept but the
/// key; on other devices the mask is drawn on the CPU, copied, and kept until the backward pass. A dropped
/// number is 0 even if it was infinite or NaN.
///
/// The definition: place `i` is dropped if `w < ⌈p·2³²⌉`, where `w` is word `(i mod 64) div 16` of block
/// `16·(i div 64) + i mod 16` of Philox4x32-7 (Salmon et al. 2011, *Parallel random numbers: as easy as 1, 2, 3*; 7
/// rounds are their least that pass BigCrush), with the key for Philox's key, and the counter (block, `mask`), each of 64
/// bits, the low word first.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use wick_kernels::dropout;
///
/// let x = Var::ones(1000, DType::F32, &Device::Cpu)?;
/// let y = dropout(&x, 0.2, 42.into(), 0)?;
/// assert_eq!(y.to_vec1::<f32>()?, dropout(&x, 0.2, 42.into(), 0)?.to_vec1::<f32>()?);
/// let dropped = y.eq(0f32)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
/// assert!((150.0..250.0).contains(&dropped));
/// let gradient = y.sum_all()?.backward()?.get(&x).map(Tensor::to_vec1::<f32>).transpose()?;
/// assert_eq!(gradient, Some(y.to_vec1::<f32>()?)); // 1.25 where x was kept
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `p` is not in `[0, 1)` or the tensor is not floating point.
pub fn dropout(xs: &Tensor, p: f64, key: MaskKey, mask: u64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        bail!("the probability of dropout is in [0, 1), not {p}");
    }
    if !lanes::is_float(xs.dtype()) {
        bail!("dropout takes a floating point tensor, not one of {:?}", xs.dtype());
    }
    if p == 0.0 {
        return Ok(xs.clone());
    }
    let op = Dropout { mask: Mask::new(p, key.0, mask) };
    if xs.device().is_cpu() {
        return xs.contiguous()?.apply_op1(op);
    }
    let mask = Tensor::ones(xs.shape(), DType::F32, &Device::Cpu)?.apply_op1_no_bwd(&op)?;
    xs * mask.to_dtype(xs.dtype())?.to_device(xs.device())?
}

struct Dropout {
    mask: Mask,
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (level, mask) = (SimdLevel::best(), &self.mask);
        let output = match storage {
            CpuStorage::F32(_) => CpuStorage::F32(mask.apply::<f32>(level, slice::of(storage, layout)?)),
            CpuStorage::F64(_) => CpuStorage::F64(mask.apply::<f64>(level, slice::of(storage, layout)?)),
            CpuStorage::BF16(_) => CpuStorage::BF16(mask.apply::<bf16>(level, slice::of(storage, layout)?)),
            _ => CpuStorage::F16(mask.apply::<f16>(level, slice::of(storage, layout)?)),
        };
        Ok((output, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gs: &Tensor) -> Result<Option<Tensor>> {
        gs.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}
