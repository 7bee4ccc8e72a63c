//! Rows of a tensor, converted and standardised in the one pass that copies them.

use std::mem::MaybeUninit;
use std::ops::{Div, Range, Sub};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use wick_kernels::parallel;
use wick_kernels::simd::{self, SimdLevel};

use crate::error::Error;

/// How the numbers of a column become numbers of the model's type: `(x - mean)/std`, with another number for a
/// NaN. A list that is empty changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Law<'a> {
    /// What stands for NaN.
    pub(super) fill: &'a [f64],
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

/// Copies columns of a tensor `[samples, columns]`, by their places; the tensor itself if they are all of them.
pub(super) fn columns(tensor: &Tensor, columns: &[usize]) -> Result<Tensor, candle_core::Error> {
    let count = tensor.dim(1)?;
    if columns.len() == count && columns.iter().enumerate().all(|(place, column)| place == *column) {
        return Ok(tensor.clone());
    }
    let columns: Vec<i64> = columns.iter().map(|column| *column as i64).collect();
    let columns = Tensor::new(columns, &Device::Cpu)?;
    tensor.contiguous()?.index_select(&columns, 1)
}

/// Calls a function with the number and the row of each of some samples, in `f64`, with other numbers for NaN if
/// there are any.
pub(super) fn for_rows(
    data: &Tensor,
    samples: &[usize],
    fill: &[f64],
    mut f: impl FnMut(usize, &[f64]),
) -> Result<(), Error> {
    /// The samples that are converted at once.
    const CHUNK: usize = 256;
    let (_, columns) = shape(data)?;
    for chunk in samples.chunks(CHUNK) {
        let law = Law { fill, ..Law::default() };
        let numbers = converted(data, chunk, law, DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        chunk.iter().zip(numbers.chunks_exact(columns)).for_each(|(sample, row)| f(*sample, row));
    }
    Ok(())
}

/// Copies rows as numbers of a floating point type, standardised by a law with a value for each number of a
/// row. Types of 16 bits and less are standardised in `f32`, the others in `f64`, so that a column of large
/// numbers with small differences keeps these.
pub(super) fn converted(
    tensor: &Tensor,
    indices: &[usize],
    law: Law<'_>,
    dtype: DType,
) -> Result<Tensor, Error> {
    let (samples, columns) = shape(tensor)?;
    check(indices, samples)?;
    let is_shifted = !law.mean.is_empty();
    if !is_shifted && law.fill.is_empty() && tensor.dtype() == dtype {
        return copied(tensor, indices);
    }
    let mut dims = tensor.dims().to_vec();
    dims[0] = indices.len();
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(Error::Candle(candle_core::Error::Msg("rows of a CPU tensor were expected".into())));
    };
    let taken = Taken { storage, range: start..end, indices, columns };
    // The types whose numbers f32 tells apart after a shift too.
    let is_narrow = !is_shifted || matches!(tensor.dtype(), DType::U8 | DType::I16 | DType::F16);
    let out = match dtype {
        DType::F64 => Tensor::from_vec(taken.wide(law, |x| x)?, dims, &Device::Cpu)?,
        _ if is_narrow => Tensor::from_vec(taken.narrow(law)?, dims, &Device::Cpu)?,
        _ => Tensor::from_vec(taken.wide(law, |x| x as f32)?, dims, &Device::Cpu)?,
    };
    Ok(out.to_dtype(dtype)?)
}

/// Rows of a tensor's memory.
struct Taken<'a> {
    storage: &'a CpuStorage,
    /// Where the tensor lies in it.
    range: Range<usize>,
    indices: &'a [usize],
    columns: usize,
}

