//! Every reader of this crate on bytes at random and on valid inputs with edits: it returns, with a result or an
//! error of one line, and takes no more memory than the input's size times a constant.
//!
//! `WICK_FUZZ_CASES` is the number of inputs for each reader, 10 000 without it. The inputs are always the same
//! ones.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

// The allocator that counts is that of the fuzz tests of the readers of programs.
#[path = "../../../../bins/tests/fuzz/memory.rs"]
mod memory;

mod files;

use std::cell::Cell;
use std::io::Read;
use std::path::Path;

use flate2::Compression;
use flate2::read::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use wick_train::Schedule;
use wick_train::data::{Dataset, InMemory, read_idx};

/// A reader may hold this many bytes for each byte of its input: deflate stores up to 1032 bytes in one, and
/// memory that grows to a limit is held twice while it is copied.
const BYTES_PER_BYTE: usize = 2 * 1032;

/// A reader may hold this many bytes for any input: buffers, tables, error messages.
const BYTES: usize = 1 << 20;

/// One change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Cut(Index),
}

fn edit(words: &'static [&'static [u8]]) -> impl Strategy<Value = Edit> {
    let word = prop_oneof![
        4 => select(words).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..9),
        1 => (any::<u8>(), 1..3000usize).prop_map(|(byte, times)| vec![byte; times]),
    ];
    prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        3 => (any::<Index>(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        2 => (any::<Index>(), 1..20u8).prop_map(|(at, bytes)| Edit::Remove(at, bytes)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let place = |at: &Index| at.index(bytes.len() + 1);
    match edit {
        Edit::Replace(at, byte) => {
            let at = place(at);
            if let Some(old) = bytes.get_mut(at) {
                *old = *byte;
            }
        }
        Edit::Insert(at, word) => {
            let at = place(at);
            bytes.splice(at..at, word.iter().copied());
        }
        Edit::Remove(at, count) => {
            let at = place(at);
            let end = (at + usize::from(*count)).min(bytes.len());
            bytes.drain(at..end);
        }
        Edit::Cut(at) => {
            let at = place(at);
            bytes.truncate(at);
        }
    }
}

/// Runs `read`, which returns whether the input was a valid one, on many inputs: one in four is bytes at random,
/// the others are one of `valid` with some edits, which `finish` makes a whole file of.
fn fuzz(
    valid: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
    finish: fn(Vec<u8>, u8) -> Vec<u8>,
    read: impl Fn(&[u8]) -> bool,
) {
    assert!(valid.iter().all(|bytes| read(bytes)));
    let cases = std::env::var("WICK_FUZZ_CASES").map_or(10_000, |cases| cases.parse().unwrap());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let edited =
        (select(valid), vec(edit(words), 0..4), any::<u8>()).prop_map(move |(mut bytes, edits, how)| {
            edits.iter().for_each(|edit| apply(&mut bytes, edit));
            finish(bytes, how)
        });
    let accepted = Cell::new(0);
    let result = runner.run(&prop_oneof![1 => vec(any::<u8>(), 0..200), 3 => edited], |bytes| {
        let (was_read, peak) = memory::peak(|| read(&bytes));
        accepted.set(accepted.get() + u32::from(was_read));
        let most = BYTES + BYTES_PER_BYTE * bytes.len();
        prop_assert!(peak <= most, "{} bytes of memory for {} bytes of input", peak, bytes.len());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!((cases / 100..cases).contains(&accepted.get()), "{} of {cases} inputs were read", accepted.get());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    GzEncoder::new(bytes, Compression::default()).read_to_end(&mut compressed).unwrap();
    compressed
}

/// Half of the edited files are compressed, and a byte of some of these is then another one.
fn maybe_compressed(bytes: Vec<u8>, how: u8) -> Vec<u8> {
    if how < 128 {
        return bytes;
    }
    let mut bytes = gzip(&bytes);
    if how < 160 {
        let place = usize::from(how) * 7 % bytes.len();
        bytes[place] ^= how;
    }
    bytes
}

#[test]
fn idx_files() {
    let folder =
        if Path::new("/dev/shm").is_dir() { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let path = folder.path().join("x.idx");
    let file = |code: u8, dims: &[u8], size: usize| {
        let mut bytes = vec![0, 0, code, dims.len() as u8];
        dims.iter().for_each(|dim| bytes.extend([0, 0, 0, *dim]));
        bytes
            .extend((0..dims.iter().map(|dim| usize::from(*dim)).product::<usize>() * size).map(|i| i as u8));
        bytes
    };
    let plain = [
        file(0x08, &[3, 2, 2], 1),
        file(0x08, &[5], 1),
        file(0x09, &[4], 1),
        file(0x0B, &[2, 2], 2),
        file(0x0C, &[3], 4),
        file(0x0D, &[1, 3], 4),
        file(0x0E, &[2], 8),
    ];
    let valid = plain.iter().map(|bytes| gzip(bytes)).chain(plain.iter().cloned()).collect();
    fuzz(
        valid,
        &[&[0xFF; 4], &[0; 4], &[0, 0, 8, 1], &[0x1F, 0x8B], &[0, 1, 0, 0]],
        maybe_compressed,
        |bytes| {
            std::fs::write(&path, bytes).unwrap();
            match read_idx(&path) {
                Ok(tensor) => tensor.elem_count() > 0,
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.starts_with("cannot read '") && !text.contains('\n'), "{text}");
                    false
                }
            }
        },
    );
}

#[test]
fn schedules() {
    const SPECS: [&str; 8] = [
        "constant",
        "constant:warmup=10,start=1/8",
        "linear:steps=100,floor=0.5",
        "cosine:steps=1000,warmup=100,floor=0.1",
        "wsd:steps=10,decay=4,curve=sqrt",
        "WarmupStableDecay:steps=10,decay=4,warmup=2",
        "one-cycle:steps=100,rise=0.4,div=10,final_div=1e3,curve=linear",
        "step:every=30,factor=0.1",
    ];
    let words: &[&[u8]] = &[
        b"18446744073709551615",
        b"1e999",
        b"-1",
        b"0",
        b"NaN",
        b"inf",
        b"((((",
        b",",
        b":",
        b"=",
        b"warmup=3",
        b"start=0",
        b"floor=1",
        b"curve=cosine",
        b"steps=1",
        b"\n",
        b"\xFF",
    ];
    let valid = SPECS.map(|spec| spec.as_bytes().to_vec()).to_vec();
    fuzz(
        valid,
        words,
        |bytes, _| bytes,
        |bytes| {
            let Ok(schedule) = String::from_utf8_lossy(bytes).parse::<Schedule>() else { return false };
            let text = schedule.to_string();
            assert_eq!(text.parse::<Schedule>().unwrap(), schedule, "{text}");
            for step in [0, 1, 5, 99, 100, u64::MAX] {
                assert!((0.0..=1.0).contains(&schedule.at(step)), "{text} at {step}: {}", schedule.at(step));
            }
            true
        },
    );
}

/// Bytes stay bytes: reading a file takes the bytes of its numbers, and holding them no more; a batch takes those
/// of its own numbers.
#[test]
fn bytes_take_bytes() {
    const SAMPLES: usize = 20_000;
    let mut file = vec![0, 0, 8, 2];
    file.extend((SAMPLES as u32).to_be_bytes());
    file.extend(100u32.to_be_bytes());
    file.extend((0..SAMPLES * 100).map(|i| (i % 251) as u8));
    let folder = tempfile::tempdir().unwrap();
    for bytes in [gzip(&file), file] {
        let path = folder.path().join("x.idx");
        std::fs::write(&path, &bytes).unwrap();
        let (images, read) = memory::peak(|| read_idx(&path).unwrap());
        // The vector's last growth, by less than its half, may hold the old memory and the new.
        assert!(read < SAMPLES * 100 * 5 / 2, "{read}");
        let (data, held) = memory::peak(|| InMemory::new(&images).unwrap());
        assert!(held < 1000, "{held}");
        let indices: Vec<usize> = (0..128).map(|i| i * 99).collect();
        let (batch, taken) = memory::peak(|| data.batch(&indices).unwrap());
        assert!(batch.input.elem_count() == 12_800 && taken < 2 * 4 * 12_800, "{taken}");
    }
}
