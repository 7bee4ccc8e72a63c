//! Attention from one tensor that holds queries, keys and values side by side.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use candle_nn::attention::AttnMask;

use crate::attention::block::{Problem, Vectors};
use crate::attention::op::{Attention, heads_of, reserve};
use crate::attention::view::{Heads, HeadsMut};
use crate::attention::{attention, has_op, mask_of};
use crate::cpu::slice;

/// Self-attention of the output of one projection: `qkv` is `[batch, positions, (heads + 2·kv heads)·width]`, with
/// the heads of the queries first, then those of the keys and of the values, as one layer with stacked weights makes
/// it (GPT-2's `c_attn`, the `qkv_proj` of Phi-3). The result is `[batch, positions, heads·width]`.
///
/// It equals [`attention`] of the three parts to the bit, and saves the copies that splitting, transposing and joining
/// cost, forward and backward.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use candle_nn::attention::AttnMask;
/// use wick_kernels::attention_joined;
///
/// // One sequence of two positions, one head of width 1: q, k and v of each position.
/// let qkv = Var::new(&[[[1f64, 0.0, 4.0], [1.0, 3f64.ln(), 8.0]]], &Device::Cpu)?;
/// let out = attention_joined(&qkv, 1, 1, &AttnMask::causal(), 1.0)?.flatten_all()?.to_vec1::<f64>()?;
/// assert_eq!(out[0], 4.0);
/// assert!((out[1] - 7.0).abs() < 1e-14);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit together.
pub fn attention_joined(
    qkv: &Tensor,
    heads: usize,
    kv_heads: usize,
    mask: &AttnMask,
    scale: f64,
) -> Result<Tensor> {
    let (batch, positions, all) = qkv.dims3()?;
    let groups = heads + 2 * kv_heads;
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) || all == 0 || !all.is_multiple_of(groups) {
        bail!(
            "attention of {heads} heads and {kv_heads} kv heads takes [batch, positions, {groups}·width] with heads a \
             multiple of kv heads, not {:?}",
            qkv.dims()
        );
    }
    let width = all / groups;
    let causal = match mask {
        AttnMask::Causal { kv_offset } => Some(*kv_offset),
        _ => None,
    };
    let (queries, keys, value_width) = (positions, positions, width);
    let problem = Problem { batch, heads, kv_heads, queries, keys, width, value_width, scale, causal };
    let tensor = mask_of(&problem, mask, qkv)?;
    if has_op(qkv, tensor.as_ref()) && matches!(qkv.dtype(), DType::F32 | DType::F64) {
        let op = Joined(Attention::new(problem, tensor, [qkv; 3]));
        return qkv.contiguous()?.apply_op1(op);
    }
    let part = |first: usize, count: usize| {
        qkv.narrow(2, first * width, count * width)?
            .reshape((batch, positions, count, width))?
            .transpose(1, 2)
    };
    let (q, k, v) = (part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?);
    attention(&q, &k, &v, mask, scale)?.transpose(1, 2)?.reshape((batch, positions, heads * width))
}

/// The op on the contiguous tensor.
struct Joined(Attention);

impl Joined {
    /// The first elements of the queries, keys and values, and the strides.
    fn places(&self) -> ([usize; 3], [usize; 3]) {
        let Problem { heads, kv_heads, queries, width, .. } = self.0.problem;
        let all = (heads + 2 * kv_heads) * width;
        ([0, heads * width, (heads + kv_heads) * width], [queries * all, width, all])
    }

    fn views<'a, T>(&self, qkv: &'a [T]) -> Result<[Heads<'a, T>; 3]> {
        let Problem { batch, heads, kv_heads, queries, width, .. } = self.0.problem;
        let (starts, strides) = self.places();
        let view = |start: usize, heads: usize| {
            heads_of(qkv.get(start..).unwrap_or_default(), [batch, heads, queries, width], strides)
        };
        Ok([view(starts[0], heads)?, view(starts[1], kv_heads)?, view(starts[2], kv_heads)?])
    }

    fn forward_as<T: Vectors>(&self, qkv: &[T]) -> Result<CpuStorage> {
        let [q, k, v] = self.views(qkv)?;
        Ok(T::to_cpu_storage_owned(self.0.forward(q, k, v)?))
    }

    fn backward_as<T: Vectors>(&self, qkv: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (mut of_qkv, (starts, strides)) = (Vec::<T>::new(), self.places());
        let start = reserve(&mut of_qkv, qkv.elem_count());
        // SAFETY: the memory has room for the three tensors, which do not overlap, and is used for nothing else.
        let views = starts.map(|first| Some(unsafe { HeadsMut::new(start.wrapping_add(first), strides) }));
        let passed = slice::with(qkv, |qkv| self.0.backward(self.views(qkv)?, (output, gradient), views))?;
        passed?;
        // SAFETY: the pass has written every row of the three.
        unsafe { of_qkv.set_len(qkv.elem_count()) };
        Tensor::from_vec(of_qkv, qkv.shape(), &Device::Cpu)
    }
}

impl CustomOp1 for Joined {
    fn name(&self) -> &'static str {
        "attention-joined"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = match qkv {
            CpuStorage::F32(_) => self.forward_as::<f32>(slice::of(qkv, layout)?)?,
            _ => self.forward_as::<f64>(slice::of(qkv, layout)?)?,
        };
        let Problem { batch, heads, queries, width, .. } = self.0.problem;
        Ok((output, (batch, queries, heads * width).into()))
    }

    fn bwd(&self, qkv: &Tensor, output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match qkv.dtype() {
            DType::F32 => self.backward_as::<f32>(qkv, output, gradient)?,
            _ => self.backward_as::<f64>(qkv, output, gradient)?,
        }))
    }
}
