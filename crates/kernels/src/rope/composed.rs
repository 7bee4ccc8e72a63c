//! The rotation of candle's own ops, for other devices and for angles that want a gradient.

use candle_core::{D, Result, Tensor};

use crate::rope::layout::RopeLayout;

pub(super) fn composed(xs: &Tensor, cos: &Tensor, sin: &Tensor, layout: RopeLayout) -> Result<Tensor> {
    let (batch, second, third, width) = xs.dims4()?;
    let of_positions = layout == RopeLayout::HalvesOfPositions;
    let positions = if of_positions { second } else { third };
    // [batch or 1, 1, positions, width/2], or with the second and third dimension exchanged.
    let angles = |t: &Tensor| {
        let t = if t.rank() == 2 { t.unsqueeze(0)? } else { t.clone() };
        t.narrow(1, 0, positions)?.unsqueeze(if of_positions { 2 } else { 1 })
    };
    let (cos, sin) = (angles(cos)?, angles(sin)?);
    let rotated = |x: &Tensor, y: &Tensor| {
        let first = (x.broadcast_mul(&cos)? - y.broadcast_mul(&sin)?)?;
        Ok::<_, candle_core::Error>((first, (x.broadcast_mul(&sin)? + y.broadcast_mul(&cos)?)?))
    };
    if layout == RopeLayout::Interleaved {
        let pairs = xs.reshape((batch, second, third, width / 2, 2))?;
        let number = |i: usize| pairs.narrow(D::Minus1, i, 1)?.squeeze(D::Minus1);
        let (x, y) = rotated(&number(0)?, &number(1)?)?;
        return Tensor::stack(&[x, y], 4)?.flatten_from(3);
    }
    let half = |i: usize| xs.narrow(D::Minus1, i * (width / 2), width / 2);
    let (x, y) = rotated(&half(0)?, &half(1)?)?;
    Tensor::cat(&[x, y], D::Minus1)
}
