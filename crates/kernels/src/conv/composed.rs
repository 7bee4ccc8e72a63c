//! Convolutions of candle's own ops whose gradients are right: for GPUs, and as the peer in the tests. The matrix of
//! columns is a tensor here.

use candle_core::{Result, Tensor};

use crate::conv::geometry::Geometry;

/// For each entry of the kernel and each output, the pixel in a padded channel.
pub(crate) fn indices(geometry: &Geometry, like: &Tensor) -> Result<Tensor> {
    let ([height, width], [rows, columns]) = (geometry.kernel, geometry.places);
    let (stride, dilation) = (geometry.window.stride, geometry.window.dilation);
    let wide = geometry.image[1] + 2 * geometry.window.padding[1];
    let mut indices = Vec::with_capacity(height * width * rows * columns);
    for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
        for (h, w) in (0..rows).flat_map(|h| (0..columns).map(move |w| (h, w))) {
            let row = h * stride[0] + i * dilation[0];
            indices.push((row * wide + w * stride[1] + j * dilation[1]) as u32);
        }
    }
    let count = indices.len();
    Tensor::from_vec(indices, count, like.device())
}

fn with_bias(ys: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => ys.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(ys),
    }
}

/// `x ∗ w + b`.
pub(crate) fn convolution(
    geometry: &Geometry,
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let (g, [rows, columns]) = (geometry, geometry.places);
    let [top, left] = g.window.padding;
    let padded = xs.pad_with_zeros(2, top, top)?.pad_with_zeros(3, left, left)?.contiguous()?;
    let columns_of = padded
        .reshape((g.batch, g.channels(), ()))?
        .index_select(&indices(g, xs)?, 2)?
        .reshape((g.batch, g.groups, g.depth(), g.area()))?;
    let weight = weight.contiguous()?.reshape((1, g.groups, g.outputs, g.depth()))?;
    let ys = weight.broadcast_matmul(&columns_of)?.reshape((g.batch, g.out(), rows, columns))?;
    with_bias(ys, bias)
}

/// The transposed convolution; the geometry is that of the convolution whose input gradient it is.
pub(crate) fn transposed(
    geometry: &Geometry,
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let g = geometry;
    let [top, left] = g.window.padding;
    let [height, width] = [g.image[0] + 2 * top, g.image[1] + 2 * left];
    let xs = xs.contiguous()?.reshape((g.batch, g.groups, g.outputs, g.area()))?;
    let weight = weight.contiguous()?.reshape((1, g.groups, g.outputs, g.depth()))?.transpose(2, 3)?;
    let columns = weight.contiguous()?.broadcast_matmul(&xs)?;
    let columns = columns.reshape((g.batch, g.channels(), g.taps() * g.area()))?;
    let zeros = Tensor::zeros((g.batch, g.channels(), height * width), xs.dtype(), xs.device())?;
    let ys = zeros.index_add(&indices(g, &xs)?, &columns, 2)?;
    let ys = ys.reshape((g.batch, g.channels(), height, width))?;
    with_bias(ys.narrow(2, top, g.image[0])?.narrow(3, left, g.image[1])?, bias)
}
