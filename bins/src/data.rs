//! Data from files, and the digits that ship with Wick.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};

use crate::args::Target;
use crate::limits::largest;

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
    /// tensor in it, or `FILE.safetensors#TENSOR`). Of many rows the first `most`, where so many are asked for: what a `.csv` has
    /// behind them is not looked at.
    ///
    /// # Errors
    /// Names the file, and the line and column where a number is missing, malformed, infinite or NaN.
    pub fn load(source: &str, most: Option<usize>) -> Result<Self> {
        let most = most.unwrap_or(usize::MAX);
        if source == "digits" {
            return Ok(digits()?.0.take(most));
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
                csv(&text, most)
            }
            Some("npy") => npy(path),
            Some("safetensors") => safetensors(path, tensor),
            _ => bail!(
                "cannot tell what '{source}' is: data is 'digits', or a .csv, .npy or .safetensors file"
            ),
        };
        let matrix = matrix.with_context(|| format!("cannot read '{name}'"))?.take(most);
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
    /// Names the row, the column and the number that the type cannot hold. If the device refuses.
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
    let all = csv(DIGITS.as_bytes(), usize::MAX)?;
    let pixels = all.columns - 1;
    let values = all.values.chunks(all.columns).flat_map(|row| row[..pixels].to_vec()).collect();
    let labels = all.values.chunks(all.columns).map(|row| row[pixels] as usize).collect();
    Ok((Matrix { rows: all.rows, columns: pixels, values }, labels))
}

/// A first line without a single number is a header. No more than `most` rows are read.
fn csv(text: &[u8], most: usize) -> Result<Matrix> {
    let mut matrix = Matrix { rows: 0, columns: 0, values: Vec::new() };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
    let mut record = csv::StringRecord::new();
    let mut is_first = true;
    while matrix.rows < most && reader.read_record(&mut record)? {
        let is_header =
            std::mem::take(&mut is_first) && record.iter().all(|cell| cell.parse::<f64>().is_err());
        if matrix.columns == 0 {
            matrix.columns = record.len();
        }
        if is_header {
            continue;
        }
        // Lines are counted where one is to be named: for every record it would take as long as all that is before it.
        let line = || record.position().map_or(0, |position| line_of(text, position.byte() as usize));
        if record.len() != matrix.columns {
            bail!("line {}: {} columns where the first line has {}", line(), record.len(), matrix.columns);
        }
        for (column, cell) in record.iter().enumerate() {
            let number: f64 = cell.parse().ok().with_context(|| {
                format!("line {}, column {}: {} is not a number", line(), column + 1, quoted(cell))
            })?;
            if !number.is_finite() {
                bail!("line {}, column {}: {cell} is not a finite number", line(), column + 1);
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

/// The bytes of an array file before its numbers: a magic word, the version, the length of the header, the header.
fn header_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, _, _, _, 1, _, a, b, ..] => 10 + usize::from(u16::from_le_bytes([*a, *b])),
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => 12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => 0,
    }
}

fn npy(path: &Path) -> Result<Matrix> {
    let bytes = std::fs::read(path)?;
    let file = npyz::NpyFile::new(&bytes[..])?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let [rows, columns] = shape[..] else {
        bail!("an array of two dimensions [samples, features] is needed, and this is {shape:?}");
    };
    let (order, dtype) = (file.order(), file.dtype().descr());
    let kind = dtype.trim_matches(['\'', '<', '>', '|', '=']);
    // A header can promise more than there is.
    let size: usize = kind.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
    let header = header_length(&bytes);
    let promised = rows.checked_mul(columns).and_then(|count| count.checked_mul(size)?.checked_add(header));
    if promised.is_none_or(|promised| promised > bytes.len()) {
        bail!("the header says {shape:?}, which is more than the file holds: it is cut short");
    }
    let values: Vec<f64> = match kind {
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
            let matrix = csv(text.as_bytes(), 9).unwrap();
            assert_eq!(matrix, Matrix { rows: 2, columns: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
        }
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        for text in ["1,2\n\n\n3,nope\n", "1,2\r\n\r\n\r\n3,nope\r\n"] {
            let error = csv(text.as_bytes(), 9).unwrap_err().to_string();
            assert_eq!(error, "line 4, column 2: 'nope' is not a number");
        }
        assert_eq!(quoted(&"é\n\x1b".repeat(40)).lines().count(), 1);
        assert!(quoted(&"x".repeat(5000)).len() < 50);
    }

    /// 100,000 lines in the time of some passes over them, and not of a pass for each; and no line beyond those asked for.
    #[test]
    fn long_files_are_read_once() {
        let text = "1,2,3,4,5,6,7,8,9,10\n".repeat(100_000);
        let begun = std::time::Instant::now();
        assert_eq!(csv(text.as_bytes(), usize::MAX).unwrap().rows, 100_000);
        // A pass over 2 MB for each line would take minutes.
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
        let matrix = csv(b"a,b\n1,2\n3,4\nfive,six\n", 2).unwrap();
        assert_eq!((matrix.rows, matrix.values), (2, vec![1.0, 2.0, 3.0, 4.0]));
    }

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
