//! The gradient of a layer's output out of that of its weight, by least squares.

use candle_core::{DType, Device, Result, Tensor};
use nalgebra::{Cholesky, DMatrix};

/// A gradient that is found with a larger error is none.
const MAX_ERROR: f64 = 1e-3;

/// Corrections of the normal equations' solution by its residual, which make it as exact as one by a QR decomposition.
const CORRECTIONS: usize = 2;

/// The largest part of a weight's gradient that its input may leave unexplained, in squares: more is a penalty of the
/// weights or another path to them.
const MAX_REST: f64 = 1e-6;

/// `δ` from `dW = Xᵀ δ`, with its relative error: `X` of `[rows, in]` and `dW` of `[in, out]`, or `[out, in]` if it is
/// transposed, give `δ` of the shape `dims`, in `f64`. `None` for more than half as many rows as columns, for rows that
/// are alike, and where `dW` has another part.
///
/// Each column of `X` and row of `dW` is divided by the column's norm, since `dW` is rounded in proportion to it. With `A`
/// the columns divided, `e` the rms of what the solution leaves of `A Aᵀ` (the rounding of `dW`, which has `in - rows`
/// degrees of freedom for each column of `δ`), the variance of `δ` is that of a linear regression (Gauss 1821):
///
/// ```text
/// error = e √(tr (A Aᵀ)⁻¹ / rows) / rms δ,    e ≈ ε rms(dW / norms),    ε = 6e-8 for a dW of f32
/// ```
pub(super) fn least_squares(
    input: &Tensor,
    of_weight: &Tensor,
    is_transposed: bool,
    dims: &[usize],
) -> Result<Option<(Tensor, f64)>> {
    let width = input.dims().last().copied().unwrap_or(0);
    let rows = input.elem_count() / width.max(1);
    if rows == 0 || 2 * rows > width {
        return Ok(None);
    }
    let x = input.to_dtype(DType::F64)?.reshape((rows, width))?.to_device(&Device::Cpu)?;
    let of_weight = of_weight.detach().to_dtype(DType::F64)?.to_device(&Device::Cpu)?;
    // [in, out].
    let of_weight = if is_transposed { of_weight.t()? } else { of_weight }.contiguous()?;
    let norms = x.sqr()?.sum(0)?.sqrt()?.to_vec1::<f64>()?;
    let known = norms.iter().filter(|norm| **norm > 0.0).count();
    if known <= rows {
        return Ok(None);
    }
    let inverse = |norm: f64| if norm > 0.0 { norm.recip() } else { 0.0 };
    let scales = Tensor::from_iter(norms.into_iter().map(inverse), &Device::Cpu)?;
    let a = x.broadcast_mul(&scales)?;
    let at = a.t()?.contiguous()?;
    let right = of_weight.broadcast_mul(&scales.unsqueeze(1)?)?;
    let Some(cholesky) = Cholesky::new(matrix(&a.matmul(&at)?)?) else { return Ok(None) };
    let solve = |right: &Tensor| tensor(&cholesky.solve(&matrix(&a.matmul(right)?)?));
    let mut solved = solve(&right)?;
    for _ in 0..CORRECTIONS {
        solved = (&solved + solve(&(&right - at.matmul(&solved)?)?)?)?;
    }
    let sum_of_squares = |xs: &Tensor| xs.sqr()?.sum_all()?.to_scalar::<f64>();
    let rest = sum_of_squares(&(x.t()?.matmul(&solved)? - &of_weight)?)?;
    if rest > MAX_REST * sum_of_squares(&of_weight)? {
        return Ok(None);
    }
    let columns = solved.dim(1)?;
    let left = sum_of_squares(&(right - at.matmul(&solved)?)?)? / ((known - rows) * columns) as f64;
    let size = sum_of_squares(&solved)? / (rows * columns) as f64;
    let spread = cholesky.inverse().trace() / rows as f64;
    let error = if size > 0.0 { (left * spread / size).sqrt() } else { 0.0 };
    let is_found = error <= MAX_ERROR;
    Ok(if is_found { Some((solved.reshape(dims)?, error)) } else { None })
}

