//! Every reader on bytes at random and on valid inputs with edits: it returns, with a result or an error, takes no
//! more memory than the input's size times a constant, and what it reads is written as text that reads as the same.
//!
//! `WICK_FUZZ_CASES` is the number of inputs for each reader, 10 000 without it. The inputs are always the same
//! ones; a larger number has those of a smaller one first.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod bytes;
mod memory;
mod valid;

// The readers of programs are not in the library.
#[allow(dead_code)]
#[path = "../../src/bin/phase-diagram/merge.rs"]
mod merge;
#[allow(dead_code)]
#[path = "../../src/bin/phase-diagram/options.rs"]
mod options;
#[allow(dead_code)]
#[path = "../../src/bin/phase-diagram/plane.rs"]
mod plane;
#[allow(dead_code)]
#[path = "../../src/bin/init-weights/tensors.rs"]
mod tensors;

use std::cell::Cell;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use wick_bins::data::{Data, DataOptions};
use wick_bins::device::DeviceChoice;
use wick_bins::weights::rules;
use wick_init::{InitMap, Initializer, LearningRate, Pattern, TensorFile};
use wick_model::Activation;

/// A reader may hold this many bytes for each byte of its input. A number `1,` of a CSV takes eight bytes, a
/// growing list has up to twice that, and three times while it is copied; a part of a JSON or TOML is a value of
/// some tens of bytes.
const BYTES_PER_BYTE: usize = 256;

/// A reader may hold this many bytes for any input: buffers, tables, error messages.
const BYTES: usize = 1 << 20;

/// A reader takes far less than a second for an input of some kilobytes, and a busy machine is slower.
const MOST_TIME: Duration = Duration::from_secs(20);

