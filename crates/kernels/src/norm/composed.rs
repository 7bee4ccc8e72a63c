//! The norms by candle's own ops.

use candle_core::{D, Result, Tensor};

/// Layer norm, or RMS norm, over the last dimension.
pub(super) fn rows(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    centred: bool,
) -> Result<Tensor> {
    let xs = if centred { xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)? } else { xs.clone() };
    let scale = (xs.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let normed = xs.broadcast_div(&scale)?.broadcast_mul(weight)?;
    bias.map_or(Ok(normed.clone()), |bias| normed.broadcast_add(bias))
}

/// Group norm of `[batch, channels, n]`.
pub(super) fn groups(xs: &Tensor, groups: usize, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (batch, channels, n) = xs.dims3()?;
    let grouped = xs.reshape((batch, groups, channels / groups * n))?;
    let off = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
    let scale = (off.sqr()?.mean_keepdim(2)? + eps)?.sqrt()?;
    affine(&off.broadcast_div(&scale)?.reshape((batch, channels, n))?, weight, bias)
}

/// Batch norm of `[batch, channels, n]` by the batch's own mean and variance, `[channels]`, which it returns.
pub(super) fn batch(xs: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, [Tensor; 2])> {
    let mean = xs.mean_keepdim((0, 2))?;
    let off = xs.broadcast_sub(&mean)?;
    let variance = off.sqr()?.mean_keepdim((0, 2))?;
    let normed = affine(&off.broadcast_div(&(&variance + eps)?.sqrt()?)?, weight, bias)?;
    Ok((normed, [mean.flatten_all()?.detach(), variance.flatten_all()?.detach()]))
}

/// Batch norm of `[batch, channels, n]` by a given mean and variance, `[channels]`.
pub(super) fn given(
    xs: &Tensor,
    [mean, variance]: [&Tensor; 2],
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let off = xs.broadcast_sub(&mean.reshape((1, (), 1))?)?;
    affine(&off.broadcast_div(&(variance.reshape((1, (), 1))? + eps)?.sqrt()?)?, weight, bias)
}

fn affine(xs: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    xs.broadcast_mul(&weight.reshape((1, (), 1))?)?.broadcast_add(&bias.reshape((1, (), 1))?)
}
