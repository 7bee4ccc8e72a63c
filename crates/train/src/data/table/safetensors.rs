//! Data from safetensors files.

use std::path::Path;

use candle_core::Tensor;
use wick_init::{Error, StoredTensor, TensorFile};
use wick_theory::{did_you_mean, listed, on_one_line, shown};

use super::matrix::{Matrix, of_whole};
use super::options::TableOptions;
use super::reason::Reason;

/// Splits `FILE.safetensors#TENSOR` at the first `#` behind the name of a file. The name of the tensor, and
/// those of the folders, can have a `#`, too.
pub(super) fn split(source: &str) -> (&Path, Option<&str>) {
    let is_safetensors = |path: &str| {
        Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
    };
    let splits = || {
        let parts = source.match_indices('#').map(|(at, _)| (&source[..at], &source[at + 1..]));
        parts.filter(|(path, _)| is_safetensors(path))
    };
    let existing = || splits().find(|(path, _)| Path::new(path).exists());
    match Path::new(source).exists() {
        true => None,
        false => existing().or_else(|| splits().next()),
    }
    .map_or((Path::new(source), None), |(path, tensor)| (Path::new(path), Some(tensor)))
}

/// Opens a file and finds the tensor of this name, or the only one.
fn open(path: &Path, wanted: Option<&str>) -> Result<(TensorFile, StoredTensor), Reason> {
    let file = TensorFile::open(path).map_err(reason)?;
    let names = || {
        let mut names: Vec<&str> = file.tensors().iter().map(StoredTensor::name).collect();
        names.sort_unstable();
        listed(names.into_iter())
    };
    let tensor = match (wanted, file.tensors()) {
        (_, []) => return Err("there is no tensor in it".into()),
        (None, [only]) => only.clone(),
        (None, _) => return Err(format!("name the tensor with FILE#TENSOR: there are {}", names()).into()),
        (Some(name), _) => match file.get(name) {
            Some(tensor) => tensor.clone(),
            None => {
                let known = file.tensors().iter().map(StoredTensor::name);
                let meant = on_one_line(&did_you_mean(name, known));
                let (name, names) = (shown(name), names());
                return Err(format!("there is no tensor '{name}'{meant}: there are {names}").into());
            }
        },
    };
    Ok((file, tensor))
}

/// What is wrong; the caller adds the name of the file.
fn reason(error: Error) -> Reason {
    match error {
        Error::File { reason, .. } => Reason::Text(reason),
        Error::StoredType { name, dtype, .. } => {
            let (name, dtype) = (shown(&name), shown(&dtype));
            format!("'{name}' is of type {dtype}, which is not read; save it as float32").into()
        }
        error => error.to_string().into(),
    }
}

/// Reads the tensor of this name, or the only one; of the others, only what the header says.
pub(super) fn read(path: &Path, wanted: Option<&str>, options: &TableOptions) -> Result<Matrix, Reason> {
    let (file, tensor) = open(path, wanted)?;
    let &[rows, columns] = tensor.shape() else {
        let (name, shape) = (shown(tensor.name()), tensor.shape());
        return Err(format!("'{name}' is {shape:?}, and [samples, features] is needed").into());
    };
    // The bytes of the file, and the numbers.
    let needed = 8.0 * 2.0 * rows as f64 * columns as f64;
    Reason::check_memory(needed, options.memory, "take a smaller tensor")?;
    let mut matrix = Matrix::new(rows, columns, file.numbers(tensor.name()).map_err(reason)?);
    if tensor.dtype() == "I64" && matrix.values.iter().any(|x| x.abs() >= 2f64.powi(53)) {
        let whole = file.tensor(tensor.name()).map_err(reason)?.flatten_all()?.to_vec1::<i64>()?;
        matrix.lacks = whole.into_iter().map(|x| of_whole(x.into()).1).collect();
    }
    Ok(matrix.take(options.most()))
}

