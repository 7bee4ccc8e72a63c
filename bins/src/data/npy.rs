//! Data from NumPy's array files.

use std::path::Path;

use anyhow::{Result, bail};

use super::matrix::Matrix;

/// Returns the number of bytes before the numbers: a magic word, the version, the length of the header, the
/// header.
fn header_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, _, _, _, 1, _, a, b, ..] => 10 + usize::from(u16::from_le_bytes([*a, *b])),
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => 12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => 0,
    }
}

/// Reads an array of two dimensions.
pub(super) fn read(path: &Path) -> Result<Matrix> {
    let bytes = std::fs::read(path)?;
    // The reader makes room for as long a header as the file says, up to 4 GiB.
    if header_length(&bytes) > bytes.len() {
        bail!(
            "its header is cut short: it would end at byte {}, and there are {}",
            header_length(&bytes),
            bytes.len()
        );
    }
    let file = npyz::NpyFile::new(&bytes[..])?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let [rows, columns] = shape[..] else {
        bail!("an array of two dimensions [samples, features] is needed, and this is {shape:?}");
    };
    let (order, dtype) = (file.order(), file.dtype().descr());
    let kind = dtype.trim_matches(['\'', '<', '>', '|', '=']);
    // The header of a damaged file can promise more than the file holds.
    let size: usize = kind.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
    let header = header_length(&bytes);
    let promised = rows.checked_mul(columns).and_then(|count| count.checked_mul(size)?.checked_add(header));
    if promised.is_none_or(|promised| promised > bytes.len()) {
        bail!("the header says {shape:?}, which is more than the file holds: it is cut short");
    }
    let values: Vec<f64> = match kind {
        "f8" => file.into_vec::<f64>()?,
        "f2" => file.into_vec::<half::f16>()?.into_iter().map(f64::from).collect(),
        // NumPy has no bf16. What `ml_dtypes` (and so JAX) saves is two bytes of no type, in the machine's order.
        "V2" => {
            let numbers = bytes[header..][..2 * rows * columns].as_chunks().0;
            numbers.iter().map(|&x| f64::from(half::bf16::from_le_bytes(x))).collect()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_beyond_the_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert_eq!(error, "its header is cut short: it would end at byte 4294967307, and there are 14");
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
        assert_eq!(read(&path).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