fn matrix(xs: &Tensor) -> Result<DMatrix<f64>> {
    let (rows, columns) = xs.dims2()?;
    Ok(DMatrix::from_row_iterator(rows, columns, xs.flatten_all()?.to_vec1::<f64>()?))
}

fn tensor(xs: &DMatrix<f64>) -> Result<Tensor> {
    // A matrix of nalgebra has its columns one after another.
    Tensor::from_vec(xs.as_slice().to_vec(), (xs.ncols(), xs.nrows()), &Device::Cpu)?.t()?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::test_numbers::normal;
    use super::*;

    /// The error of the gradient found from a product in this type, beside the error that is told.
    fn errors(x: &Tensor, delta: &Tensor, dtype: DType) -> Result<Option<(f64, f64)>> {
        let (x, delta) = (x.to_dtype(dtype)?, delta.to_dtype(dtype)?);
        let of_weight = x.t()?.matmul(&delta)?;
        let Some((found, told)) = least_squares(&x, &of_weight, false, delta.dims())? else {
            return Ok(None);
        };
        let delta = delta.to_dtype(DType::F64)?;
        let number = |xs: &Tensor| xs.sqr()?.sum_all()?.to_scalar::<f64>();
        Ok(Some(((number(&(found - &delta)?)? / number(&delta)?).sqrt(), told)))
    }

    /// From independent rows, up to half as many as columns, the gradient is right to 1e-6 in `f32` and to 1e-13 in
    /// `f64`; so it is behind a relu, and of columns of sizes over four powers of ten. Rows of a cosine of .999999 have a
    /// larger error in `f32`, and the error that is told is the real one within a factor of two, in all of them.
    #[test]
    fn the_error_is_that_of_the_rounding() -> Result<()> {
        for rows in [2, 8, 32, 64] {
            let (independent, delta) = (normal(1.0, (rows, 128)), normal(1e-3, (rows, 24)));
            let sizes: Vec<f32> = (0..128).map(|i| 10f32.powf(i as f32 / 32.0 - 2.0)).collect();
            let uneven = independent.broadcast_mul(&Tensor::from_vec(sizes, 128, &Device::Cpu)?)?;
            let common = normal(1.0, (1, 128));
            let alike = |own: f64| (&independent * own)?.broadcast_add(&common);
            for (what, x, is_easy) in [
                ("independent", independent.clone(), true),
                ("relu", independent.relu()?, true),
                ("uneven", uneven, true),
                ("cosine .99", alike(0.1)?, false),
                ("cosine .999999", alike(0.001)?, false),
            ] {
                let (single, told) = errors(&x, &delta, DType::F32)?.expect("few rows");
                let (double, _) = errors(&x, &delta, DType::F64)?.expect("few rows");
                println!("{rows} rows, {what}: f32 {single:.1e}, told {told:.1e}; f64 {double:.1e}");
                assert!(double < if is_easy { 1e-13 } else { 1e-11 }, "{what}, {rows} rows: {double:e}");
                assert!(!is_easy || single < 1e-6, "{what}, {rows} rows: {single:e}");
                assert!(
                    what != "cosine .999999" || rows < 8 || single > 1e-6,
                    "the twin, {rows} rows: {single:e}"
                );
                let factor = told / single;
                assert!(
                    (0.5..2.0).contains(&factor),
                    "{what}, {rows} rows: {told:e} is told, {single:e} is so"
                );
            }
        }
        Ok(())
    }

    /// Nothing is found for more rows, for equal rows, or where the rows are so alike that rounding decides.
    #[test]
    fn what_rounding_decides_is_not_found() -> Result<()> {
        let common = normal(1.0, (1, 128));
        let of = |own: f64, rows: usize| -> Result<Option<(f64, f64)>> {
            let x = (normal(1.0, (rows, 128)) * own)?.broadcast_add(&common)?;
            errors(&x, &normal(1.0, (rows, 24)), DType::F32)
        };
        assert!(of(1.0, 64)?.is_some());
        for (own, rows) in [(1.0, 65), (0.0, 2), (1e-5, 32)] {
            assert_eq!(of(own, rows)?, None, "{own}, {rows} rows");
        }
        Ok(())
    }
}
