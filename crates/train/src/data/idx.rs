//! IDX files, the format of MNIST and its kin, plain or compressed by gzip.

use std::fs::{File, Metadata};
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use candle_core::{Device, Tensor};
use flate2::read::MultiGzDecoder;

use crate::error::Error;

/// The bytes that are read before the memory for more is taken.
const FIRST: usize = 1 << 16;

/// The most bytes that deflate stores in one.
const DEFLATED: u64 = 1032;

/// A type of an IDX file: its code, its name and its bytes.
type Kind = (u8, &'static str, usize);

/// The types by the third byte of the file.
const KINDS: [Kind; 6] = [
    (0x08, "u8", 1),
    (0x09, "i8", 1),
    (0x0B, "i16", 2),
    (0x0C, "i32", 4),
    (0x0D, "f32", 4),
    (0x0E, "f64", 8),
];

/// Reads an IDX file, by LeCun, Cortes and Burges' description of MNIST: two bytes of 0, a byte for the type,
/// a byte for the number of dimensions, each dimension as 32 bits, and the numbers row by row, the high byte
/// first. A file that begins like one of gzip is decompressed.
///
/// The tensor has the file's shape and type; `i8`, which candle lacks, becomes `i16`. The memory that is taken is
/// that of the numbers, unless the file cannot hold them: then it grows with the bytes that the file really has.
///
/// # Errors
/// Names the file and what is wrong: it cannot be opened or decompressed, it is no IDX file, it has no
/// numbers, or fewer or more than its header says.
///
/// ```
/// use wick_train::data::read_idx;
///
/// let path = std::env::temp_dir().join(format!("two-labels-{}.idx", std::process::id()));
/// std::fs::write(&path, [0, 0, 8, 1, 0, 0, 0, 2, 7, 9])?;
/// assert_eq!(read_idx(&path)?.to_vec1::<u8>()?, [7, 9]);
/// std::fs::write(&path, [0, 0, 8, 1, 0, 0, 0, 3, 7, 9])?;
/// let error = read_idx(&path).unwrap_err().to_string();
/// assert!(error.ends_with("it ends after 2 of the 3 bytes of its numbers (3, u8)"), "{error}");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_idx(path: impl AsRef<Path>) -> Result<Tensor, Error> {
    let path = path.as_ref();
    let read = || -> Result<Tensor, String> {
        let file = File::open(path).map_err(|error| line(&error.to_string()))?;
        // Of a pipe, nobody knows how long it is.
        let length = file.metadata().ok().filter(Metadata::is_file).map_or(0, |about| about.len());
        let mut file = BufReader::new(file);
        let mut start = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut start).map_err(|error| line(&error.to_string()))?;
        let whole = start.as_slice().chain(file);
        if start == [0x1F, 0x8B] {
            parse(MultiGzDecoder::new(whole), true, length.saturating_mul(DEFLATED))
        } else {
            parse(whole, false, length)
        }
    };
    read().map_err(|reason| Error::File { path: path.to_owned(), reason })
}

/// One line of a text.
fn line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}

fn failed(error: &std::io::Error, is_compressed: bool) -> String {
    match error.kind() {
        _ if !is_compressed => line(&error.to_string()),
        ErrorKind::UnexpectedEof => "its gzip stream ends early: the file is cut off".to_owned(),
        _ => format!("its gzip stream is damaged: {}", line(&error.to_string())),
    }
}

/// Reads a file that has at most `length` bytes after it was decompressed, 0 if that is not known.
fn parse(mut bytes: impl Read, is_compressed: bool, length: u64) -> Result<Tensor, String> {
    let mut part = |most: usize| -> Result<Vec<u8>, String> {
        // The memory for bytes that a file can have is taken at once. That of a vector that grows to a limit
        // doubles, and does not go beyond the limit.
        let first = if most as u64 <= length { most } else { most.min(FIRST) };
        let mut part = Vec::new();
        while part.len() < most {
            let room = (2 * part.len()).clamp(first.max(1), usize::MAX / 2).min(most - part.len());
            part.try_reserve_exact(room).map_err(|_| format!("{most} bytes are more than the memory has"))?;
            let read = bytes.by_ref().take(room as u64).read_to_end(&mut part);
            if read.map_err(|error| failed(&error, is_compressed))? < room {
                break;
            }
        }
        Ok(part)
    };
    let magic = part(4)?;
    let (code, rank) = match magic[..] {
        [] => return Err("it is empty".to_owned()),
        [0, 0, code, rank] => (code, usize::from(rank)),
        _ => return Err("it is no IDX file, which begins with two bytes of 0, a type and a rank".to_owned()),
    };
    let Some((_, kind, size)) = KINDS.into_iter().find(|(known, _, _)| *known == code) else {
        return Err(format!("its type {code:#04x} is none of IDX's (0x08, 0x09, 0x0b to 0x0e)"));
    };
    if rank == 0 {
        return Err("it has no dimensions".to_owned());
    }
    let header = part(4 * rank)?;
    if header.len() < 4 * rank {
        return Err(format!("it ends before the last of its {rank} dimensions"));
    }
    let dims: Vec<usize> =
        header.chunks_exact(4).map(|dim| u32::from_be_bytes(array(dim)) as usize).collect();
    let shape = dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let numbers = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
    let length =
        numbers.and_then(|numbers| numbers.checked_mul(size)).filter(|bytes| *bytes <= isize::MAX as usize);
    let Some(length) = length else {
        return Err(format!("its dimensions {shape} are more than any memory holds"));
    };
    if length == 0 {
        return Err(format!("it has no numbers: its dimensions are {shape}"));
    }
    let data = part(length)?;
    if data.len() < length {
        let read = data.len();
        return Err(format!("it ends after {read} of the {length} bytes of its numbers ({shape}, {kind})"));
    }
    if !part(1)?.is_empty() {
        return Err(format!("it goes on after the {length} bytes of its numbers ({shape}, {kind})"));
    }
    tensor(data, code, dims).map_err(|error| line(&error.to_string()))
}

fn tensor(data: Vec<u8>, code: u8, dims: Vec<usize>) -> candle_core::Result<Tensor> {
    let cpu = &Device::Cpu;
    match code {
        0x08 => Tensor::from_vec(data, dims, cpu),
        0x09 => Tensor::from_vec(data.into_iter().map(|x| i16::from(x as i8)).collect(), dims, cpu),
        0x0B => {
            Tensor::from_vec(data.chunks_exact(2).map(|x| i16::from_be_bytes(array(x))).collect(), dims, cpu)
        }
        0x0C => {
            Tensor::from_vec(data.chunks_exact(4).map(|x| i32::from_be_bytes(array(x))).collect(), dims, cpu)
        }
        0x0D => {
            Tensor::from_vec(data.chunks_exact(4).map(|x| f32::from_be_bytes(array(x))).collect(), dims, cpu)
        }
        _ => {
            Tensor::from_vec(data.chunks_exact(8).map(|x| f64::from_be_bytes(array(x))).collect(), dims, cpu)
        }
    }
}

/// The bytes of a chunk of `N`.
fn array<const N: usize>(chunk: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
    array
}
