//! Attention of candle's own ops, for devices without an op of this crate and masks that want a gradient.

use candle_core::{D, DType, Result, Tensor};

use crate::attention::block::Problem;

/// The output, with the whole matrix of scores. `mask` is `[batch, heads, queries, keys]`.
pub(super) fn composed(
    problem: &Problem,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let Problem { batch, heads, queries, keys, value_width, .. } = *problem;
    if keys == 0 || batch * heads * queries == 0 {
        return Tensor::zeros((batch, heads, queries, value_width), q.dtype(), q.device());
    }
    let narrow = q.dtype();
    let wide = |t: &Tensor| match narrow {
        DType::BF16 | DType::F16 => t.to_dtype(DType::F32),
        _ => Ok(t.clone()),
    };
    let (q, k, v) = (wide(q)?, repeated(problem, &wide(k)?)?, repeated(problem, &wide(v)?)?);
    let mut scores = (q.contiguous()?.matmul(&k.transpose(2, 3)?.contiguous()?)? * problem.scale)?;
    let hidden = Tensor::full(f32::NEG_INFINITY, (), q.device())?.to_dtype(q.dtype())?;
    if let Some(offset) = problem.causal {
        let last = |query: usize| query.saturating_add(offset);
        let seen = (0..queries).flat_map(|query| (0..keys).map(move |key| u8::from(key <= last(query))));
        let seen = Tensor::from_iter(seen, q.device())?.reshape((queries, keys))?;
        let seen = seen.broadcast_as(scores.shape())?;
        scores = seen.where_cond(&scores, &hidden.broadcast_as(scores.shape())?)?;
    }
    scores = match mask {
        None => scores,
        Some(mask) if mask.dtype() == DType::U8 => {
            mask.ne(0u8)?.where_cond(&scores, &hidden.broadcast_as(scores.shape())?)?
        }
        Some(mask) => (scores + wide(mask)?)?,
    };
    // The largest score is a constant of the softmax; a row without a key is shifted by 0.
    let largest = scores.detach().max_keepdim(D::Minus1)?;
    let shift = largest.ne(f64::NEG_INFINITY)?.where_cond(&largest, &largest.zeros_like()?)?;
    let weights = scores.broadcast_sub(&shift)?.exp()?;
    let total = weights.sum_keepdim(D::Minus1)?;
    let total = total.ne(0f64)?.where_cond(&total, &total.ones_like()?)?;
    weights.broadcast_div(&total)?.matmul(&v.contiguous()?)?.to_dtype(narrow)
}

/// The heads of keys or values, each as often as queries use it.
fn repeated(problem: &Problem, xs: &Tensor) -> Result<Tensor> {
    let (batch, kv_heads, keys, width) = xs.dims4()?;
    match problem.group() {
        1 => Ok(xs.clone()),
        group => xs.unsqueeze(2)?.broadcast_as((batch, kv_heads, group, keys, width))?.reshape((
            batch,
            kv_heads * group,
            keys,
            width,
        )),
    }
}
