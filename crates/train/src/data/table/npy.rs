//! Data from NumPy's array files.

use std::fs::File;
use std::io::{BufReader, Chain, Cursor, ErrorKind, Read};
use std::path::Path;

use candle_core::{Device, Tensor, WithDType};
use half::{bf16, f16};

use super::foreign;
use super::matrix::{Matrix, of_whole};
use super::options::TableOptions;
use super::reason::Reason;

/// The longest header that is read.
const LONGEST: usize = 1024;

/// What a file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// What is said of a header of something else.
const ODD: &str = "its header is not that of an array of numbers of one type; save it as float32 or float64";

/// What is said of numbers for which there is no memory.
const TOO_LARGE: &str = "its numbers take more memory than there is";

/// Returns the number of bytes before the numbers: a magic word, the version, the length of the header, the
/// header.
fn header_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, _, _, _, 1, _, a, b, ..] => 10 + usize::from(u16::from_le_bytes([*a, *b])),
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => 12 + u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        _ => 0,
    }
}

/// Refuses a header that is no array's of numbers, and one that promises more numbers than memory has addresses
/// for.
fn check_header(bytes: &[u8]) -> Result<(), Reason> {
    const MOST_BRACKETS: usize = 8;
    let end = header_length(bytes);
    let header = match bytes.get(..end) {
        Some(header) => header,
        None if bytes.len() > LONGEST => bytes,
        None => {
            let there = bytes.len();
            return Err(format!(
                "its header is cut short: it would end at byte {end}, and there are {there}"
            )
            .into());
        }
    };
    // Numbers of one type have two brackets, and less than 128 bytes with the padding: `{'descr': '<f8',
    // 'fortran_order': False, 'shape': (2, 3), }`. The numbers of Python may be hexadecimal or have
    // underscores, and its texts escapes, which would hide a number.
    let brackets = header.iter().filter(|byte| b"([{".contains(byte)).count();
    let is_odd = |pair: &[u8]| pair[0] == b'\\' || pair[0].is_ascii_digit() && b"xXoObB_".contains(&pair[1]);
    let text = header.get(10..).unwrap_or_default();
    if end > LONGEST || brackets > MOST_BRACKETS || text.windows(2).any(is_odd) {
        return Err(ODD.into());
    }
    let numbers = text.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let product = numbers.into_iter().try_fold(1u64, |product, digits| {
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        product.checked_mul(number.max(1))
    });
    // A type of text has four bytes a character.
    if product.and_then(|product| product.checked_mul(4)).is_none() {
        return Err("its header promises more numbers than any file holds: it is damaged".into());
    }
    Ok(())
}

/// What the header of an array says.
#[derive(Debug, Default, PartialEq)]
struct About {
    /// The type as NumPy writes it, with the order of bytes: `<f8`.
    descr: String,
    /// Whether the first index is the fastest.
    fortran: bool,
    shape: Vec<usize>,
}

impl About {
    /// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }`.
    fn read(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?.trim();
        let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let after = after.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" => {
                    let (text, after) = quoted(after)?;
                    descr = Some(text.to_owned());
                    after
                }
                "fortran_order" => {
                    let (is, after) = match after.strip_prefix("True") {
                        Some(after) => (true, after),
                        None => (false, after.strip_prefix("False")?),
                    };
                    fortran = Some(is);
                    after
                }
                "shape" => {
                    let (sizes, after) = after.strip_prefix('(')?.split_once(')')?;
                    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
                    shape = Some(sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?);
                    after
                }
                _ => return None,
            };
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').or(rest.is_empty().then_some(rest))?.trim_start();
        }
        Some(Self { descr: descr?, fortran: fortran?, shape: shape? })
    }

    /// The type without the order of its bytes.
    fn kind(&self) -> &str {
        self.descr.trim_matches(['<', '>', '|', '='])
    }
}

/// The text between the quotes with which a text begins, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| "'\"".contains(*c))?;
    text[1..].split_once(quote)
}

/// An array whose numbers are still to be read.
struct Array {
    about: About,
    /// How many samples are read.
    samples: usize,
    numbers: Chain<Cursor<Vec<u8>>, BufReader<File>>,
}

