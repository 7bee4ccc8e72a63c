//! Data from files, and the digits that ship with Wick.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};

use crate::args::Place;

const DIGITS: &str = include_str!("../../assets/digits/digits.csv");

/// A table of numbers, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// How many rows: samples.
    pub rows: usize,
    /// How many columns: features.
    pub columns: usize,
    /// `rows · columns` finite numbers.
    pub values: Vec<f64>,
}

impl Matrix {
    /// Reads `digits`, or a file: `.csv` (with or without a header line), `.npy`, or `.safetensors` (with one
    /// tensor in it, or `FILE.safetensors#TENSOR`).
    ///
    /// # Errors
    /// Names the file, and the line and column where a number is missing, malformed, infinite or NaN.
    pub fn load(source: &str) -> Result<Self> {
        if source == "digits" {
            return Ok(digits()?.0);
        }
        let (path, tensor) = match source.rsplit_once('#') {
            Some((path, tensor)) if path.ends_with(".safetensors") => (Path::new(path), Some(tensor)),
            _ => (Path::new(source), None),
        };
        let name = path.display();
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let matrix = match extension.as_deref() {
            Some("csv") => {
                let text = std::fs::read(path).with_context(|| format!("cannot read '{name}'"))?;
                csv(&text)
            }
            Some("npy") => npy(path),
            Some("safetensors") => safetensors(path, tensor),
            _ => bail!(
                "cannot tell what '{source}' is: data is 'digits', or a .csv, .npy or .safetensors file"
            ),
        };
        let matrix = matrix.with_context(|| format!("cannot read '{name}'"))?;
        if matrix.values.is_empty() {
            bail!("'{name}' holds no numbers");
        }
        if let Some(place) = matrix.values.iter().position(|x| !x.is_finite()) {
            let (row, column) = (place / matrix.columns + 1, place % matrix.columns + 1);
            bail!("'{name}', row {row}, column {column}: {} is not a finite number", matrix.values[place]);
        }
        Ok(matrix)
    }

    /// The first rows only.
    pub fn take(mut self, rows: usize) -> Self {
        self.rows = self.rows.min(rows);
        self.values.truncate(self.rows * self.columns);
        self
    }

    /// Every column shifted to mean 0 and scaled to standard deviation 1; constant columns become 0.
    pub fn standardize(mut self) -> Self {
        let n = self.rows as f64;
        for column in 0..self.columns {
            let cells = || self.values.iter().skip(column).step_by(self.columns);
            let mean = cells().sum::<f64>() / n;
            let std = (cells().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            // What is left of a constant column is rounding.
            let flat = std <= 1e-12 * mean.abs();
            for x in self.values.iter_mut().skip(column).step_by(self.columns) {
                *x = if flat { 0.0 } else { (*x - mean) / std };
            }
        }
        self
    }

    /// The table as a tensor `[rows, columns]`.
    ///
    /// # Errors
    /// If the device refuses.
    pub fn tensor(&self, place: &Place) -> Result<Tensor> {
        let tensor = Tensor::from_slice(&self.values, (self.rows, self.columns), &Device::Cpu)?;
        Ok(tensor.to_dtype(place.dtype)?.to_device(&place.device)?)
    }
}

/// The elements of a tensor, row by row.
///
/// # Errors
/// If the device cannot hand them over.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The handwritten digits: 1797 images of 64 pixels from 0 to 16, and which digit each is.
///
/// # Errors
/// None that a test would not have found.
pub fn digits() -> Result<(Matrix, Vec<usize>)> {
    let all = csv(DIGITS.as_bytes())?;
    let pixels = all.columns - 1;
    let values = all.values.chunks(all.columns).flat_map(|row| row[..pixels].to_vec()).collect();
    let labels = all.values.chunks(all.columns).map(|row| row[pixels] as usize).collect();
    Ok((Matrix { rows: all.rows, columns: pixels, values }, labels))
}

/// A first line without a single number is a header.
fn csv(text: &[u8]) -> Result<Matrix> {
    let mut matrix = Matrix { rows: 0, columns: 0, values: Vec::new() };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
    for (index, record) in reader.records().enumerate() {
        let record = record?;
        let line = record.position().map_or(0, |position| line_of(text, position.byte() as usize));
        if index == 0 && record.iter().all(|cell| cell.parse::<f64>().is_err()) {
            matrix.columns = record.len();
            continue;
        }
        if matrix.columns == 0 {
            matrix.columns = record.len();
        }
        if record.len() != matrix.columns {
            bail!("line {line}: {} columns where the first line has {}", record.len(), matrix.columns);
        }
        for (column, cell) in record.iter().enumerate() {
            let number: f64 = cell.parse().ok().with_context(|| {
                format!("line {line}, column {}: {} is not a number", column + 1, quoted(cell))
            })?;
            if !number.is_finite() {
                bail!("line {line}, column {}: {cell} is not a finite number", column + 1);
            }
            matrix.values.push(number);
        }
        matrix.rows += 1;
    }
    Ok(matrix)
}

/// The number of the line that the record at or after this byte stands on, blank lines before it counted.
fn line_of(text: &[u8], byte: usize) -> usize {
    let blank = text[byte..].iter().take_while(|&&c| c == b'\n' || c == b'\r').count();
    text[..byte + blank].iter().filter(|&&c| c == b'\n').count() + 1
}

/// What a file says, on one line and short enough to be read.
fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("'{}'", short.escape_debug())
}

