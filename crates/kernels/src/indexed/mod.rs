//! Elements taken from, written to and added at places along one dimension, with gradients that are right.
//!
//! The places become numbers into the flattened tensors, and candle's `index_select`, `index_add` and `where_cond`, whose
//! gradients are right, do the rest on any device.

#[cfg(test)]
mod tests;

use candle_core::shape::Dim;
use candle_core::{DType, Device, Result, Tensor, bail};

/// The places of each element of the indexes: in the tensor that is indexed, and in one of the source's shape.
struct Places {
    target: Vec<u32>,
    source: Vec<u32>,
}

/// The distance of neighbours along each dimension of a contiguous tensor.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

impl Places {
    fn new(op: &str, xs: &Tensor, indexes: &Tensor, source: &Tensor, dim: usize) -> Result<Self> {
        let (dims, of) = (xs.dims(), indexes.dims());
        let fits = dims.len() == of.len()
            && source.rank() == of.len()
            && (0..of.len())
                .all(|axis| of[axis] <= source.dims()[axis] && (axis == dim || of[axis] <= dims[axis]));
        if !fits {
            bail!(
                "{op}: indexes of shape {of:?} along dimension {dim} do not fit {dims:?} and {:?}",
                source.dims()
            );
        }
        if xs.elem_count().max(source.elem_count()) > u32::MAX as usize {
            bail!("{op}: tensors of more than 2³² elements have no places of 32 bits");
        }
        if !indexes.dtype().is_int() {
            bail!("{op}: indexes are integers (u8, u32, i64), not {:?}", indexes.dtype());
        }
        let numbers =
            indexes.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
        let (x_steps, source_steps) = (strides(dims), strides(source.dims()));
        let mut places = Self { target: Vec::with_capacity(numbers.len()), source: Vec::new() };
        let mut at = vec![0; of.len()];
        for number in numbers {
            let Some(index) = usize::try_from(number).ok().filter(|&index| index < dims[dim]) else {
                bail!("{op}: index {number} along dimension {dim} of {dims:?}, at {at:?}");
            };
            let along = |steps: &[usize]| at.iter().zip(steps).map(|(at, step)| at * step).sum::<usize>();
            let target = along(&x_steps) - at[dim] * x_steps[dim] + index * x_steps[dim];
            places.target.push(target as u32);
            places.source.push(along(&source_steps) as u32);
            for axis in (0..of.len()).rev() {
                at[axis] += 1;
                if at[axis] < of[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Ok(places)
    }
}

fn numbers(values: Vec<u32>, like: &Tensor) -> Result<Tensor> {
    let count = values.len();
    Tensor::from_vec(values, count, like.device())
}

/// Computes in `f32` what would be rounded at every step, and rounds once.
fn wide(xs: &Tensor) -> Result<Tensor> {
    match xs.dtype() {
        DType::BF16 | DType::F16 => xs.to_dtype(DType::F32),
        _ => Ok(xs.clone()),
    }
}

fn alike(op: &str, xs: &Tensor, source: &Tensor) -> Result<()> {
    if xs.dtype() != source.dtype() || !xs.device().same_device(source.device()) {
        bail!(
            "{op}: x is {:?} and the source {:?}; both need one type and device",
            xs.dtype(),
            source.dtype()
        );
    }
    Ok(())
}

/// The element of `x` at each index along a dimension: for dimension 0 of three,
/// `y[i, j, k] = x[indexes[i, j, k], j, k]`. The result has the shape of the indexes, which in the other dimensions may be
/// narrower than `x`, as in PyTorch.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::gather;
///
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let y = gather(&x, &Tensor::new(&[[1u32, 0, 1]], &Device::Cpu)?, 1)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[2.0, 1.0, 2.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the shapes do not fit, or an index is not below the size of the dimension.
pub fn gather<D: Dim>(xs: &Tensor, indexes: &Tensor, dim: D) -> Result<Tensor> {
    let dim = dim.to_index(xs.shape(), "gather")?;
    let places = Places::new("gather", xs, indexes, indexes, dim)?;
    let taken = wide(xs)?.flatten_all()?.index_select(&numbers(places.target, xs)?, 0)?;
    taken.reshape(indexes.shape())?.to_dtype(xs.dtype())
}

/// `x` with each element of the source added at its index along a dimension: for dimension 0 of three,
/// `y[indexes[i, j, k], j, k] += source[i, j, k]` for every element of the indexes.
///
/// The gradient of `x` is that of the result; the source's is taken at the indexes, and 0 where the source is wider.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::scatter_add;
///
/// let x = Tensor::new(&[10f32, 20.0], &Device::Cpu)?;
/// let (at, source) = (Tensor::new(&[0u32, 0], &Device::Cpu)?, Tensor::new(&[1f32, 2.0], &Device::Cpu)?);
/// assert_eq!(scatter_add(&x, &at, &source, 0)?.to_vec1::<f32>()?, [13.0, 20.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If shapes, types or devices do not fit, or an index is not below the size of the dimension.
pub fn scatter_add<D: Dim>(xs: &Tensor, indexes: &Tensor, source: &Tensor, dim: D) -> Result<Tensor> {
    let dim = dim.to_index(xs.shape(), "scatter_add")?;
    alike("scatter_add", xs, source)?;
    let places = Places::new("scatter_add", xs, indexes, source, dim)?;
    if places.target.is_empty() {
        return Ok(xs.clone());
    }
    let taken = wide(source)?.flatten_all()?.index_select(&numbers(places.source, xs)?, 0)?;
    let sums = wide(xs)?.flatten_all()?.index_add(&numbers(places.target, xs)?, &taken, 0)?;
    sums.reshape(xs.shape())?.to_dtype(xs.dtype())
}

/// `x` with each element of the source in place of what is at its index along a dimension: for dimension 0 of three,
/// `y[indexes[i, j, k], j, k] = source[i, j, k]`. Of several elements for one place the last is taken.
///
/// What is replaced gets no gradient, and so do elements of the source that another one replaced.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::scatter;
///
/// let x = Tensor::new(&[10f32, 20.0], &Device::Cpu)?;
/// let (at, source) = (Tensor::new(&[0u32, 0], &Device::Cpu)?, Tensor::new(&[1f32, 2.0], &Device::Cpu)?);
/// assert_eq!(scatter(&x, &at, &source, 0)?.to_vec1::<f32>()?, [2.0, 20.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`scatter_add`].
pub fn scatter<D: Dim>(xs: &Tensor, indexes: &Tensor, source: &Tensor, dim: D) -> Result<Tensor> {
    let dim = dim.to_index(xs.shape(), "scatter")?;
    alike("scatter", xs, source)?;
    let places = Places::new("scatter", xs, indexes, source, dim)?;
    if places.target.is_empty() {
        return Ok(xs.clone());
    }
    let (mut written, mut from) = (vec![0u8; xs.elem_count()], vec![0u32; xs.elem_count()]);
    for (&target, &source) in places.target.iter().zip(&places.source) {
        (written[target as usize], from[target as usize]) = (1, source);
    }
    let written = Tensor::from_vec(written, xs.elem_count(), xs.device())?;
    let taken = source.flatten_all()?.index_select(&numbers(from, xs)?, 0)?;
    written.where_cond(&taken, &xs.flatten_all()?)?.reshape(xs.shape())
}
