//! Data from NumPy's array files.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Result, bail};

use super::foreign;
use super::matrix::{Matrix, of_whole};
use crate::memory;

/// The longest header that is read.
const LONGEST: usize = 1024;

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
    let end = header_length(bytes);
    let header = match bytes.get(..end) {
        Some(header) => header,
        None if bytes.len() > LONGEST => bytes,
        None => bail!("its header is cut short: it would end at byte {end}, and there are {}", bytes.len()),
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

/// Reads the first rows, `most` of them, of an array of two dimensions.
pub(super) fn read(path: &Path, most: usize) -> Result<Matrix> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut beginning = Vec::new();
    file.by_ref().take(LONGEST as u64 + 1).read_to_end(&mut beginning)?;
    foreign::check(&beginning)?;
    check_header(&beginning)?;
    let about = file.get_ref().metadata()?;
    let length = if about.is_file() { about.len() } else { u64::MAX };
    let header = header_length(&beginning);
    let file = npyz::NpyFile::new(beginning.as_slice().chain(file))?;
    let shape: Vec<usize> = file.shape().iter().map(|&n| n as usize).collect();
    let [rows, columns] = shape[..] else {
        bail!("an array of two dimensions [samples, features] is needed, and this is {shape:?}");
    };
    let (order, dtype) = (file.order(), file.dtype().descr());
    let kind = dtype.trim_matches(['\'', '<', '>', '|', '=']);
    // The header of a damaged file can promise more than the file holds.
    let size: usize = kind.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
    let promised = rows.checked_mul(columns).and_then(|count| count.checked_mul(size)?.checked_add(header));
    if promised.is_none_or(|promised| promised as u64 > length) {
        bail!("the header says {shape:?}, which is more than the file holds: it is cut short");
    }
    // The columns of an array in Fortran's order are read as a whole, and then turned.
    let is_turned = order == npyz::Order::Fortran;
    let wanted = if is_turned { rows } else { rows.min(most) };
    let numbers = wanted * columns;
    let copies = if is_turned { 2.0 } else { 1.0 };
    memory::check(copies * numbers as f64, 8, "take fewer rows with --samples, or a smaller array")?;
    let mut matrix = Matrix { rows: wanted, columns, ..Matrix::default() };
    matrix.values.reserve_exact(numbers);
    let exact = |x: f64| (x, 0.0);
    match kind {
        "f8" => fill(file, &mut matrix, exact)?,
        "f2" => fill(file, &mut matrix, |x: half::f16| exact(x.into()))?,
        // NumPy has no bf16. What `ml_dtypes` (and so JAX) saves is two bytes of no type, in the machine's order.
        "V2" => {
            let mut file = file.into_inner();
            let mut bytes = [0; 2];
            for _ in 0..numbers {
                file.read_exact(&mut bytes)?;
                matrix.push(half::bf16::from_le_bytes(bytes).into(), 0.0);
            }
        }
        "f4" => fill(file, &mut matrix, |x: f32| exact(x.into()))?,
        "i8" => fill(file, &mut matrix, |x: i64| of_whole(x.into()))?,
        "i4" => fill(file, &mut matrix, |x: i32| exact(x.into()))?,
        "i2" => fill(file, &mut matrix, |x: i16| exact(x.into()))?,
        "i1" => fill(file, &mut matrix, |x: i8| exact(x.into()))?,
        "u8" => fill(file, &mut matrix, |x: u64| of_whole(x.into()))?,
        "u4" => fill(file, &mut matrix, |x: u32| exact(x.into()))?,
        "u2" => fill(file, &mut matrix, |x: u16| exact(x.into()))?,
        "u1" => fill(file, &mut matrix, |x: u8| exact(x.into()))?,
        "b1" => fill(file, &mut matrix, |x: bool| exact(u8::from(x).into()))?,
        _ => bail!("numbers of type {dtype} are not read; save them as float32 or float64"),
    }
    if is_turned {
        let turned = |xs: &[f64]| (0..xs.len()).map(|i| xs[i % columns * rows + i / columns]).collect();
        (matrix.values, matrix.lacks) = (turned(&matrix.values), turned(&matrix.lacks));
    }
    Ok(matrix)
}

/// Reads the numbers of a table, row by row.
fn fill<T: npyz::Deserialize>(
    file: npyz::NpyFile<impl Read>,
    matrix: &mut Matrix,
    number: impl Fn(T) -> (f64, f64),
) -> Result<()> {
    for x in file.data::<T>()?.take(matrix.rows * matrix.columns) {
        let (x, lack) = number(x?);
        matrix.push(x, lack);
    }
    Ok(())
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
            read(&path, usize::MAX).unwrap_err().to_string()
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

    /// The first rows of an array are all that is read, and whole numbers keep what `f64` rounds.
    #[test]
    fn rows_and_whole_numbers_are_read_as_they_are() {
        let file = |dtype: &str, data: &[u8]| {
            let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': (3, 1), }}");
            [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), data].concat()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let clock = |tick: i64| (1_700_000_000_000_000_000 + tick).to_le_bytes();
        std::fs::write(&path, file("<i8", &[clock(0), clock(1), clock(2)].concat())).unwrap();
        let matrix = read(&path, usize::MAX).unwrap();
        assert_eq!((matrix.rows, &matrix.lacks[..]), (3, &[0.0, 1.0, 2.0][..]));
        let matrix = read(&path, 2).unwrap();
        assert_eq!((matrix.rows, matrix.values.len(), matrix.lacks.len()), (2, 2, 2));
        std::fs::write(&path, file("<V2", &[0x80, 0x3f, 0, 0, 0x49, 0x40])).unwrap();
        assert_eq!(read(&path, 1).unwrap().values, [1.0]);
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
        assert_eq!(read(&path, usize::MAX).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