/// Runs `read`, which returns whether the input was a valid one, on many inputs. The test fails if `read` panics or
/// takes too much memory or time, or if hardly any input was valid, so that the inside of the reader was not
/// reached.
fn fuzz(valid: Vec<Vec<u8>>, repair: fn(&mut [u8]), read: impl Fn(&[u8]) -> bool) {
    // What the first call keeps for later ones is not the input's.
    assert!(valid.iter().filter(|bytes| read(bytes)).count() > 0);
    let cases = std::env::var("WICK_FUZZ_CASES").map_or(10_000, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let accepted = Cell::new(0);
    let result = runner.run(&bytes::inputs(valid, repair), |bytes| {
        let begun = Instant::now();
        let (was_read, peak) = memory::peak(|| read(&bytes));
        if begun.elapsed() > MOST_TIME {
            let reason = format!("{:?} for {} bytes of input", begun.elapsed(), bytes.len());
            return Err(TestCaseError::fail(reason));
        }
        accepted.set(accepted.get() + u32::from(was_read));
        let most = BYTES + BYTES_PER_BYTE * bytes.len();
        if peak > most {
            let reason = format!("{peak} bytes of memory for {} bytes of input", bytes.len());
            return Err(TestCaseError::fail(reason));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!((cases / 100..cases).contains(&accepted.get()), "{} of {cases} inputs were read", accepted.get());
}

/// Runs a reader of text on many inputs. Whatever it reads is written as a text that reads as the same.
fn fuzz_text<T: FromStr + ToString + PartialEq + Debug>(valid: &[&str], check: impl Fn(T))
where
    T::Err: ToString,
{
    fuzz(
        valid.iter().map(|text| text.as_bytes().to_vec()).collect(),
        |_| {},
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            match text.parse::<T>() {
                Ok(read) => {
                    let written = read.to_string();
                    match written.parse::<T>() {
                        Ok(again) => assert_eq!(again, read, "'{text}' is written as '{written}'"),
                        Err(error) => panic!("'{text}' is written as '{written}': {}", error.to_string()),
                    }
                    check(read);
                    true
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    valid.iter().for_each(|valid| assert!(*valid != text, "'{text}': {}", error.to_string()));
                    false
                }
            }
        },
    );
}

/// Runs a reader of files on many inputs.
fn fuzz_file(name: &str, valid: Vec<Vec<u8>>, repair: fn(&mut [u8]), read: impl Fn(&Path) -> bool) {
    // Files in memory are faster, where the system has them.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let path: PathBuf = folder.path().join(name);
    fuzz(valid, repair, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    });
}

/// Reads a file as data, and checks what is promised of a table.
fn load(source: &str) -> bool {
    let Ok(Data { matrix, .. }) = Data::load(source, None, &DataOptions::default()) else { return false };
    assert_eq!(matrix.values.len(), matrix.rows * matrix.columns);
    assert!(matrix.values.iter().all(|x| x.is_finite()));
    true
}

#[test]
fn tables_of_text() {
    fuzz_file("x.csv", valid::csv(), |_| {}, |path| load(path.to_str().unwrap()));
}

#[test]
fn numpy_arrays() {
    fuzz_file("x.npy", valid::npy(), valid::repair_npy, |path| load(path.to_str().unwrap()));
}

#[test]
fn tensors_as_data() {
    fuzz_file("x.safetensors", valid::safetensors(), valid::repair_safetensors, |path| {
        load(path.to_str().unwrap()) | load(&format!("{}#a", path.display()))
    });
}

#[test]
fn tensors_of_a_map() {
    fuzz_file("x.safetensors", valid::safetensors(), valid::repair_safetensors, |path| {
        InitMap::new(0).with_file(path).is_ok_and(|map| map.unused_tensors().len() < 10_000)
    });
}

#[test]
fn tensors_to_be_like() {
    fuzz_file("x.safetensors", valid::safetensors(), valid::repair_safetensors, |path| {
        let Ok(file) = TensorFile::open(path) else { return false };
        let Ok(wanted) = tensors::of_file(&file) else { return false };
        assert!(wanted.iter().all(|wanted| wanted.numbers() >= 0.0));
        tensors::check(&wanted).is_ok()
    });
}

#[test]
fn rules_as_toml() {
    fuzz_file(
        "rules.toml",
        valid::rules(),
        |_| {},
        |path| {
            let Ok(read) = rules::read(path) else { return false };
            let written = rules::printed(&read).unwrap();
            std::fs::write(path, &written).unwrap();
            assert_eq!(rules::read(path).unwrap(), read, "{written}");
            true
        },
    );
}

#[test]
fn parts_of_a_phase_diagram() {
    fuzz_file(
        "part.json",
        valid::parts(),
        |_| {},
        |path| {
            let Ok((experiment, cells)) = merge::merge(&[path.to_owned()]) else { return false };
            assert_eq!(cells.len(), experiment.cells().count());
            true
        },
    );
}

#[test]
fn initializers() {
    fuzz_text::<Initializer>(&valid::SPECS, |initializer| {
        for shape in [&[][..], &[3], &[4, 6], &[4, 2, 3, 3]] {
            drop((initializer.std(shape), initializer.weight_law(shape)));
        }
    });
}

#[test]
fn patterns() {
    fuzz_text::<Pattern>(&valid::PATTERNS, |pattern| {
        for (name, shape) in
            [("", &[][..]), ("a.b.weight", &[3, 4]), ("layers.0.attn.qkv.bias", &[usize::MAX])]
        {
            pattern.matches(name, shape);
        }
    });
}

#[test]
fn activations_and_rates() {
    fuzz_text::<Activation>(&["relu", "leaky_relu:0.2", "elu:1e-3", "gelu"], |activation| {
        assert!(!activation.value(0.5).is_nan());
    });
    fuzz_text::<LearningRate>(&["1", "0.25", "256/fan_in", "1e-3/fan_in"], |_| {});
    fuzz_text::<DeviceChoice>(&["auto", "cpu", "cuda:3", "metal"], |_| {});
}

/// The reader of tensors named on the command line, and those of ranges, grids and shards.
#[test]
fn options_of_programs() {
    let valid = ["w=3x4", "w=3×4", "0.5,3", "16x11", "2/8", "a=b=7"].map(|text| text.as_bytes().to_vec());
    fuzz(
        valid.to_vec(),
        |_| {},
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let wanted = text.parse::<tensors::Wanted>();
            if let Ok(wanted) = &wanted {
                assert!(!wanted.name.is_empty() && wanted.numbers() >= 0.0);
            }
            let range = text.parse::<options::Range>().is_ok_and(|options::Range([low, high])| low < high);
            let grid =
                text.parse::<options::Grid>().is_ok_and(|options::Grid(sides)| sides[0] * sides[1] > 0);
            let shard = text.parse::<options::Shard>().is_ok_and(|shard| shard.index < shard.of);
            wanted.is_ok() || range || grid || shard
        },
    );
}

#[test]
fn what_a_call_holds_at_once_is_counted() {
    let (length, bytes) = memory::peak(|| {
        drop(vec![0u8; 1 << 20]);
        vec![1u8; 3 << 20].len()
    });
    assert!(length == 3 << 20 && (3 << 20..4 << 20).contains(&bytes), "{bytes}");
    assert!(memory::peak(|| 1).1 == 0);
}
