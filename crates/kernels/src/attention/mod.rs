//! Scaled dot-product attention, without the matrix of scores in memory.

mod backward;
mod block;
mod composed;
mod forward;
mod joined;
mod op;
mod real;
#[cfg(test)]
mod tests;
mod tile;
mod view;

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::attention::AttnMask;

use crate::cpu::simd::SimdLevel;
use block::Problem;
use composed::composed;
pub use joined::attention_joined;
use op::Attention;

/// `softmax(scale·q kᵀ + mask) v` for `q` of shape `[batch, heads, queries, width]`, `k` of
/// `[batch, kv heads, keys, width]` and `v` of `[batch, kv heads, keys, value width]`: a tensor
/// `[batch, heads, queries, value width]`, differentiable in all three.
///
/// `heads` is a multiple of `kv heads`: head `h` uses head `h/(heads/kv heads)` of the keys and values. The mask is
/// candle's type:
///
/// - `AttnMask::Causal { kv_offset }`: query `i` sees the keys up to `i + kv_offset`. With the keys of `n` earlier
///   positions from a cache, `kv_offset` is `n`; `AttnMask::causal()` has 0.
/// - `AttnMask::Mask(m)`, where `m` can be broadcast to `[batch, heads, queries, keys]`: of floating point numbers, it
///   is added to the scores; of type `u8`, a key takes part where there is no 0.
///
/// A query that no key takes part for gives 0, and passes 0 back (PyTorch's and candle's softmax give NaN).
///
/// On a CPU, `f32` and `f64` are computed block by block (Dao et al. 2022, *FlashAttention*): beyond the output, the
/// forward pass keeps one number for each row of scores, and the backward pass computes the scores anew. `bf16` and
/// `f16` are computed in `f32` and rounded once. The inputs may be strided; the output lies in memory as
/// `[batch, queries, heads, value width]`, so that joining the heads again needs no copy. The bits are the same with
/// any number of threads and at every SIMD level that has a fused multiply-add. On other devices, and where the mask
/// depends on a variable, candle's ops do the work, with the whole matrix of scores. Gradients are computed only for
/// inputs that depend on a variable.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use candle_nn::attention::AttnMask;
/// use wick_kernels::attention;
///
/// let q = Var::new(&[[[[1f64], [1.0]]]], &Device::Cpu)?; // one head of two queries of width 1
/// let k = Tensor::new(&[[[[0f64], [3f64.ln()]]]], &Device::Cpu)?;
/// let v = Tensor::new(&[[[[4f64], [8.0]]]], &Device::Cpu)?;
/// let out = attention(&q, &k, &v, &AttnMask::causal(), 1.0)?;
/// let out = out.flatten_all()?.to_vec1::<f64>()?;
/// assert_eq!(out[0], 4.0); // the first query sees the first key alone
/// assert!((out[1] - 7.0).abs() < 1e-14); // the second weighs the values by ¼ and ¾
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit together.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: &AttnMask, scale: f64) -> Result<Tensor> {
    let problem = check(q, k, v, mask, scale)?;
    let mask = mask_of(&problem, mask, q)?;
    if !has_op(q, mask.as_ref()) {
        return composed(&problem, q, k, v, mask.as_ref());
    }
    if matches!(q.dtype(), DType::BF16 | DType::F16) {
        let wide = |t: &Tensor| t.to_dtype(DType::F32);
        let mask = match mask {
            Some(mask) if mask.dtype() != DType::U8 => Some(wide(&mask)?),
            mask => mask,
        };
        return by_op(problem, &wide(q)?, &wide(k)?, &wide(v)?, mask)?.to_dtype(q.dtype());
    }
    by_op(problem, q, k, v, mask)
}

/// The op of `f32` and `f64` on a CPU.
fn by_op(problem: Problem, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<Tensor>) -> Result<Tensor> {
    let (q, k, v) = (with_rows(q)?, with_rows(k)?, with_rows(v)?);
    q.apply_op3(&k, &v, Attention::new(problem, mask, [&q, &k, &v]))?.transpose(1, 2)
}

/// The tensor with contiguous rows.
fn with_rows(xs: &Tensor) -> Result<Tensor> {
    if xs.stride()[3] == 1 || xs.dims()[3] == 1 { Ok(xs.clone()) } else { xs.contiguous() }
}

/// Whether the op of this crate computes it.
fn has_op(q: &Tensor, mask: Option<&Tensor>) -> bool {
    q.device().is_cpu() && SimdLevel::best().is_fast() && !mask.is_some_and(Tensor::track_op)
}

fn check(q: &Tensor, k: &Tensor, v: &Tensor, mask: &AttnMask, scale: f64) -> Result<Problem> {
    let ([batch, heads, queries, width], [kv_batch, kv_heads, keys, k_width], [_, _, _, value_width]) =
        (dims(q, "q")?, dims(k, "k")?, dims(v, "v")?);
    let fits = batch == kv_batch
        && width == k_width
        && v.dims()[..3] == k.dims()[..3]
        && heads.checked_rem(kv_heads).unwrap_or(heads) == 0;
    if !fits {
        bail!(
            "attention takes q [batch, heads, queries, width], k [batch, kv heads, keys, width] and \
             v [batch, kv heads, keys, value width] with heads a multiple of kv heads, not {:?}, {:?} and {:?}",
            q.dims(),
            k.dims(),
            v.dims()
        );
    }
    if width == 0 || value_width == 0 {
        bail!("attention takes heads of width 1 or more, not {:?} and {:?}", q.dims(), v.dims());
    }
    let alike = |t: &Tensor| t.dtype() == q.dtype() && t.device().same_device(q.device());
    if !matches!(q.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16) || !alike(k) || !alike(v) {
        bail!(
            "attention takes q, k and v of one floating point type on one device, not {:?}, {:?} and {:?}",
            q.dtype(),
            k.dtype(),
            v.dtype()
        );
    }
    let causal = match mask {
        AttnMask::Causal { kv_offset } => Some(*kv_offset),
        _ => None,
    };
    Ok(Problem { batch, heads, kv_heads, queries, keys, width, value_width, scale, causal })
}

fn dims(xs: &Tensor, name: &str) -> Result<[usize; 4]> {
    match *xs.dims() {
        [batch, heads, rows, width] => Ok([batch, heads, rows, width]),
        ref dims => bail!("attention takes {name} of 4 dimensions, not {dims:?}"),
    }
}

/// The mask as a tensor `[batch, heads, queries, keys]`, of `u8` or of the type of `q`.
fn mask_of(problem: &Problem, mask: &AttnMask, q: &Tensor) -> Result<Option<Tensor>> {
    let AttnMask::Mask(mask) = mask else { return Ok(None) };
    let mask = match mask.dtype() {
        DType::U8 => mask.clone(),
        DType::F32 | DType::F64 | DType::BF16 | DType::F16 => mask.to_dtype(q.dtype())?,
        other => bail!(
            "a mask of attention is of a floating point type, or of u8 with 0 for hidden keys, not {other:?}"
        ),
    };
    let whole = (problem.batch, problem.heads, problem.queries, problem.keys);
    match mask.broadcast_as(whole) {
        Ok(mask) if mask.device().same_device(q.device()) => Ok(Some(mask)),
        _ => bail!(
            "a mask of shape {:?} cannot be broadcast to [batch, heads, queries, keys] {whole:?} on the device of q",
            mask.dims()
        ),
    }
}
