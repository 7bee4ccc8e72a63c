//! Images of another size: each pixel the nearest one, or a weighted mean of the four around its place.

#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::cpu::element::Number;
use crate::cpu::parallel;
use crate::cpu::simd::{self, SimdLevel};
use crate::cpu::slice;

/// For each new row (or column), the one or two old ones that it is made of.
#[derive(Debug, Clone)]
struct Axis {
    old: usize,
    /// The first old row, the second, and the weight of the second.
    taps: Vec<(usize, usize, f64)>,
}

impl Axis {
    fn nearest(old: usize, new: usize) -> Self {
        let tap = |place: usize| ((place as u128 * old as u128 / new as u128) as usize, 0, 0.0);
        Self { old, taps: (0..new).map(tap).collect() }
    }

    fn linear(old: usize, new: usize, align_corners: bool) -> Self {
        let scale = match align_corners {
            true if new > 1 => (old - 1) as f64 / (new - 1) as f64,
            true => 0.0,
            false => old as f64 / new as f64,
        };
        let tap = |place: usize| {
            let at = match align_corners {
                true => place as f64 * scale,
                false => ((place as f64 + 0.5) * scale - 0.5).max(0.0),
            };
            let first = (at as usize).min(old - 1);
            (first, (first + 1).min(old - 1), (at - first as f64).clamp(0.0, 1.0))
        };
        Self { old, taps: (0..new).map(tap).collect() }
    }

    fn new_size(&self) -> usize {
        self.taps.len()
    }

    /// The matrix `[new, old]` of the weights.
    fn matrix(&self, like: &Tensor) -> Result<Tensor> {
        let mut matrix = vec![0.0; self.new_size() * self.old];
        for (row, (first, second, weight)) in matrix.chunks_exact_mut(self.old).zip(&self.taps) {
            row[*first] += 1.0 - weight;
            row[*second] += weight;
        }
        // Metal has no `f64`.
        let matrix = Tensor::from_vec(matrix, (self.new_size(), self.old), &Device::Cpu)?;
        matrix.to_dtype(like.dtype())?.to_device(like.device())
    }
}

/// `x` (`[N, C, H, W]`) of another height and width: pixel `(h, w)` of the result is pixel
/// `(⌊h·H/height⌋, ⌊w·W/width⌋)` of `x`, as PyTorch's `nearest` has it (in whole numbers, where PyTorch rounds a scale).
///
/// Any sizes of at least 1 will do, larger or smaller; the gradient is added to what other uses of `x` give.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::upsample_nearest2d;
///
/// let x = Tensor::new(&[[[[1f32, 2.0]]]], &Device::Cpu)?;
/// let y = upsample_nearest2d(&x, 1, 3)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 1.0, 2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `x` does not have four dimensions and a float type, or a size is 0.
pub fn upsample_nearest2d(xs: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let [h, w] = sizes("upsample_nearest2d", xs, [height, width])?;
    resize(xs, Resize { rows: Axis::nearest(h, height), columns: Axis::nearest(w, width), linear: false })
}

/// `x` (`[N, C, L]`) of another length, as [`upsample_nearest2d`] of images of one row.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::upsample_nearest1d;
///
/// let y = upsample_nearest1d(&Tensor::new(&[[[1f32, 2.0]]], &Device::Cpu)?, 4)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 1.0, 2.0, 2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`upsample_nearest2d`], for three dimensions.
pub fn upsample_nearest1d(xs: &Tensor, length: usize) -> Result<Tensor> {
    if xs.rank() != 3 {
        bail!("upsample_nearest1d: x of shape {:?} does not have three dimensions", xs.dims());
    }
    upsample_nearest2d(&xs.unsqueeze(2)?, 1, length)?.squeeze(2)
}

/// `x` (`[N, C, H, W]`) of another height and width by linear interpolation along both, as PyTorch's `bilinear`: new row
/// `h` stands at `(h + ½)·H/height − ½` among the old ones (at least 0), or with `align_corners` at
/// `h·(H − 1)/(height − 1)`, so that the first and the last rows meet.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::upsample_bilinear2d;
///
/// let x = Tensor::new(&[[[[1f32, 3.0]]]], &Device::Cpu)?;
/// assert_eq!(upsample_bilinear2d(&x, 1, 3, true)?.flatten_all()?.to_vec1::<f32>()?, [1.0, 2.0, 3.0]);
/// assert_eq!(upsample_bilinear2d(&x, 1, 4, false)?.flatten_all()?.to_vec1::<f32>()?, [1.0, 1.5, 2.5, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`upsample_nearest2d`].
pub fn upsample_bilinear2d(xs: &Tensor, height: usize, width: usize, align_corners: bool) -> Result<Tensor> {
    let [h, w] = sizes("upsample_bilinear2d", xs, [height, width])?;
    let (rows, columns) = (Axis::linear(h, height, align_corners), Axis::linear(w, width, align_corners));
    resize(xs, Resize { rows, columns, linear: true })
}

/// The height and the width of `x`.
fn sizes(op: &str, xs: &Tensor, new: [usize; 2]) -> Result<[usize; 2]> {
    let &[_, _, height, width] = xs.dims() else {
        bail!("{op}: x of shape {:?} does not have four dimensions", xs.dims());
    };
    if !xs.dtype().is_float() {
        bail!("{op}: images of {:?} have no gradient; convert x to f32", xs.dtype());
    }
    if [height, width].contains(&0) || new.contains(&0) {
        bail!("{op}: images of {:?} cannot become images of {new:?}; no size may be 0", [height, width]);
    }
    Ok([height, width])
}

