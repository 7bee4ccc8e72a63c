//! Scaled dot-product attention with candle-nn's names, which passes gradients.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use wick_layers::attention::{AttnMask, attention};
//!
//! let q = Var::new(&[[[[1f32], [2.0]]]], &Device::Cpu)?; // [batch, heads, positions, width]
//! let out = attention(&q, &q, &q, &AttnMask::causal(), 1.0)?;
//! assert_eq!(out.flatten_all()?.to_vec1::<f32>()?[0], 1.0); // the first position sees itself alone
//! assert!(out.sum_all()?.backward()?.get(&q).is_some());
//! # Ok::<(), candle_core::Error>(())
//! ```

use candle_core::{DType, Result, Tensor, bail};

pub use candle_nn::attention::AttnMask;
pub use wick_kernels::{attention, attention_joined};

/// `softmax(scale·q kᵀ + mask) v`, with the arguments of [`candle_nn::ops::sdpa`], which has no backward pass and runs
/// on Metal alone: `q` `[batch, heads, queries, width]`, `k` and `v` `[batch, kv heads, keys, width]`, a mask that is
/// added (or of `u8`, where 0 hides a key). If `do_causal`, the last query sees all keys, the one before all but the
/// last, and so on. A query that no key takes part for gives 0.
///
/// # Errors
/// If shapes do not fit together, or `softcapping` is not 1.
pub fn sdpa(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    do_causal: bool,
    scale: f32,
    softcapping: f32,
) -> Result<Tensor> {
    if softcapping != 1.0 {
        bail!("sdpa has no softcapping here: give 1 instead of {softcapping}");
    }
    let (queries, keys) = (q.dim(2)?, k.dim(2)?);
    let mask = match (mask, do_causal) {
        (None, false) => AttnMask::None,
        (None, true) if keys >= queries => AttnMask::causal_with_offset(keys - queries),
        (Some(mask), false) => AttnMask::Mask(mask.clone()),
        (mask, true) => {
            let seen = (0..queries).flat_map(|i| (0..keys).map(move |j| u8::from(j + queries <= i + keys)));
            let seen = Tensor::from_iter(seen, q.device())?.reshape((queries, keys))?;
            AttnMask::Mask(match mask {
                None => seen,
                Some(mask) if mask.dtype() == DType::U8 => mask.broadcast_mul(&seen)?,
                Some(mask) => mask.broadcast_add(&seen.to_dtype(mask.dtype())?.log()?)?,
            })
        }
    };
    attention(q, k, v, &mask, f64::from(scale))
}

/// [`attention`](attention()) with the arguments of [`candle_nn::attention::flash_attn`], which has no backward pass:
/// `q` `[batch, queries, heads, width]`, `k` and `v` `[batch, keys, kv heads, width]`; the result is
/// `[batch, heads, queries, width]`. The type parameter is that of the elements, and is not used.
///
/// # Errors
/// If shapes do not fit together, or `max_bias` or `softcap` is neither `None` nor 0.
pub fn flash_attn<T>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    softmax_scale: f32,
    attn_mask: AttnMask,
    max_bias: Option<f32>,
    softcap: Option<f32>,
) -> Result<Tensor> {
    if [max_bias, softcap].into_iter().flatten().any(|x| x != 0.0) {
        bail!("flash_attn has neither max_bias nor softcap here: add the bias of positions as a mask");
    }
    let heads_first = |t: &Tensor| t.transpose(1, 2);
    attention(&heads_first(q)?, &heads_first(k)?, &heads_first(v)?, &attn_mask, f64::from(softmax_scale))
}
