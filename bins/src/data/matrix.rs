//! A table of numbers.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};

use crate::args::Target;
use crate::limits::largest;

/// A table of numbers, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// The number of rows: samples.
    pub rows: usize,
    /// The number of columns: features.
    pub columns: usize,
    /// `rows · columns` finite numbers.
    pub values: Vec<f64>,
}

impl Matrix {
    /// Keeps the first `rows` rows.
    pub fn take(mut self, rows: usize) -> Self {
        self.rows = self.rows.min(rows);
        self.values.truncate(self.rows * self.columns);
        self
    }

    /// Shifts and scales each column to mean 0 and standard deviation 1. Constant columns become 0.
    pub fn standardize(mut self) -> Self {
        let n = self.rows as f64;
        for column in 0..self.columns {
            let cells = || self.values.iter().skip(column).step_by(self.columns);
            let mean = cells().sum::<f64>() / n;
            let std = (cells().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            // The deviations of a constant column are rounding errors.
            let flat = std <= 1e-12 * mean.abs();
            for x in self.values.iter_mut().skip(column).step_by(self.columns) {
                *x = if flat { 0.0 } else { (*x - mean) / std };
            }
        }
        self
    }

    /// Returns the table as a tensor `[rows, columns]`.
    ///
    /// # Errors
    /// Names the row, the column and the number that the type cannot hold, or says why the device refuses.
    pub fn tensor(&self, target: &Target) -> Result<Tensor> {
        let limit = largest(target.dtype);
        if let Some(at) = self.values.iter().position(|x| x.abs() > limit) {
            let (row, column) = (at / self.columns + 1, at % self.columns + 1);
            let (value, dtype) = (self.values[at], target.dtype.as_str());
            bail!("row {row}, column {column}: {value} is beyond the largest {dtype}");
        }
        let tensor = Tensor::from_slice(&self.values, (self.rows, self.columns), &Device::Cpu)?;
        Ok(tensor.to_dtype(target.dtype)?.to_device(&target.device)?)
    }
}

/// Returns the elements of a tensor, row by row.
///
/// # Errors
/// Fails if the elements cannot be copied from the device.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_type_are_named() {
        let target = |dtype| Target { device: Device::Cpu, name: "cpu".into(), dtype };
        let matrix = Matrix { rows: 2, columns: 2, values: vec![1.0, 2.0, 3.0, -70000.0] };
        assert!(matrix.tensor(&target(DType::BF16)).is_ok());
        let error = matrix.tensor(&target(DType::F16)).unwrap_err().to_string();
        assert_eq!(error, "row 2, column 2: -70000 is beyond the largest f16");
    }

    #[test]
    fn standardized_columns_have_mean_0_and_std_1() {
        let matrix = Matrix { rows: 3, columns: 2, values: vec![1.0, 7.0, 2.0, 7.0, 3.0, 7.0] }.standardize();
        let side = 1.5f64.sqrt();
        let expected = [-side, 0.0, 0.0, 0.0, side, 0.0];
        assert!(matrix.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{matrix:?}");
    }
}
