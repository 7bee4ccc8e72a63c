use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::DType;
use flate2::Compression;
use flate2::read::GzEncoder;

use crate::data::read_idx;

fn idx(code: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    GzEncoder::new(bytes, Compression::default()).read_to_end(&mut compressed).unwrap();
    compressed
}

fn written(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("x.idx");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_type_is_read_plain_and_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    let doubles: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    for (bytes, dtype, numbers) in [
        (idx(0x08, &[2, 1], &[0, 255]), DType::U8, [0.0, 255.0]),
        (idx(0x09, &[2, 1], &[127, 128]), DType::I16, [127.0, -128.0]),
        (idx(0x0B, &[2, 1], &[1, 2, 0xFF, 0xFE]), DType::I16, [258.0, -2.0]),
        (idx(0x0C, &[2, 1], &[0, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]), DType::I32, [65536.0, -1.0]),
        (idx(0x0D, &[2, 1], &floats), DType::F32, [1.5, -2.0]),
        (idx(0x0E, &[2, 1], &doubles), DType::F64, [1.5, -2.0]),
    ] {
        for bytes in [gzip(&bytes), bytes] {
            let tensor = read_idx(written(folder.path(), &bytes)).unwrap();
            assert_eq!((tensor.dtype(), tensor.dims()), (dtype, &[2, 1][..]));
            let read = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert_eq!(read, numbers);
        }
    }
    // More than one piece of memory, and two members of gzip one after the other.
    let large: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let whole = idx(8, &[1000, 1000], &large);
    let members = [gzip(&whole[..300_000]), gzip(&whole[300_000..])].concat();
    for bytes in [gzip(&whole), members, whole] {
        let tensor = read_idx(written(folder.path(), &bytes)).unwrap();
        assert!(tensor.flatten_all().unwrap().to_vec1::<u8>().unwrap() == large);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = idx(8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let packed = gzip(&good);
    let mut damaged = packed.clone();
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    for (bytes, reason) in [
        (vec![], "it is empty"),
        (vec![0, 0], "it is no IDX file, which begins with two bytes of 0, a type and a rank"),
        (b"a,b\n1,2\n".to_vec(), "it is no IDX file"),
        (vec![0, 0, 8, 0], "it has no dimensions"),
        (idx(7, &[1], &[1]), "its type 0x07 is none of IDX's"),
        (good[..10].to_vec(), "it ends before the last of its 2 dimensions"),
        (good[..15].to_vec(), "it ends after 3 of the 6 bytes of its numbers (2×3, u8)"),
        ([&good[..], &[0]].concat(), "it goes on after the 6 bytes of its numbers (2×3, u8)"),
        (gzip(&[&good[..], &[0]].concat()), "it goes on after the 6 bytes of its numbers"),
        (idx(8, &[0, 3], &[]), "it has no numbers: its dimensions are 0×3"),
        (idx(8, &[u32::MAX; 3], &[1]), "are more than any memory holds"),
        (idx(8, &[u32::MAX], &[1]), "it ends after 1 of the 4294967295 bytes"),
        (gzip(&idx(8, &[u32::MAX], &[1])), "it ends after 1 of the 4294967295 bytes"),
        (packed[..packed.len() - 9].to_vec(), "its gzip stream ends early: the file is cut off"),
        (damaged, "its gzip stream is damaged: "),
        (vec![0x1F, 0x8B, 8, 0], "its gzip stream ends early"),
        (gzip(&[]), "it is empty"),
    ] {
        let path = written(folder.path(), &bytes);
        let error = read_idx(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read '{}': ", path.display())), "{error}");
        assert!(error.contains(reason) && !error.contains('\n'), "{error}");
    }
    let error = read_idx(folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("none': No such file") || cfg!(not(unix)), "{error}");
    assert!(read_idx(folder.path()).is_err());
}
