//! The Jacobian of a map and its singular values, from vector-Jacobian products.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use nalgebra::DMatrix;

/// How many rows of a Jacobian one backward pass computes.
const ROWS_PER_PASS: usize = 256;
/// The exact decomposition of a Jacobian with more outputs or inputs takes too long.
const MAX_DIMENSION: usize = 1000;

/// The Jacobian `∂f/∂x`, of shape `[out, in]`, at one sample `x` of shape `[in]`. The map `f` takes a batch
/// `[n, in]` to `[n, out]`, each sample independently of the others, so that one backward pass computes 256
/// rows.
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
/// If `x` does not have one dimension, if the output of `f` is not `[n, out]` or does not depend on its
/// input, and the errors of `f`.
pub fn jacobian(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let outputs = f(&x.unsqueeze(0)?)?.dims2()?.1;
    let rows = (0..outputs).step_by(ROWS_PER_PASS).map(|first| {
        let count = ROWS_PER_PASS.min(outputs - first);
        let basis: Vec<f64> = (0..count * outputs)
            .map(|index| f64::from(u8::from(index % outputs == first + index / outputs)))
            .collect();
        let basis = Tensor::from_vec(basis, (count, outputs), &Device::Cpu)?;
        vector_jacobian(&f, x, &basis)
    });
    Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
}

/// `uᵀ ∂f/∂x` for each row `u` of `[n, out]`.
fn vector_jacobian(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor, vectors: &Tensor) -> Result<Tensor> {
    let (count, features) = (vectors.dim(0)?, x.dims1()?);
    let xs = Var::from_tensor(&x.unsqueeze(0)?.broadcast_as((count, features))?.contiguous()?)?;
    let output = f(&xs)?;
    let vectors = vectors.to_device(x.device())?.to_dtype(output.dtype())?;
    if output.dims() != vectors.dims() {
        bail!(
            "expected an output of shape {:?} for {count} samples, and got {:?}",
            vectors.dims(),
            output.dims()
        );
    }
    let gradients = (output * vectors)?.sum_all()?.backward()?;
    match gradients.get(&xs) {
        Some(gradient) => Ok(gradient.clone()),
        None => bail!("the map does not depend on its input"),
    }
}

/// All singular values of `∂f/∂x` at one sample, largest first, for at most 1000 inputs and outputs. The map
/// `f` is as in [`jacobian`].
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
/// Those of [`jacobian`], and more than 1000 inputs or outputs, for which [`jacobian_moments`] estimates the
/// moments.
pub fn singular_values(f: impl Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Vec<f64>> {
    let jacobian = jacobian(f, x)?;
    let (rows, columns) = jacobian.dims2()?;
    if rows.max(columns) > MAX_DIMENSION {
        bail!(
            "a Jacobian of {rows} × {columns} is too large for an exact decomposition, which takes at most \
             {MAX_DIMENSION} dimensions: use jacobian_moments"
        );
    }
    let values = jacobian.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let mut singular: Vec<f64> =
        DMatrix::from_row_slice(rows, columns, &values).singular_values().iter().copied().collect();
    singular.sort_by(|a, b| b.total_cmp(a));
    Ok(singular)
}

/// Estimates the mean and the variance of the squared singular values of `J = ∂f/∂x` at one sample, over the
/// outputs; if there are more outputs than inputs, the rest count as 0. The map `f` is as in [`jacobian`].
///
/// The estimate is made from random vectors `u`, given as `[n, out]`, whose elements are independent with
/// mean 0 and variance 1. With `g = Jᵀu`, `E g·g = tr JJᵀ`, and `E (g·g')² = tr (JJᵀ)²` for two different
/// vectors.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use wick_probe::jacobian_moments;
///
/// // The squared singular values are 4 and 1. The estimate is exact, since the vectors are orthogonal signs.
/// let scale = Tensor::new(&[[2.0f64, 1.0]], &Device::Cpu)?;
/// let signs = Tensor::new(&[[1.0f64, 1.0], [1.0, -1.0]], &Device::Cpu)?;
/// let x = Tensor::ones(2, DType::F64, &Device::Cpu)?;
/// let (mean, _) = jacobian_moments(|x| x.broadcast_mul(&scale), &x, &signs)?;
/// assert_eq!(mean, 2.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`jacobian`], and fewer than two vectors.
pub fn jacobian_moments(
    f: impl Fn(&Tensor) -> Result<Tensor>,
    x: &Tensor,
    vectors: &Tensor,
) -> Result<(f64, f64)> {
    let (count, outputs) = vectors.dims2()?;
    if count < 2 {
        bail!("the variance needs at least two random vectors, and got {count}");
    }
    let products = vector_jacobian(f, x, vectors)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let gram = products.matmul(&products.t()?.contiguous()?)?.to_vec2::<f64>()?;
    let (mut first, mut second) = (0.0, 0.0);
    for (i, row) in gram.iter().enumerate() {
        for (j, product) in row.iter().enumerate() {
            if i == j { first += product } else { second += product * product }
        }
    }
    let (n, k) = (outputs as f64, count as f64);
    let mean = first / (k * n);
    Ok((mean, second / (k * (k - 1.0) * n) - mean * mean))
}