fn npy(path: &Path) -> Result<Matrix> {
    let bytes = std::fs::read(path)?;
    let file = npyz::NpyFile::new(&bytes[..])?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let [rows, columns] = shape[..] else {
        bail!("an array of two dimensions [samples, features] is needed, and this is {shape:?}");
    };
    let (order, dtype) = (file.order(), file.dtype().descr());
    // A header can promise more than there is.
    if rows.checked_mul(columns).is_none_or(|count| count > bytes.len()) {
        bail!("the header says {shape:?}, which is more than the file holds");
    }
    let values: Vec<f64> = match dtype.trim_matches(['\'', '<', '>', '|', '=']) {
        "f8" => file.into_vec::<f64>()?,
        "f4" => file.into_vec::<f32>()?.into_iter().map(f64::from).collect(),
        "i8" => file.into_vec::<i64>()?.into_iter().map(|x| x as f64).collect(),
        "i4" => file.into_vec::<i32>()?.into_iter().map(f64::from).collect(),
        "i2" => file.into_vec::<i16>()?.into_iter().map(f64::from).collect(),
        "i1" => file.into_vec::<i8>()?.into_iter().map(f64::from).collect(),
        "u8" => file.into_vec::<u64>()?.into_iter().map(|x| x as f64).collect(),
        "u4" => file.into_vec::<u32>()?.into_iter().map(f64::from).collect(),
        "u2" => file.into_vec::<u16>()?.into_iter().map(f64::from).collect(),
        "u1" => file.into_vec::<u8>()?.into_iter().map(f64::from).collect(),
        "b1" => file.into_vec::<bool>()?.into_iter().map(|x| f64::from(u8::from(x))).collect(),
        _ => bail!("numbers of type {dtype} are not read; save them as float32 or float64"),
    };
    let values = match order {
        npyz::Order::C => values,
        npyz::Order::Fortran => {
            (0..rows * columns).map(|i| values[i % columns * rows + i / columns]).collect()
        }
    };
    Ok(Matrix { rows, columns, values })
}

fn safetensors(path: &Path, wanted: Option<&str>) -> Result<Matrix> {
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
    let mut names: Vec<String> = tensors.keys().cloned().collect();
    names.sort();
    let name = match (wanted, &names[..]) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => bail!("there is no tensor in it"),
        _ => bail!("name the tensor with FILE#TENSOR: there are {}", names.join(", ")),
    };
    let tensor = tensors
        .remove(&name)
        .with_context(|| format!("there is no tensor '{name}': there are {}", names.join(", ")))?;
    if !matches!(
        tensor.dtype(),
        DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::I64 | DType::U32 | DType::U8
    ) {
        bail!("'{name}' is of type {}, which is not read; save it as float32", tensor.dtype().as_str());
    }
    let (rows, columns) = tensor
        .dims2()
        .ok()
        .with_context(|| format!("'{name}' is {:?}, and [samples, features] is needed", tensor.dims()))?;
    let values = numbers(&tensor)?;
    Ok(Matrix { rows, columns, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_the_digits() {
        let (pixels, labels) = digits().unwrap();
        assert_eq!((pixels.rows, pixels.columns, labels.len()), (1797, 64, 1797));
        assert_eq!(pixels.values.iter().sum::<f64>(), 561_718.0); // numpy: load_digits().data.sum()
        assert_eq!(labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn a_header_is_optional() {
        for text in ["a,b\n1, 2\n3,4\n", "1,2\n3,4"] {
            let matrix = csv(text.as_bytes()).unwrap();
            assert_eq!(matrix, Matrix { rows: 2, columns: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
        }
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        for text in ["1,2\n\n\n3,nope\n", "1,2\r\n\r\n\r\n3,nope\r\n"] {
            let error = csv(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, "line 4, column 2: 'nope' is not a number");
        }
        assert_eq!(quoted(&"é\n\x1b".repeat(40)).lines().count(), 1);
        assert!(quoted(&"x".repeat(5000)).len() < 50);
    }

    #[test]
    fn standardized_columns_have_mean_0_and_std_1() {
        let matrix = Matrix { rows: 3, columns: 2, values: vec![1.0, 7.0, 2.0, 7.0, 3.0, 7.0] }.standardize();
        let side = 1.5f64.sqrt();
        let expected = [-side, 0.0, 0.0, 0.0, side, 0.0];
        assert!(matrix.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{matrix:?}");
    }

    #[test]
    fn fortran_order_is_turned() {
        // numpy: np.save(f, np.asfortranarray([[1., 2., 3.], [4., 5., 6.]]))
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        let header = "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }";
        bytes.extend(format!("{header:<117}\n").bytes());
        bytes.extend([1f64, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|x| x.to_le_bytes()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(npy(&path).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
