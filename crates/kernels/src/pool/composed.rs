//! Pools of candle's own ops whose gradients are right: for GPUs, and as the peer in the tests.

use candle_core::{D, Result, Tensor};

use crate::conv::composed::indices;
use crate::conv::geometry::Geometry;
use crate::pool::pooling::Pooling;

/// The pool of `[…, H, W]`, as `[planes, area]`.
pub(super) fn pool(pooling: Pooling, g: &Geometry, xs: &Tensor) -> Result<Tensor> {
    let ([top, left], [height, width]) = (g.window.padding, g.image);
    let padded = |xs: &Tensor| xs.pad_with_zeros(1, top, top)?.pad_with_zeros(2, left, left);
    let columns = |xs: &Tensor| {
        let flat = padded(xs)?.contiguous()?.reshape((xs.dim(0)?, ()))?;
        flat.index_select(&indices(g, xs)?, 1)?.reshape((xs.dim(0)?, g.taps(), g.area()))
    };
    let xs = xs.contiguous()?.reshape((g.batch, height, width))?;
    let inside = columns(&Tensor::ones((1, height, width), xs.dtype(), xs.device())?)?;
    let all = columns(&xs)?;
    match pooling {
        Pooling::Max => {
            let lowest = Tensor::new(f32::NEG_INFINITY, xs.device())?.to_dtype(xs.dtype())?;
            let outside = inside.broadcast_as(all.shape())?.eq(0.0)?;
            let all = outside.where_cond(&lowest.broadcast_as(all.shape())?, &all)?.transpose(1, 2)?;
            let all = all.contiguous()?;
            all.gather(&all.argmax_keepdim(D::Minus1)?, D::Minus1)?.squeeze(D::Minus1)
        }
        Pooling::Mean { include_padding: true } => all.sum(1)? / g.taps() as f64,
        Pooling::Mean { include_padding: false } => {
            let counts = inside.sum(1)?;
            all.sum(1)?.broadcast_div(&counts.maximum(1.0)?)
        }
    }
}
