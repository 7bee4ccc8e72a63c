//! Rows of a tensor, converted and standardised in the one pass that copies them.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor, WithDType};

use crate::error::Error;

/// How the numbers of a column become numbers of the model's type: `(x - mean)/std`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Law<'a> {
    pub(super) mean: &'a [f64],
    pub(super) std: &'a [f64],
}

/// The samples of a tensor and the numbers of each.
///
/// # Errors
/// The tensor has no dimension, no sample or no numbers.
pub(super) fn shape(tensor: &Tensor) -> Result<(usize, usize), Error> {
    match tensor.dims() {
        [samples, rest @ ..] if tensor.elem_count() > 0 => Ok((*samples, rest.iter().product())),
        dims => Err(Error::Shape {
            shape: dims.to_vec(),
            needs: "samples as its first dimension, and at least one number in each",
        }),
    }
}

/// The tensor as it is kept: in the memory of the CPU, sample after sample.
pub(super) fn held(tensor: &Tensor) -> Result<Tensor, Error> {
    shape(tensor)?;
    Ok(tensor.to_device(&Device::Cpu)?.contiguous()?.detach())
}

/// Refuses numbers of samples that the data does not have.
pub(super) fn check(indices: &[usize], samples: usize) -> Result<(), Error> {
    match indices.iter().find(|index| **index >= samples) {
        Some(&index) => Err(Error::Index { index, samples }),
        None if indices.is_empty() => Err(Error::Batch { batch: 0, samples }),
        None => Ok(()),
    }
}

/// Copies rows in the type that they have.
pub(super) fn copied(tensor: &Tensor, indices: &[usize]) -> Result<Tensor, Error> {
    check(indices, tensor.dim(0)?)?;
    let ids: Vec<i64> = indices.iter().map(|index| *index as i64).collect();
    let ids = Tensor::from_vec(ids, indices.len(), &Device::Cpu)?;
    Ok(tensor.index_select(&ids, 0)?)
}

/// Copies rows as numbers of a floating point type, standardised by a law with a value for each number of a
/// row. Types of 16 bits and less are standardised in `f32`, the others in `f64`, so that a column of large
/// numbers with small differences keeps these.
pub(super) fn converted(
    tensor: &Tensor,
    indices: &[usize],
    law: Option<Law<'_>>,
    dtype: DType,
) -> Result<Tensor, Error> {
    let (samples, columns) = shape(tensor)?;
    check(indices, samples)?;
    if law.is_none() && tensor.dtype() == dtype {
        return copied(tensor, indices);
    }
    let mut dims = tensor.dims().to_vec();
    dims[0] = indices.len();
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(Error::Candle(candle_core::Error::Msg("rows of a CPU tensor were expected".into())));
    };
    let range = start..end;
    let is_wide = law.is_some() && !matches!(tensor.dtype(), DType::U8 | DType::I16 | DType::F16);
    let out = if dtype == DType::F64 || is_wide {
        let law = law.map(|law| (law.mean.to_vec(), law.std.to_vec()));
        let rows = match storage {
            CpuStorage::U8(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::U32(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::I16(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::I32(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::I64(xs) => rows(&xs[range], indices, columns, |x| x as f64, law),
            CpuStorage::BF16(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::F16(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::F32(xs) => rows(&xs[range], indices, columns, f64::from, law),
            CpuStorage::F64(xs) => rows(&xs[range], indices, columns, |x| x, law),
            _ => return Err(Error::Type(tensor.dtype())),
        };
        Tensor::from_vec(rows, dims, &Device::Cpu)?
    } else {
        let narrow = |xs: &[f64]| xs.iter().map(|x| *x as f32).collect();
        let law = law.map(|law| (narrow(law.mean), narrow(law.std)));
        let rows = match storage {
            CpuStorage::U8(xs) => rows(&xs[range], indices, columns, f32::from, law),
            CpuStorage::U32(xs) => rows(&xs[range], indices, columns, |x| x as f32, law),
            CpuStorage::I16(xs) => rows(&xs[range], indices, columns, f32::from, law),
            CpuStorage::I32(xs) => rows(&xs[range], indices, columns, |x| x as f32, law),
            CpuStorage::I64(xs) => rows(&xs[range], indices, columns, |x| x as f32, law),
            CpuStorage::BF16(xs) => rows(&xs[range], indices, columns, f32::from, law),
            CpuStorage::F16(xs) => rows(&xs[range], indices, columns, f32::from, law),
            CpuStorage::F32(xs) => rows(&xs[range], indices, columns, |x| x, law),
            CpuStorage::F64(xs) => rows(&xs[range], indices, columns, |x| x as f32, law),
            _ => return Err(Error::Type(tensor.dtype())),
        };
        Tensor::from_vec(rows, dims, &Device::Cpu)?
    };
    Ok(out.to_dtype(dtype)?)
}

fn rows<T, F>(
    xs: &[T],
    indices: &[usize],
    columns: usize,
    convert: impl Fn(T) -> F + Copy,
    law: Option<(Vec<F>, Vec<F>)>,
) -> Vec<F>
where
    T: Copy,
    F: WithDType + std::ops::Sub<Output = F> + std::ops::Div<Output = F>,
{
    let mut out = Vec::with_capacity(indices.len() * columns);
    for &index in indices {
        let row = xs[index * columns..][..columns].iter().map(|x| convert(*x));
        match &law {
            None => out.extend(row),
            Some((mean, std)) => {
                out.extend(row.zip(mean).zip(std).map(|((x, mean), std)| (x - *mean) / *std));
            }
        }
    }
    out
}
