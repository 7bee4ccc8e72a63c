//! The samples of a tensor, as rows of units, read where they are.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, Tensor};
use wick_theory::BatchGeometry;

/// The axis of a tensor's units, how many units it has, and how many samples. The result is `None` for a tensor
/// without units or with fewer than two samples.
fn units_of(xs: &Tensor, axis: Option<usize>) -> Option<(usize, usize, usize)> {
    let rank = xs.rank();
    if rank < 2 {
        return None;
    }
    let axis = axis.filter(|axis| *axis < rank).unwrap_or(if rank == 4 || rank == 5 { 1 } else { rank - 1 });
    let count = xs.dims()[axis];
    let samples = xs.elem_count() / count.max(1);
    (samples >= 2).then_some((axis, count, samples))
}

/// Samples of a tensor, row by row, at most `most` and [chosen by a hash](BatchGeometry::choose); how many units it
/// has, and how many samples in all. The result is `None` for a tensor without units or with fewer than two
/// samples.
pub(super) fn rows(
    xs: &Tensor,
    axis: Option<usize>,
    most: usize,
) -> Result<Option<(Vec<f64>, usize, usize)>> {
    let Some((axis, count, samples)) = units_of(xs, axis) else { return Ok(None) };
    let gathered = with_rows(xs, axis, |numbers, places| match numbers {
        Numbers::F32(numbers) => places.gather(numbers, (samples, most), f64::from, Vec::new()),
        Numbers::F64(numbers) => places.gather(numbers, (samples, most), |x| x, Vec::new()),
        Numbers::BF16(numbers) => places.gather(numbers, (samples, most), half::bf16::to_f64, Vec::new()),
        Numbers::F16(numbers) => places.gather(numbers, (samples, most), half::f16::to_f64, Vec::new()),
    });
    if let Some(Some(values)) = gathered {
        return Ok(Some((values, count, samples)));
    }
    let mut rows = xs.detach().transpose(axis, xs.rank() - 1)?.reshape((samples, count))?;
    if samples > most {
        let chosen = BatchGeometry::chosen(samples, most).map(|row| row as u32).collect();
        rows = rows.index_select(&Tensor::from_vec(chosen, most, rows.device())?, 0)?;
    }
    let values = rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(Some((values, count, samples)))
}

/// The same rows of a tensor of `f32` on the CPU, not widened, in the buffer; `None` for others.
pub(super) fn rows_of_f32(
    xs: &Tensor,
    axis: Option<usize>,
    most: usize,
    buffer: Vec<f32>,
) -> Option<Vec<f32>> {
    let (axis, _, samples) = units_of(xs, axis)?;
    with_rows(xs, axis, |numbers, places| match numbers {
        Numbers::F32(numbers) => places.gather(numbers, (samples, most), |x| x, buffer),
        _ => None,
    })?
}

/// How many units a tensor has, and those of them that have one value in all chosen samples, rising; `None`
/// where [`rows`] has none, and for tensors whose numbers are not read in place.
pub(super) fn constants(xs: &Tensor, axis: Option<usize>, most: usize) -> Option<(usize, Vec<usize>)> {
    let (axis, count, samples) = units_of(xs, axis)?;
    let constants = with_rows(xs, axis, |numbers, places| match numbers {
        Numbers::F32(numbers) => places.constants(numbers, samples, most),
        Numbers::F64(numbers) => places.constants(numbers, samples, most),
        Numbers::BF16(numbers) => places.constants(numbers, samples, most),
        Numbers::F16(numbers) => places.constants(numbers, samples, most),
    })?;
    Some((count, constants?))
}

/// The numbers of a storage on the CPU.
enum Numbers<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    BF16(&'a [half::bf16]),
    F16(&'a [half::f16]),
}

/// Calls `f` with the numbers of a floating point tensor on the CPU, and where its rows are; `None` for others.
fn with_rows<R>(xs: &Tensor, axis: usize, f: impl FnOnce(Numbers, &Places) -> R) -> Option<R> {
    let (storage, layout) = xs.storage_and_layout();
    let numbers = match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => Numbers::F32(numbers),
        Storage::Cpu(CpuStorage::F64(numbers)) => Numbers::F64(numbers),
        Storage::Cpu(CpuStorage::BF16(numbers)) => Numbers::BF16(numbers),
        Storage::Cpu(CpuStorage::F16(numbers)) => Numbers::F16(numbers),
        _ => return None,
    };
    Some(f(numbers, &Places::new(layout, axis)))
}

/// Where the rows of a tensor are in its storage.
struct Places {
    /// All dimensions but that of the units, in the order of a tensor with that dimension and the last exchanged.
    dims: Vec<(usize, usize)>,
    offset: usize,
    /// The number of units, and the distance from one to the next.
    count: usize,
    stride: usize,
}