impl Array {
    fn open(path: &Path, most: usize) -> Result<Self, Reason> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut beginning = Vec::new();
        file.by_ref().take(LONGEST as u64 + 1).read_to_end(&mut beginning)?;
        foreign::check(&beginning)?;
        if !beginning.starts_with(MAGIC) {
            return Err("it is no .npy file, which begins with \\x93NUMPY".into());
        }
        check_header(&beginning)?;
        let metadata = file.get_ref().metadata()?;
        let length = if metadata.is_file() { metadata.len() } else { u64::MAX };
        let end = header_length(&beginning);
        let start = if beginning.get(6) == Some(&1) { 10 } else { 12 };
        let about = beginning.get(start..end).and_then(About::read).ok_or(ODD)?;
        let &[samples, ref rest @ ..] = &about.shape[..] else {
            return Err("an array of samples is needed, and this is a single number".into());
        };
        // The header of a damaged file can promise more than the file holds.
        let size = about.kind().trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1usize);
        let promised = rest.iter().try_fold(samples, |product, size| product.checked_mul(*size));
        let promised = promised.and_then(|count| count.checked_mul(size)?.checked_add(end));
        if promised.is_none_or(|promised| promised as u64 > length) {
            let shape = &about.shape;
            return Err(format!(
                "the header says {shape:?}, which is more than the file holds: it is cut short"
            )
            .into());
        }
        let mut numbers = Cursor::new(beginning);
        numbers.set_position(end as u64);
        // The columns of an array in Fortran's order are read as a whole, and then turned.
        let samples = if about.fortran { samples } else { samples.min(most) };
        Ok(Self { samples, numbers: numbers.chain(file), about })
    }

    /// The numbers that are read.
    fn count(&self) -> usize {
        self.about.shape.iter().skip(1).product::<usize>() * self.samples
    }

    /// Calls a function with the bytes of each number, the low one first.
    fn each<const N: usize>(&mut self, mut number: impl FnMut([u8; N])) -> Result<(), Reason> {
        let is_big = self.about.descr.starts_with('>');
        let count = self.count();
        let mut left = count;
        let mut buffer = vec![0; N * left.min(1 << 13)];
        while left > 0 {
            let part = &mut buffer[..N * left.min(1 << 13)];
            self.numbers.read_exact(part).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => {
                    Reason::Text(format!("it ends before the last of its {count} numbers"))
                }
                _ => error.into(),
            })?;
            for bytes in part.as_chunks::<N>().0 {
                let mut bytes = *bytes;
                if is_big {
                    bytes.reverse();
                }
                number(bytes);
            }
            left -= part.len() / N;
        }
        Ok(())
    }

    fn vector<T, const N: usize>(&mut self, number: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Reason> {
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(self.count()).map_err(|_| TOO_LARGE)?;
        self.each(|bytes| numbers.push(number(bytes)))?;
        Ok(numbers)
    }

    fn tensor_of<T: WithDType, const N: usize>(
        &mut self,
        number: impl Fn([u8; N]) -> T,
    ) -> Result<Tensor, Reason> {
        let numbers = self.vector(number)?;
        self.shaped(numbers)
    }

    fn shaped<T: WithDType>(&self, numbers: Vec<T>) -> Result<Tensor, Reason> {
        let mut shape = self.about.shape.clone();
        shape[0] = self.samples;
        if !self.about.fortran {
            return Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?);
        }
        let order: Vec<usize> = (0..shape.len()).rev().collect();
        shape.reverse();
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?.permute(order)?.contiguous()?)
    }

    fn foreign_type(&self) -> Reason {
        let descr = wick_theory::shown(&self.about.descr);
        format!("numbers of type '{descr}' are not read; save them as float32 or float64").into()
    }
}

/// Reads the first rows of an array of two dimensions, as many as the options say.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<Matrix, Reason> {
    let mut array = Array::open(path, options.most())?;
    let &[_, columns] = &array.about.shape[..] else {
        let shape = &array.about.shape;
        return Err(format!(
            "an array of two dimensions [samples, features] is needed, and this is {shape:?}"
        )
        .into());
    };
    let rows = array.samples;
    let copies = if array.about.fortran { 2.0 } else { 1.0 };
    let remedy = "take fewer rows with --samples, or a smaller array";
    Reason::check_memory(8.0 * copies * array.count() as f64, options.memory, remedy)?;
    let mut matrix = Matrix { rows, columns, ..Matrix::default() };
    matrix.values.try_reserve_exact(array.count()).map_err(|_| TOO_LARGE)?;
    let kind = array.about.kind().to_owned();
    let exact = |matrix: &mut Matrix, x: f64| matrix.push(x, 0.0);
    let whole = |matrix: &mut Matrix, x: i128| {
        let (value, lack) = of_whole(x);
        matrix.push(value, lack);
    };
    match &kind[..] {
        "f8" => array.each(|x| exact(&mut matrix, f64::from_le_bytes(x)))?,
        "f4" => array.each(|x| exact(&mut matrix, f32::from_le_bytes(x).into()))?,
        "f2" => array.each(|x| exact(&mut matrix, f16::from_le_bytes(x).into()))?,
        // NumPy has no bf16. What `ml_dtypes` (and so JAX) saves is two bytes of no type, in the machine's order.
        "V2" => array.each(|x| exact(&mut matrix, bf16::from_le_bytes(x).into()))?,
        "i8" => array.each(|x| whole(&mut matrix, i64::from_le_bytes(x).into()))?,
        "i4" => array.each(|x| exact(&mut matrix, i32::from_le_bytes(x).into()))?,
        "i2" => array.each(|x| exact(&mut matrix, i16::from_le_bytes(x).into()))?,
        "i1" => array.each(|x| exact(&mut matrix, i8::from_le_bytes(x).into()))?,
        "u8" => array.each(|x| whole(&mut matrix, u64::from_le_bytes(x).into()))?,
        "u4" => array.each(|x| exact(&mut matrix, u32::from_le_bytes(x).into()))?,
        "u2" => array.each(|x| exact(&mut matrix, u16::from_le_bytes(x).into()))?,
        "u1" => array.each(|[x]| exact(&mut matrix, x.into()))?,
        "b1" => array.each(|[x]| exact(&mut matrix, f64::from(u8::from(x != 0))))?,
        _ => return Err(array.foreign_type()),
    }
    if array.about.fortran {
        let turned = |xs: &[f64]| (0..xs.len()).map(|i| xs[i % columns * rows + i / columns]).collect();
        matrix.lacks.resize(if matrix.lacks.is_empty() { 0 } else { matrix.values.len() }, 0.0);
        (matrix.values, matrix.lacks) = (turned(&matrix.values), turned(&matrix.lacks));
    }
    Ok(matrix)
}

