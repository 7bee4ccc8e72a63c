//! The singular values of a map's Jacobian, through vector-Jacobian products.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use nalgebra::DMatrix;

/// Rows of a Jacobian that one backward pass computes.
const AT_ONCE: usize = 256;
/// More outputs or inputs than these take too long for an exact decomposition.
const MOST: usize = 1000;

/// `∂f/∂x` at one sample `x` of shape `[in]`, as `[out, in]`. `f` maps a batch `[n, in]` to `[n, out]`, each sample by itself: a
/// backward pass then computes 256 rows at once.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_probe::jacobian;
///
/// let w = Tensor::new(&[[1.0f64, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu)?;
/// let x = Tensor::new(&[0.5f64, -0.5], &Device::Cpu)?;
/// assert_eq!(jacobian(|x| x.matmul(&w.t()?), &x)?.to_vec2::<f64>()?, w.to_vec2::<f64>()?);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If `x` is not of one dimension or `f` does not keep the samples apart, and those of `f`.
pub fn jacobian(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let outputs = f(&x.unsqueeze(0)?)?.dims2()?.1;
    let rows = (0..outputs).step_by(AT_ONCE).map(|first| {
        let count = AT_ONCE.min(outputs - first);
        let chosen: Vec<f64> = (0..count * outputs)
            .map(|place| f64::from(u8::from(place % outputs == first + place / outputs)))
            .collect();
        let chosen = Tensor::from_vec(chosen, (count, outputs), &Device::Cpu)?;
        pulled_back(&f, x, &chosen)
    });
    Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
}

/// `uᵀ ∂f/∂x` for each row `u` of `[n, out]`.
fn pulled_back(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor, vectors: &Tensor) -> Result<Tensor> {
    let (count, features) = (vectors.dim(0)?, x.dims1()?);
    let xs = Var::from_tensor(&x.unsqueeze(0)?.broadcast_as((count, features))?.contiguous()?)?;
    let output = f(&xs)?;
    let vectors = vectors.to_device(x.device())?.to_dtype(output.dtype())?;
    if output.dims() != vectors.dims() {
        bail!("the map makes {:?} of {count} samples, and {:?} was expected", output.dims(), vectors.dims());
    }
    let gradients = (output * vectors)?.sum_all()?.backward()?;
    match gradients.get(&xs) {
        Some(gradient) => Ok(gradient.clone()),
        None => bail!("the map does not depend on its input"),
    }
}

/// All singular values of `∂f/∂x` at one sample, largest first, for at most 1000 inputs and outputs; `f` as for [`jacobian`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_probe::singular_values;
///
/// let x = Tensor::new(&[0.0f64, 2.0, -1.0], &Device::Cpu)?;
/// let values = singular_values(|x| x * 3.0, &x)?;
/// assert!(values.iter().all(|value| (value - 3.0).abs() < 1e-12) && values.len() == 3);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`jacobian`], and for more than 1000 dimensions, where [`jacobian_moments`] is the way.
pub fn singular_values(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Vec<f64>> {
    let jacobian = jacobian(f, x)?;
    let (rows, columns) = jacobian.dims2()?;
    if rows.max(columns) > MOST {
        bail!(
            "a Jacobian of {rows} × {columns} is too large for all its singular values: jacobian_moments has their moments"
        );
    }
    let values = jacobian.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let mut found: Vec<f64> =
        DMatrix::from_row_slice(rows, columns, &values).singular_values().iter().copied().collect();
    found.sort_by(|a, b| b.total_cmp(a));
    Ok(found)
}

/// Mean and variance of the squared singular values of `∂f/∂x`, over the outputs (those without a singular value of their own count
/// as 0), estimated from random vectors `[n, out]` whose elements have mean 0 and variance 1: with `g = Jᵀu`, `E g·g = tr JJᵀ`, and
/// `E (g·g')² = tr (JJᵀ)²` of two different ones. `f` as for [`jacobian`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_probe::jacobian_moments;
///
/// // Squared singular values 4 and 1: exact, as these vectors are orthogonal signs.
/// let scale = Tensor::new(&[[2.0f64, 1.0]], &Device::Cpu)?;
/// let signs = Tensor::new(&[[1.0f64, 1.0], [1.0, -1.0]], &Device::Cpu)?;
/// let (mean, _) = jacobian_moments(|x| x.broadcast_mul(&scale), &Tensor::ones(2, DType::F64, &Device::Cpu)?, &signs)?;
/// assert_eq!(mean, 2.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`jacobian`], and for fewer than two vectors.
pub fn jacobian_moments(
    f: impl Fn(&Tensor) -> Result<Tensor>,
    x: &Tensor,
    vectors: &Tensor,
) -> Result<(f64, f64)> {
    let (count, outputs) = vectors.dims2()?;
    if count < 2 {
        bail!("the variance takes two random vectors or more, and there is {count}");
    }
    let pulled = pulled_back(f, x, vectors)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let products = pulled.matmul(&pulled.t()?.contiguous()?)?.to_vec2::<f64>()?;
    let (mut first, mut second) = (0.0, 0.0);
    for (i, row) in products.iter().enumerate() {
        for (j, product) in row.iter().enumerate() {
            if i == j { first += product } else { second += product * product }
        }
    }
    let (n, k) = (outputs as f64, count as f64);
    let mean = first / (k * n);
    Ok((mean, second / (k * (k - 1.0) * n) - mean * mean))
}