/// Reads the tensor of this name, or the only one, of any shape, in the type that it has. Types that candle lacks
/// become the smallest of `u8`, `f32` and `f64` that holds their numbers.
pub(super) fn tensor(path: &Path, wanted: Option<&str>, options: &TableOptions) -> Result<Tensor, Reason> {
    let (file, stored) = open(path, wanted)?;
    let &[samples, ref rest @ ..] = stored.shape() else {
        let name = shown(stored.name());
        return Err(format!("'{name}' is a single number, and a tensor of samples is needed").into());
    };
    let numbers = stored.shape().iter().map(|size| *size as f64).product::<f64>();
    let bytes = match stored.candle_dtype() {
        Some(dtype) => dtype.size_in_bytes(),
        None => 16,
    };
    Reason::check_memory(numbers * bytes as f64, options.memory, "take a smaller tensor")?;
    let tensor = match stored.candle_dtype() {
        Some(_) => file.tensor(stored.name()).map_err(reason)?,
        None => {
            let numbers = file.numbers(stored.name()).map_err(reason)?;
            let columns = rest.iter().product();
            Matrix::new(samples, columns, numbers).exact_tensor()?.reshape(stored.shape())?
        }
    };
    Ok(tensor.narrow(0, 0, samples.min(options.most()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Table;

    #[test]
    fn the_tensor_is_named_behind_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let parts = |source: &str| {
            let (file, tensor) = split(source);
            (file.to_str().unwrap().to_owned(), tensor.map(str::to_owned))
        };
        for (source, file, tensor) in [
            ("f.safetensors", "f.safetensors", None),
            ("f.safetensors#x", "f.safetensors", Some("x")),
            ("f.SafeTensors#x", "f.SafeTensors", Some("x")),
            ("f.safetensors#a#b", "f.safetensors", Some("a#b")),
            ("f.safetensors#", "f.safetensors", Some("")),
            ("f.safetensors#a/b.c", "f.safetensors", Some("a/b.c")),
            ("a#b.safetensors#x", "a#b.safetensors", Some("x")),
            ("a#b.safetensors", "a#b.safetensors", None),
            ("a#b.csv", "a#b.csv", None),
        ] {
            let expected = (path(file), tensor.map(str::to_owned));
            assert_eq!(parts(&path(source)), expected, "{source}");
        }
        // A file that exists has precedence.
        std::fs::create_dir(path("d.safetensors#1")).unwrap();
        for name in ["f.safetensors#x.safetensors", "d.safetensors#1/f.safetensors"] {
            std::fs::write(path(name), "").unwrap();
            assert_eq!(parts(&path(name)), (path(name), None));
            assert_eq!(parts(&path(&format!("{name}#y"))), (path(name), Some("y".to_owned())));
        }
    }

    /// A file with tensors of these types, of two rows and two columns.
    fn file_of(tensors: &[(&str, &str, Vec<u8>)]) -> Vec<u8> {
        let (mut header, mut data) = (Vec::new(), Vec::new());
        for (name, dtype, bytes) in tensors {
            let begin = data.len();
            data.extend_from_slice(bytes);
            let end = data.len();
            header.push(format!(
                r#"{}:{{"dtype":"{dtype}","shape":[2,2],"data_offsets":[{begin},{end}]}}"#,
                serde_json::to_string(name).unwrap()
            ));
        }
        let header = format!("{{{}}}", header.join(","));
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    fn npy_of(dtype: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': (2, 2), }}");
        [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), data].concat()
    }

    /// Numbers of every type are the same from both formats, whatever stands beside them.
    #[test]
    fn every_type_is_read_alike_from_npy_and_safetensors() {
        fn bytes<const N: usize>(numbers: [[u8; N]; 4]) -> Vec<u8> {
            numbers.concat()
        }
        let types: [(&str, &str, Vec<u8>); 13] = [
            ("BOOL", "|b1", vec![0, 1, 1, 0]),
            ("U8", "|u1", vec![0, 1, 1, 255]),
            ("I8", "|i1", vec![0, 1, 1, 255]),
            ("U16", "<u2", bytes([0u16, 1, 1, 65535].map(u16::to_le_bytes))),
            ("I16", "<i2", bytes([0i16, 1, 1, -2].map(i16::to_le_bytes))),
            ("U32", "<u4", bytes([0u32, 1, 1, 1 << 31].map(u32::to_le_bytes))),
            ("I32", "<i4", bytes([0i32, 1, 1, -2].map(i32::to_le_bytes))),
            ("U64", "<u8", bytes([0u64, 1, 1, 1 << 63].map(u64::to_le_bytes))),
            ("I64", "<i8", bytes([0i64, 1, 1, -2].map(i64::to_le_bytes))),
            ("F16", "<f2", bytes([0x0000u16, 0x3c00, 0x3c00, 0x0001].map(u16::to_le_bytes))),
            ("BF16", "<V2", bytes([0x0000u16, 0x3f80, 0x3f80, 0x4049].map(u16::to_le_bytes))),
            ("F32", "<f4", bytes([0f32, 1.0, 1.0, 0.1].map(f32::to_le_bytes))),
            ("F64", "<f8", bytes([0f64, 1.0, 1.0, 0.1].map(f64::to_le_bytes))),
        ];
        let last: [f64; 13] = [
            0.0,
            255.0,
            -1.0,
            65535.0,
            -2.0,
            2147483648.0,
            -2.0,
            9223372036854775808.0,
            -2.0,
            2f64.powi(-24),
            3.140625,
            f64::from(0.1f32),
            0.1,
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let load = |source: &str| Table::read(source, &TableOptions::default()).map(|data| data.matrix);
        let mut tensors: Vec<(&str, &str, Vec<u8>)> =
            types.iter().map(|(dtype, _, bytes)| (*dtype, *dtype, bytes.clone())).collect();
        // Types that are not read, one of which nobody knows, stand in front.
        let foreign =
            [("z", "F4", vec![0; 2]), ("f8", "F8_E8M0", vec![0; 4]), ("new", "F8_E3M4", vec![0; 4])];
        tensors.splice(..0, foreign.clone());
        std::fs::write(path("all.safetensors"), file_of(&tensors)).unwrap();
        for ((dtype, npy, bytes), last) in types.iter().zip(last) {
            std::fs::write(path("x.npy"), npy_of(npy, bytes)).unwrap();
            let expected = Matrix::new(2, 2, vec![0.0, 1.0, 1.0, last]);
            assert_eq!(load(&path("x.npy")).unwrap(), expected, "{dtype}");
            assert_eq!(load(&path(&format!("all.safetensors#{dtype}"))).unwrap(), expected, "{dtype}");
        }
        for (name, dtype, _) in foreign {
            let error = format!("{}", load(&path(&format!("all.safetensors#{name}"))).unwrap_err());
            assert!(
                error.ends_with(&format!(
                    "'{name}' is of type {dtype}, which is not read; save it as float32"
                )),
                "{error}"
            );
        }
    }

    #[test]
    fn tensors_have_any_name_and_errors_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.SAFETENSORS").to_str().unwrap().to_owned();
        let names = [
            "a#b", "#", "", "c\nd", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B", "C", "D",
            "E", "F", "G",
        ];
        let tensors: Vec<_> =
            names.iter().enumerate().map(|(i, name)| (*name, "U8", vec![i as u8; 4])).collect();
        std::fs::write(&path, file_of(&tensors)).unwrap();
        let load = |name: &str| {
            Table::read(&format!("{path}#{name}"), &TableOptions::default()).map(|data| data.matrix)
        };
        for (index, name) in names.iter().enumerate() {
            assert_eq!(load(name).unwrap().values, [index as f64; 4], "{name:?}");
        }
        let error = format!("{}", load("no\nne").unwrap_err());
        assert!(error.lines().count() == 1 && error.contains("no tensor 'no\\nne'"), "{error}");
        assert!(error.ends_with(" and 1 more"), "{error}");
        std::fs::write(&path, file_of(&[("x", "U8", vec![0; 4]), ("x", "U8", vec![1; 4])])).unwrap();
        let error = format!("{}", load("x").unwrap_err());
        assert!(error.ends_with("its header names 'x' twice: which one is meant?"), "{error}");
    }
}
