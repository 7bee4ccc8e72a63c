//! Single elements of tensors, read where they are.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};

/// The elements at the given places, counted in the tensor's own row-major order.
pub(crate) fn elements(xs: &Tensor, places: &[usize]) -> Result<Vec<f64>> {
    {
        let (storage, layout) = xs.storage_and_layout();
        let offset = |place: usize| {
            let (mut rest, mut offset) = (place, layout.start_offset());
            for (dim, stride) in layout.dims().iter().zip(layout.stride()).rev() {
                offset += rest % dim * stride;
                rest /= dim;
            }
            offset
        };
        macro_rules! read {
            ($numbers:expr, $wide:expr) => {{
                let numbers = $numbers;
                return Ok(places
                    .iter()
                    .map(|place| numbers.get(offset(*place)).map_or(f64::NAN, $wide))
                    .collect());
            }};
        }
        match &*storage {
            Storage::Cpu(CpuStorage::F32(numbers)) => read!(numbers, |x| f64::from(*x)),
            Storage::Cpu(CpuStorage::F64(numbers)) => read!(numbers, |x| *x),
            Storage::Cpu(CpuStorage::BF16(numbers)) => read!(numbers, |x| f64::from(x.to_f32())),
            Storage::Cpu(CpuStorage::F16(numbers)) => read!(numbers, |x| f64::from(x.to_f32())),
            _ => {}
        }
    }
    let indices: Vec<u32> = places.iter().map(|place| *place as u32).collect();
    let indices = Tensor::from_vec(indices, places.len(), xs.device())?;
    let chosen = xs.detach().flatten_all()?.index_select(&indices, 0)?;
    chosen.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1::<f64>()
}

/// Places spread over `count` elements by the golden ratio, which no size of a dimension divides: a regular
/// stride would fall on the same units again and again.
pub(crate) fn places(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    (0..most).map(|i| (((i as f64 + 0.5) * GOLDEN).fract() * count as f64) as usize).collect()
}

/// How much two numbers may differ that are equal up to the rounding of a type, relative to the larger one.
pub(super) fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::BF16 => 1.0 / 64.0,
        DType::F16 => 1.0 / 512.0,
        _ => 2e-6,
    }
}

/// Whether `b` is `a` up to rounding, relative to the largest magnitude of `a`.
pub(super) fn are_close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    let scale = a.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale.max(a.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_of_the_logical_order() -> Result<()> {
        let xs = Tensor::arange(0f32, 24.0, &Device::Cpu)?.reshape((2, 3, 4))?;
        let view = xs.transpose(0, 2)?.narrow(1, 1, 2)?;
        let all: Vec<f64> = view.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            let view = xs.to_dtype(dtype)?.transpose(0, 2)?.narrow(1, 1, 2)?;
            assert_eq!(elements(&view, &(0..16).collect::<Vec<_>>())?, all);
        }
        Ok(())
    }

    /// Of a matrix whose width is the number of places, a regular stride would see one column.
    #[test]
    fn places_fall_on_all_columns() {
        let columns: std::collections::BTreeSet<usize> =
            places(96 * 64, 64).into_iter().map(|place| place % 96).collect();
        assert!(columns.len() > 40, "{}", columns.len());
        assert_eq!(places(3, 64), [0, 1, 2]);
    }
}
