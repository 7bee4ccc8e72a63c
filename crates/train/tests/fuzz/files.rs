//! Files of samples and labels: any bytes are an error of one line or samples, and bytes stay bytes in memory.

use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device};
use flate2::Compression;
use flate2::write::GzEncoder;
use wick_train::data::{
    Dataset, Labels, Missing, Preparation, PrepareOptions, Prepared, Samples, Table, TableOptions, TestPart,
};

use crate::fuzz;
use crate::memory::peak;

/// Reads a file as samples, with missing numbers and without, and as labels.
fn read_all(path: &Path) -> bool {
    let source = path.to_str().unwrap();
    let mut was_read = false;
    for missing in [Missing::Refuse, Missing::Mean] {
        let options = TableOptions { missing, ..TableOptions::default() };
        match Samples::read(source, &options) {
            Ok(samples) => {
                was_read = true;
                assert!(!samples.is_empty() && samples.features().elem_count() > 0);
                if let Some(labels) = samples.labels() {
                    assert_eq!(labels.len(), samples.len());
                    drop((labels.classes(), labels.numbers()));
                }
            }
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
    for samples in [2, 3] {
        if let Err(error) = Labels::read(source, samples, &TableOptions::default()) {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
    was_read
}

fn fuzz_files(name: &str, valid: Vec<Vec<u8>>, words: &'static [&'static [u8]]) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let path = folder.path().join(name);
    fuzz(
        valid,
        words,
        |bytes, _| bytes,
        |bytes| {
            std::fs::write(&path, bytes).unwrap();
            read_all(&path)
        },
    );
}

#[test]
fn tables_with_labels() {
    let valid = ["a,b,label\n1,,x\n,2,y\n", "1,2\n3,4", "a,target\n1e3,0.5\n-2,7\n", "a\n0.25\n"];
    let valid = valid.map(|text| text.as_bytes().to_vec()).to_vec();
    fuzz_files(
        "x.csv",
        valid,
        &[b"NaN", b"label", b"\n", b",", b"\"", b"1e999", b"9007199254740993", b"none", b"\xFF", b"target"],
    );
}

#[test]
fn arrays_of_any_shape() {
    let file = |descr: &str, order: &str, shape: &str, bytes: usize| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), &vec![1; bytes]].concat()
    };
    let valid = vec![
        file("<f4", "False", "(2, 3)", 24),
        file("|u1", "True", "(3, 2, 2)", 12),
        file(">i8", "False", "(3,)", 24),
        file("<u8", "False", "(2, 1)", 16),
    ];
    fuzz_files(
        "x.npy",
        valid,
        &[b"(", b")", b"'", b"{", b"}", b"True", b"<f2", b"|b1", b"99999999", b"0", b":", b",", &[0xFF; 8]],
    );
}

/// What is kept with a model: an error, or a preparation that prepares samples of its shape.
#[test]
fn preparations() {
    let text = "a,b,label\n1,,x\n3,4,y\n";
    let options = TableOptions { missing: Missing::Mean, ..TableOptions::default() };
    let kept = ["x", "y"].map(|task| {
        let text = if task == "x" { text.to_owned() } else { text.replace('x', "1.5").replace('y', "2.5") };
        let samples = Samples::from_text(text.as_bytes(), "t", &options).unwrap();
        let prepared = Prepared::new(&samples, TestPart::Fraction(0.0), &PrepareOptions::default()).unwrap();
        serde_json::to_vec(&prepared.preparation).unwrap()
    });
    let samples = Samples::from_text(&b"1,2\n"[..], "t", &options).unwrap();
    fuzz(
        kept.to_vec(),
        &[b"null", b"[]", b"1e999", b"-1", b"0", b"[2]", b"[1,2]", b"true", b"\"a\"", b",", b"\"regress\""],
        |bytes, _| bytes,
        |bytes| {
            let Ok(preparation) = serde_json::from_slice::<Preparation>(bytes) else { return false };
            assert!(preparation.outputs() > 0 && preparation.features() > 0);
            if let Ok(data) = preparation.apply(&samples, DType::F32, &Device::Cpu) {
                assert_eq!(data.batch(&[0]).unwrap().input.dims()[1..], preparation.input_shape());
            }
            true
        },
    );
}

/// Buffers, the window of gzip, the names of files.
const CHANGE: usize = 1 << 18;

fn read(path: &Path) -> (Samples, usize) {
    let (samples, peak) = peak(|| Samples::read(path.to_str().unwrap(), &TableOptions::default()).unwrap());
    assert_eq!(samples.features().dtype(), DType::U8);
    (samples, peak)
}

/// Images of a byte a pixel take their bytes, at every moment, from each format. The twin: a table of `f64` takes
/// eight times as many.
#[test]
fn bytes_stay_bytes() {
    const SAMPLES: usize = 6000;
    const PIXELS: usize = 28 * 28;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pixels: Vec<u8> = (0..SAMPLES * PIXELS).map(|i| (i * i / 7) as u8).collect();
    let dims = [SAMPLES as u32, 28, 28].map(u32::to_be_bytes).concat();
    let idx = [&[0, 0, 8, 3][..], &dims, &pixels].concat();
    std::fs::write(path("a-images-idx3-ubyte"), &idx).unwrap();
    let mut gzip =
        GzEncoder::new(std::fs::File::create(path("a-images-idx3-ubyte.gz")).unwrap(), Compression::fast());
    gzip.write_all(&idx).unwrap();
    gzip.finish().unwrap();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({SAMPLES}, 28, 28), }}");
    let npy = [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), &pixels].concat();
    std::fs::write(path("a.npy"), npy).unwrap();
    let tensor = candle_core::Tensor::from_slice(&pixels, (SAMPLES, 28, 28), &Device::Cpu).unwrap();
    let tensors = std::collections::HashMap::from([("x", tensor)]);
    candle_core::safetensors::save(&tensors, path("a.safetensors")).unwrap();
    for name in ["a-images-idx3-ubyte", "a-images-idx3-ubyte.gz", "a.npy", "a.safetensors"] {
        let (samples, peak) = read(&path(name));
        assert_eq!(samples.features().dims(), [SAMPLES, 28, 28]);
        assert!((pixels.len()..pixels.len() + CHANGE).contains(&peak), "{name}: {peak} for {}", pixels.len());
    }
    // Parts are lists of numbers, beside one tensor for all.
    let (samples, _) = read(&path("a.npy"));
    let classes: Vec<u8> = (0..SAMPLES).map(|i| (i % 10) as u8).collect();
    let labels = Labels::new(&candle_core::Tensor::new(classes, &Device::Cpu).unwrap()).unwrap();
    let samples = samples.with_labels(labels).unwrap();
    let options = PrepareOptions { validation: 0.1, ..PrepareOptions::default() };
    let (prepared, taken) = peak(|| Prepared::new(&samples, TestPart::Fraction(0.2), &options).unwrap());
    assert!(taken < CHANGE + 256 * PIXELS * 32, "{taken}");
    let (batch, taken) = peak(|| prepared.training.batch(&[0; 100]).unwrap());
    assert!(batch.input.dims() == [100, PIXELS] && taken < 5 * 100 * PIXELS, "{taken}");
    let idx = path("a-images-idx3-ubyte");
    let (_, wide) = peak(|| Table::read(idx.to_str().unwrap(), &TableOptions::default()).unwrap());
    assert!(wide > 8 * pixels.len(), "{wide}");
}