impl Taken<'_> {
    /// The rows, standardised in `f64` and then finished.
    fn wide<O: Send>(&self, law: Law<'_>, finish: impl Fn(f64) -> O + Copy + Sync) -> Result<Vec<O>, Error> {
        let law = (law.fill, law.mean, law.std);
        Ok(match self.storage {
            CpuStorage::U8(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::U32(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::I16(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::I32(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::I64(xs) => self.rows(xs, |x| x as f64, law, finish),
            CpuStorage::BF16(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::F16(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::F32(xs) => self.rows(xs, f64::from, law, finish),
            CpuStorage::F64(xs) => self.rows(xs, |x| x, law, finish),
            other => return Err(Error::Type(other.dtype())),
        })
    }

    /// The rows, standardised in `f32`.
    fn narrow(&self, law: Law<'_>) -> Result<Vec<f32>, Error> {
        let narrow = |xs: &[f64]| xs.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let (fill, mean, std) = (narrow(law.fill), narrow(law.mean), narrow(law.std));
        let law = (&fill[..], &mean[..], &std[..]);
        Ok(match self.storage {
            CpuStorage::U8(xs) => self.rows(xs, f32::from, law, |x| x),
            CpuStorage::U32(xs) => self.rows(xs, |x| x as f32, law, |x| x),
            CpuStorage::I16(xs) => self.rows(xs, f32::from, law, |x| x),
            CpuStorage::I32(xs) => self.rows(xs, |x| x as f32, law, |x| x),
            CpuStorage::I64(xs) => self.rows(xs, |x| x as f32, law, |x| x),
            CpuStorage::BF16(xs) => self.rows(xs, f32::from, law, |x| x),
            CpuStorage::F16(xs) => self.rows(xs, f32::from, law, |x| x),
            CpuStorage::F32(xs) => self.rows(xs, |x| x, law, |x| x),
            CpuStorage::F64(xs) => self.rows(xs, |x| x as f32, law, |x| x),
            other => return Err(Error::Type(other.dtype())),
        })
    }

    fn rows<T: Copy + Sync, F: Real, O: Send>(
        &self,
        xs: &[T],
        convert: impl Fn(T) -> F + Copy + Sync,
        law: (&[F], &[F], &[F]),
        finish: impl Fn(F) -> O + Copy + Sync,
    ) -> Vec<O> {
        let (xs, columns, level) = (&xs[self.range.clone()], self.columns, SimdLevel::best());
        let count = self.indices.len() * columns;
        let of_block = (BLOCK / columns).max(1);
        let mut out = Vec::with_capacity(count);
        parallel::for_each_part(&mut out.spare_capacity_mut()[..count], of_block * columns, |block, out| {
            let indices = &self.indices[block * of_block..];
            let row = |index: &usize| &xs[index * columns..][..columns];
            indices.iter().take(AHEAD).for_each(|index| prefetch(row(index)));
            for (place, out) in out.chunks_exact_mut(columns).enumerate() {
                indices.get(place + AHEAD).into_iter().for_each(|index| prefetch(row(index)));
                simd::run(level, Row { xs: row(&indices[place]), out, law, convert, finish });
            }
        });
        // SAFETY: the parts are whole rows, one for each index, and `Row` writes each place of a row.
        unsafe { out.set_len(count) };
        out
    }
}

/// The numbers that one task converts, in whole rows.
const BLOCK: usize = 1 << 14;

/// The rows that are asked for before they are converted. A batch is rows from anywhere in the data, and converting
/// one takes less time than memory takes to answer: without this, loading 128 images of 784 bytes takes twice as long.
const AHEAD: usize = 4;

/// Asks for the beginning of a row; for the rest, the processor sees where the reads go.
fn prefetch<T>(row: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        const MOST: usize = 1024;
        let start = row.as_ptr().cast::<i8>();
        for byte in (0..size_of_val(row).min(MOST)).step_by(LINE) {
            // SAFETY: every x86-64 processor has the instruction; it reads nothing, and the address lies in the row.
            unsafe { _mm_prefetch(start.add(byte), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// `f32` or `f64`.
trait Real: Copy + Send + Sync + PartialEq + Sub<Output = Self> + Div<Output = Self> {}

impl Real for f32 {}
impl Real for f64 {}

/// A row, and the places for its numbers.
struct Row<'a, T, F, O, C, G> {
    xs: &'a [T],
    out: &'a mut [MaybeUninit<O>],
    /// What stands for NaN, the means and the standard deviations, as in [`Law`].
    law: (&'a [F], &'a [F], &'a [F]),
    convert: C,
    finish: G,
}

impl<T: Copy, F: Real, O, C: Fn(T) -> F, G: Fn(F) -> O> simd::Task for Row<'_, T, F, O, C, G> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { xs, out, law: (fill, mean, std), convert, finish } = self;
        // Callers compare the columns before; each place is written.
        let fits = |law: &[F]| law.is_empty() || law.len() == xs.len();
        assert!(out.len() == xs.len() && fits(fill) && fits(mean) && mean.len() == std.len());
        if fill.is_empty() && mean.is_empty() {
            for (out, x) in out.iter_mut().zip(xs) {
                out.write(finish(convert(*x)));
            }
        } else if fill.is_empty() {
            for (((out, x), mean), std) in out.iter_mut().zip(xs).zip(mean).zip(std) {
                out.write(finish((convert(*x) - *mean) / *std));
            }
        } else {
            // A NaN is not itself.
            #[allow(clippy::eq_op)]
            let filled = |x: F, fill: F| if x == x { x } else { fill };
            if mean.is_empty() {
                for ((out, x), fill) in out.iter_mut().zip(xs).zip(fill) {
                    out.write(finish(filled(convert(*x), *fill)));
                }
            } else {
                for ((((out, x), fill), mean), std) in out.iter_mut().zip(xs).zip(fill).zip(mean).zip(std) {
                    out.write(finish((filled(convert(*x), *fill) - *mean) / *std));
                }
            }
        }
    }
}