impl Places {
    fn new(layout: &Layout, axis: usize) -> Self {
        let mut dims: Vec<(usize, usize)> =
            layout.dims().iter().copied().zip(layout.stride().iter().copied()).collect();
        let last = dims.len() - 1;
        dims.swap(axis, last);
        let (count, stride) = dims.pop().unwrap_or((0, 1));
        Self { dims, offset: layout.start_offset(), count, stride }
    }

    fn start(&self, row: usize) -> usize {
        let (mut rest, mut from) = (row, self.offset);
        for (dim, stride) in self.dims.iter().rev() {
            from += rest % dim * stride;
            rest /= dim;
        }
        from
    }

    /// The numbers of the chosen rows, in the vector given; `None` if the storage does not have them.
    fn gather<T: Copy, U>(
        &self,
        numbers: &[T],
        (samples, most): (usize, usize),
        convert: impl Fn(T) -> U,
        mut values: Vec<U>,
    ) -> Option<Vec<U>> {
        values.clear();
        values.reserve(samples.min(most) * self.count);
        for row in BatchGeometry::chosen(samples, most) {
            let row = numbers.get(self.start(row)..)?;
            match self.stride {
                // A view that sees one number again and again.
                0 => values.extend((0..self.count).filter_map(|_| row.first()).map(|x| convert(*x))),
                1 => values.extend(row.get(..self.count)?.iter().map(|x| convert(*x))),
                stride => values.extend(row.iter().step_by(stride).take(self.count).map(|x| convert(*x))),
            }
        }
        (values.len() == samples.min(most) * self.count).then_some(values)
    }

    /// The units that have one value in all chosen rows: each row has to be looked at for the units that are left.
    fn constants<T: Copy + PartialOrd>(
        &self,
        numbers: &[T],
        samples: usize,
        most: usize,
    ) -> Option<Vec<usize>> {
        let mut chosen = BatchGeometry::chosen(samples, most);
        let first = numbers.get(self.start(chosen.next()?)..)?;
        let at = |row: &[T], unit: usize| row.get(unit * self.stride).copied();
        // A NaN differs from itself.
        let is_number = |unit: &usize| at(first, *unit).is_some_and(|x| x.partial_cmp(&x).is_some());
        let mut constants: Vec<usize> = (0..self.count).filter(is_number).collect();
        for row in chosen {
            if constants.is_empty() {
                break;
            }
            let row = numbers.get(self.start(row)..)?;
            constants.retain(|&unit| at(row, unit) == at(first, unit));
        }
        Some(constants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are read where they are equal those of a copy, for every type.
    #[test]
    fn rows_are_read_in_place() {
        let xs = Tensor::arange(0f32, 720.0, &Device::Cpu).unwrap().reshape((4, 6, 5, 6)).unwrap();
        // A view of a number, or of six, seen again and again: a stride of 0 along one axis or the other.
        let again = |axis: usize| xs.narrow(axis, 2, 1).unwrap().broadcast_as((4, 6, 5, 6)).unwrap();
        let views =
            [xs.clone(), xs.transpose(1, 2).unwrap(), xs.narrow(0, 1, 2).unwrap(), again(1), again(3)];
        for xs in views {
            for axis in [1, 3] {
                // Integers are read from a copy.
                let integers = xs.to_dtype(DType::I64).unwrap();
                let expected = rows(&integers, Some(axis), 7).unwrap();
                for dtype in [DType::F32, DType::F64, DType::F16] {
                    let xs = xs.to_dtype(dtype).unwrap();
                    assert_eq!(rows(&xs, Some(axis), 7).unwrap(), expected);
                }
                let narrow = rows_of_f32(&xs, Some(axis), 7, vec![1.0]).unwrap();
                assert_eq!(
                    Some(narrow.into_iter().map(f64::from).collect()),
                    expected.map(|(rows, ..)| rows)
                );
            }
        }
    }

    /// Of four channels, one is 2 in all samples, one in all but the last, one is NaN, and one has two values.
    #[test]
    fn constant_units_are_found_along_any_axis() {
        let rows: Vec<f32> = (0..300u16)
            .flat_map(|i| [2.0, if i == 299 { 1.0 } else { 2.0 }, f32::NAN, f32::from(i % 2)])
            .collect();
        let last = Tensor::from_vec(rows, (10, 30, 4), &Device::Cpu).unwrap();
        let second = last.transpose(1, 2).unwrap().contiguous().unwrap();
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            for (xs, axis) in [(&last, None), (&second, Some(1)), (&last.transpose(1, 2).unwrap(), Some(1))] {
                let xs = xs.to_dtype(dtype).unwrap();
                assert_eq!(constants(&xs, axis, 1000), Some((4, vec![0])));
                // The last sample is not among the chosen ones.
                assert_eq!(constants(&xs, axis, 3), Some((4, vec![0, 1])));
            }
        }
        assert_eq!(constants(&last.get(0).unwrap().narrow(0, 0, 1).unwrap(), None, 9), None);
    }
}
