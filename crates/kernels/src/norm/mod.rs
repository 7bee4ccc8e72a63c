//! Norms: over the last dimension (`rows`), over groups of channels and over the batch (`channels`).

pub(crate) mod channels;
mod composed;
mod cpu_channels;
mod cpu_rows;
mod gradients;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, DType, Result, Tensor, WithDType, bail};

use crate::cpu::lanes;

/// The mean of the numbers that are divided together, and the inverse of their standard deviation.
type Scale = [f64; 2];

/// Weight and bias as an op takes them: contiguous, in the type that it computes in. A bias that is not there is a
/// constant of zeros, and a weight one of ones.
fn parameters(
    name: &str,
    xs: &Tensor,
    size: usize,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    for (what, tensor) in [("weight", weight), ("bias", bias)] {
        let Some(tensor) = tensor else { continue };
        if tensor.dims() != [size] {
            bail!("{name} of {:?} takes a {what} of shape [{size}], not {:?}", xs.shape(), tensor.shape());
        }
        let fits = tensor.dtype() == xs.dtype()
            || lanes::is_half(xs.dtype()) && (tensor.dtype() == DType::F32 || lanes::is_half(tensor.dtype()));
        if !fits {
            bail!("{name} of {:?} takes a {what} of that type, not {:?}", xs.dtype(), tensor.dtype());
        }
    }
    let dtype = inner(xs.dtype());
    let given = |tensor: &Tensor| tensor.to_dtype(dtype)?.contiguous();
    let weight = weight.map_or_else(|| Tensor::ones(size, dtype, xs.device()), given)?;
    let bias = bias.map_or_else(|| Tensor::zeros(size, dtype, xs.device()), given)?;
    Ok((weight, bias))
}

/// The type in which a norm of the type is computed.
fn inner(dtype: DType) -> DType {
    if lanes::is_half(dtype) { DType::F32 } else { dtype }
}

fn check_eps(name: &str, eps: f64) -> Result<()> {
    if eps >= 0.0 && eps.is_finite() {
        return Ok(());
    }
    bail!("eps of {name} is added to a variance and has to be 0 or above, not {eps}")
}

/// What goes forward and backward at once: the elements of contiguous CPU storages.
fn storage<T: WithDType>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}
