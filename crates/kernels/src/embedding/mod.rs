//! Rows of a table, with a gradient that is summed in a fixed order.

mod cpu;
#[cfg(test)]
mod tests;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::cpu::slice;
use cpu::{gather, sums};

/// The rows of `table` `[rows, width]` that `ids` name: `[…, width]` for ids `[…]`, differentiable in the table.
///
/// The gradient of a row is the sum of the gradients where it was taken, in the order of the ids: the same bits with
/// any number of threads. Of `bf16` and `f16` it is summed in `f32` and rounded once. On other devices than a CPU,
/// candle's `index_select` does the work.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use wick_kernels::embedding;
///
/// let table = Var::new(&[[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu)?;
/// let rows = embedding(&table, &Tensor::new(&[2u32, 0, 2], &Device::Cpu)?)?;
/// assert_eq!(rows.to_vec2::<f32>()?, [[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]);
/// let gradient = rows.sum_all()?.backward()?.get(&table).map(|g| g.to_vec2::<f32>()).transpose()?;
/// assert_eq!(gradient, Some(vec![vec![1.0, 1.0], vec![0.0, 0.0], vec![2.0, 2.0]]));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If an id is no row of the table, the table is no matrix, or the ids are no whole numbers.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let [rows, width] = *table.dims() else {
        bail!("an embedding takes a table [rows, width], not {:?}", table.dims());
    };
    if !ids.dtype().is_int() {
        bail!("an embedding takes ids of a whole number type, not {:?}", ids.dtype());
    }
    let shape: Vec<usize> = ids.dims().iter().copied().chain([width]).collect();
    let floating = matches!(table.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
    if !table.device().is_cpu() || !ids.device().is_cpu() || !floating {
        return table.index_select(&ids.flatten_all()?, 0)?.reshape(shape);
    }
    let numbers = ids.flatten_all()?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let row = |(place, &id): (usize, &i64)| match usize::try_from(id) {
        Ok(row) if row < rows => Ok(row),
        _ => bail!("id {id} at place {place} is no row of a table of {rows} rows"),
    };
    let ids = numbers.iter().enumerate().map(row).collect::<Result<Vec<usize>>>()?;
    table.contiguous()?.apply_op1(Rows { ids, shape: shape.into() })
}

/// The op on a CPU.
struct Rows {
    ids: Vec<usize>,
    shape: Shape,
}

impl CustomOp1 for Rows {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.dims()[1];
        use CpuStorage::{BF16, F16, F32, F64};
        let rows = match table {
            F32(_) => F32(gather(slice::of(table, layout)?, &self.ids, width)),
            F64(_) => F64(gather(slice::of(table, layout)?, &self.ids, width)),
            BF16(_) => BF16(gather(slice::of(table, layout)?, &self.ids, width)),
            F16(_) => F16(gather(slice::of(table, layout)?, &self.ids, width)),
            other => bail!("an embedding takes a floating point table, not {}", other.dtype().as_str()),
        };
        Ok((rows, self.shape.clone()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = table.dims2()?;
        let (gradient, dtype) = slice::on_cpu(gradient)?;
        let sums = match dtype {
            DType::F32 => {
                let sums =
                    slice::with::<f32, _>(&gradient, |gradient| sums(gradient, &self.ids, rows, width))?;
                Tensor::from_vec(sums, (rows, width), &Device::Cpu)?
            }
            _ => {
                let sums =
                    slice::with::<f64, _>(&gradient, |gradient| sums(gradient, &self.ids, rows, width))?;
                Tensor::from_vec(sums, (rows, width), &Device::Cpu)?
            }
        };
        sums.to_dtype(table.dtype()).map(Some)
    }
}
