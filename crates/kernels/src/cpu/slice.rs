//! The elements of CPU tensors as slices, without a copy.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, Tensor, WithDType, bail};

/// The elements of a contiguous part of a storage.
pub(crate) fn of<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => bail!("a contiguous tensor was expected, not one of strides {:?}", layout.stride()),
    }
}

/// The elements of a contiguous part of a storage on the CPU.
pub(crate) fn of_cpu<'a, T: WithDType>(storage: &'a Storage, layout: &Layout) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => of(storage, layout),
        _ => bail!("a tensor on the CPU was expected"),
    }
}

/// Calls `f` with the elements of a contiguous CPU tensor.
pub(crate) fn with<T: WithDType, R>(xs: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = xs.storage_and_layout();
    Ok(f(of_cpu(&storage, layout)?))
}

/// The tensor on the CPU, contiguous, in `f64` if it was `f64` or an integer type, else in `f32`, which holds
/// every `bf16` and `f16`.
pub(crate) fn on_cpu(xs: &Tensor) -> Result<(Tensor, DType)> {
    let dtype = match xs.dtype() {
        DType::F32 | DType::BF16 | DType::F16 => DType::F32,
        _ => DType::F64,
    };
    Ok((xs.detach().to_device(&Device::Cpu)?.to_dtype(dtype)?.contiguous()?, dtype))
}
