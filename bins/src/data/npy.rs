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

/// Refuses a header that the reader cannot take: it makes room for as many bytes as the header says to have,
/// up to 4 GiB, takes hundreds of bytes for each of them, its time doubles with every bracket inside another,
/// and it panics where the product of the dimensions overflows.
fn check_header(bytes: &[u8]) -> Result<()> {
    const MOST_BRACKETS: usize = 8;
    const LONGEST: usize = 1024;
    let end = header_length(bytes);
    let Some(header) = bytes.get(..end) else {
        bail!("its header is cut short: it would end at byte {end}, and there are {}", bytes.len());
    };
    // Numbers of one type have two brackets, and less than 128 bytes with the padding: `{'descr': '<f8',
    // 'fortran_order': False, 'shape': (2, 3), }`. The numbers of Python may be hexadecimal or have
    // underscores, and its texts escapes, which would hide a number.
    let brackets = header.iter().filter(|byte| b"([{".contains(byte)).count();
    let is_odd = |pair: &[u8]| pair[0] == b'\\' || pair[0].is_ascii_digit() && b"xXoObB_".contains(&pair[1]);
    let text = header.get(10..).unwrap_or_default();
    if end > LONGEST || brackets > MOST_BRACKETS || text.windows(2).any(is_odd) {
        bail!("its header is not that of an array of numbers of one type; save it as float32 or float64");
    }
    let numbers = text.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let product = numbers.into_iter().try_fold(1u64, |product, digits| {
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        product.checked_mul(number.max(1))
    });
    // A type of text has four bytes a character.
    if product.and_then(|product| product.checked_mul(4)).is_none() {
        bail!("its header promises more numbers than any file holds: it is damaged");
    }
    Ok(())
}

/// Reads an array of two dimensions.
pub(super) fn read(path: &Path) -> Result<Matrix> {
    let bytes = std::fs::read(path)?;
    check_header(&bytes)?;
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
    fn a_header_that_takes_much_memory_or_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).unwrap_err().to_string()
        };
        let said = error(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}");
        assert_eq!(said, "its header is cut short: it would end at byte 4294967307, and there are 14");
        let long = [&b"\x93NUMPY\x01\x00\xe8\x23"[..], &[b' '; 9192]].concat();
        assert!(error(&long).starts_with("its header is not that of an array of numbers of one type"));
        for shape in ["(4294967296, 8589934592)", "(0x100000000, 0x200000000)", "(18446744073709551616, 1)"] {
            let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
            let said =
                error(&[&b"\x93NUMPY\x01\x00"[..], &[header.len() as u8, 0], header.as_bytes()].concat());
            assert!(said.starts_with("its header "), "{said}");
        }
        // Without the check, this takes longer than the age of the universe.
        let nested = [&b"\x93NUMPY\x01\x00\xe8\x03"[..], &[b'['; 1000]].concat();
        assert!(error(&nested).starts_with("its header is not that of an array of numbers of one type"));
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