/// Reads an array of any shape in the type that it has; `i1` becomes `i16`, `u2` `u32`, and `u8` (of 64 bits)
/// `i64`, or `f64` if a number is beyond it.
pub(super) fn tensor(path: &Path, options: &TableOptions) -> Result<Tensor, Reason> {
    let mut array = Array::open(path, options.most())?;
    let kind = array.about.kind().to_owned();
    let size = match &kind[..] {
        "u1" | "b1" => 1,
        "f2" | "V2" | "i1" | "i2" => 2,
        "f4" | "i4" | "u2" | "u4" => 4,
        "f8" | "i8" | "u8" => 8,
        _ => return Err(array.foreign_type()),
    };
    let copies = if array.about.fortran { 2 } else { 1 };
    let needed = (size * copies) as f64 * array.count() as f64;
    Reason::check_memory(needed, options.memory, "take a smaller array")?;
    let tensor = match &kind[..] {
        "f8" => array.tensor_of(f64::from_le_bytes),
        "f4" => array.tensor_of(f32::from_le_bytes),
        "f2" => array.tensor_of(f16::from_le_bytes),
        "V2" => array.tensor_of(bf16::from_le_bytes),
        "i8" => array.tensor_of(i64::from_le_bytes),
        "i4" => array.tensor_of(i32::from_le_bytes),
        "i2" => array.tensor_of(i16::from_le_bytes),
        "i1" => array.tensor_of(|x| i16::from(i8::from_le_bytes(x))),
        "u8" => {
            let numbers = array.vector(u64::from_le_bytes)?;
            match numbers.iter().map(|x| i64::try_from(*x).ok()).collect::<Option<Vec<i64>>>() {
                Some(whole) => array.shaped(whole),
                None => array.shaped(numbers.into_iter().map(|x| x as f64).collect()),
            }
        }
        "u4" => array.tensor_of(u32::from_le_bytes),
        "u2" => array.tensor_of(|x| u32::from(u16::from_le_bytes(x))),
        "u1" => array.tensor_of(|[x]: [u8; 1]| x),
        _ => array.tensor_of(|[x]: [u8; 1]| u8::from(x != 0)),
    }?;
    // An array in Fortran's order was read as a whole.
    let rows = tensor.dim(0)?.min(options.most());
    Ok(tensor.narrow(0, 0, rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_rows(path: &Path, rows: usize) -> Result<Matrix, Reason> {
        read(path, &TableOptions { rows: Some(rows), ..TableOptions::default() })
    }

    #[test]
    fn a_header_that_takes_much_memory_or_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_rows(&path, usize::MAX).unwrap_err().to_string()
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
        let matrix = read_rows(&path, usize::MAX).unwrap();
        assert_eq!((matrix.rows, &matrix.lacks[..]), (3, &[0.0, 1.0, 2.0][..]));
        let matrix = read_rows(&path, 2).unwrap();
        assert_eq!((matrix.rows, matrix.values.len(), matrix.lacks.len()), (2, 2, 2));
        std::fs::write(&path, file("<V2", &[0x80, 0x3f, 0, 0, 0x49, 0x40])).unwrap();
        assert_eq!(read_rows(&path, 1).unwrap().values, [1.0]);
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
        assert_eq!(read_rows(&path, usize::MAX).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