fn resize(xs: &Tensor, op: Resize) -> Result<Tensor> {
    match (xs.device(), xs.dtype()) {
        (Device::Cpu, DType::F32 | DType::F64) => xs.contiguous()?.apply_op1(op),
        (_, DType::F32 | DType::F64) => composed(xs, &op),
        (_, half) => resize(&xs.to_dtype(DType::F32)?, op)?.to_dtype(half),
    }
}

/// The same as products with the matrices of the weights, by candle's ops.
fn composed(xs: &Tensor, op: &Resize) -> Result<Tensor> {
    let (rows, columns) = (op.rows.matrix(xs)?, op.columns.matrix(xs)?.t()?);
    rows.broadcast_matmul(&xs.contiguous()?.broadcast_matmul(&columns)?)
}

/// The op in candle's graph.
#[derive(Debug, Clone)]
struct Resize {
    rows: Axis,
    columns: Axis,
    /// Whether the second rows and columns count.
    linear: bool,
}

impl Resize {
    fn pixels(&self) -> [usize; 2] {
        let new = self.rows.new_size() * self.columns.new_size();
        [self.rows.old * self.columns.old, new]
    }

    fn forward<T: Number>(&self, xs: &[T]) -> Vec<T> {
        let [old, new] = self.pixels();
        let mut ys = vec![T::ZERO; xs.len() / old * new];
        parallel::for_each_part(&mut ys, new, |plane, ys| {
            let xs = &xs[plane * old..][..old];
            simd::run(SimdLevel::best(), Forward { resize: self, xs, ys });
        });
        ys
    }

    fn backward<T: Number>(&self, dys: &[T]) -> Vec<T> {
        let [old, new] = self.pixels();
        let mut dxs = vec![T::ZERO; dys.len() / new * old];
        parallel::for_each_part(&mut dxs, old, |plane, dxs| {
            let dys = &dys[plane * new..][..new];
            simd::run(SimdLevel::best(), Backward { resize: self, dys, dxs });
        });
        dxs
    }
}

struct Forward<'a, T> {
    resize: &'a Resize,
    xs: &'a [T],
    ys: &'a mut [T],
}

impl<T: Number> simd::Task for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Resize { rows, columns, linear } = self.resize;
        let mut mixed = vec![T::ZERO; columns.old];
        for (ys, &(first, second, weight)) in self.ys.chunks_exact_mut(columns.new_size()).zip(&rows.taps) {
            let above = &self.xs[first * columns.old..][..columns.old];
            if !*linear {
                for (y, &(column, ..)) in ys.iter_mut().zip(&columns.taps) {
                    *y = above[column];
                }
                continue;
            }
            let below = &self.xs[second * columns.old..][..columns.old];
            let (a, b) = (T::narrow(1.0 - weight), T::narrow(weight));
            for ((mixed, x), z) in mixed.iter_mut().zip(above).zip(below) {
                *mixed = *x * a + *z * b;
            }
            for (y, &(left, right, weight)) in ys.iter_mut().zip(&columns.taps) {
                *y = mixed[left] * T::narrow(1.0 - weight) + mixed[right] * T::narrow(weight);
            }
        }
    }
}

struct Backward<'a, T> {
    resize: &'a Resize,
    dys: &'a [T],
    dxs: &'a mut [T],
}

impl<T: Number> simd::Task for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Resize { rows, columns, linear } = self.resize;
        let mut mixed = vec![T::ZERO; columns.old];
        for (dys, &(first, second, weight)) in self.dys.chunks_exact(columns.new_size()).zip(&rows.taps) {
            mixed.fill(T::ZERO);
            if *linear {
                for (dy, &(left, right, weight)) in dys.iter().zip(&columns.taps) {
                    mixed[left] += *dy * T::narrow(1.0 - weight);
                    mixed[right] += *dy * T::narrow(weight);
                }
            } else {
                for (dy, &(column, ..)) in dys.iter().zip(&columns.taps) {
                    mixed[column] += *dy;
                }
            }
            let weights = [(first, 1.0 - weight), (second, weight)];
            for (row, weight) in weights.into_iter().take(if *linear { 2 } else { 1 }) {
                let weight = T::narrow(weight);
                for (dx, mixed) in self.dxs[row * columns.old..][..columns.old].iter_mut().zip(&mixed) {
                    *dx += *mixed * weight;
                }
            }
        }
    }
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, ..) = layout.shape().dims4()?;
        let ys = match xs {
            CpuStorage::F32(_) => CpuStorage::F32(self.forward(slice::of::<f32>(xs, layout)?)),
            _ => CpuStorage::F64(self.forward(slice::of::<f64>(xs, layout)?)),
        };
        Ok((ys, (batch, channels, self.rows.new_size(), self.columns.new_size()).into()))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let shape = xs.shape();
        Ok(Some(match xs.dtype() {
            DType::F32 => {
                let dxs = slice::with(&gradient, |dys: &[f32]| self.backward(dys))?;
                Tensor::from_vec(dxs, shape, &Device::Cpu)?
            }
            _ => {
                let dxs = slice::with(&gradient, |dys: &[f64]| self.backward(dys))?;
                Tensor::from_vec(dxs, shape, &Device::Cpu)?
            }
        }))
    }
}
