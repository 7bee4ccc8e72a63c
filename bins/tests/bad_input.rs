//! Bad input: one clear line on stderr, nothing on stdout, the right exit code, nothing left behind.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod common;

use std::fs;
use std::path::Path;

use common::{command, failure};

/// Runs in an empty folder, and checks that the one line on stderr has every one of the parts.
fn fails(program: &str, arguments: &[&str], code: i32, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fails_in(folder.path(), program, arguments, code, parts);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{program} {arguments:?} left files behind");
}

fn fails_in(folder: &Path, program: &str, arguments: &[&str], code: i32, parts: &[&str]) {
    let output = failure(program, arguments, folder);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let context = format!("{program} {arguments:?}: {stderr}");
    assert_eq!(output.status.code(), Some(code), "{context}");
    assert_eq!(stderr.lines().count(), 1, "{context}");
    assert!(stderr.starts_with("error: "), "{context}");
    assert!(output.stdout.is_empty(), "{context}");
    for part in parts {
        assert!(stderr.contains(part), "{part} is not in {context}");
    }
}

#[test]
fn devices() {
    for device in ["tpu", "cpu:1", "cuda:x", ""] {
        fails(
            "layer-stats",
            &["--device", device],
            2,
            &["--device", "known: auto, cpu, cuda, cuda:N, metal"],
        );
    }
    if !cfg!(feature = "cuda") {
        fails("symmetry", &["--device", "cuda"], 2, &["'cuda:0'", "--features cuda"]);
    }
    if !cfg!(feature = "metal") {
        fails("symmetry", &["--device", "metal:1"], 2, &["'metal:1'", "--features metal"]);
    }
}

#[test]
fn device_benches() {
    fails("device-bench", &["--batch", "1,0"], 2, &["a size is zero"]);
    fails("device-bench", &["--jobs", "sleep"], 2, &["'sleep'", "--jobs"]);
    fails("device-bench", &["--dtype", "bf16"], 2, &["--dtype is not for this program"]);
}

#[test]
fn phase_diagrams() {
    for (arguments, part) in [
        (["--sigma-w", "2,1"], "LOW < HIGH"),
        (["--sigma-b", "-1,1"], "0 ≤ LOW"),
        (["--grid", "1x5"], "2 to 1000"),
        (["--shard", "9/8"], "1 ≤ K ≤ N"),
        (["--shard", "0/8"], "1 ≤ K ≤ N"),
        (["--depth", "3"], "--depth 4"),
        (["--width", "10000000"], "ask for a smaller --width"),
    ] {
        let [option, value] = arguments;
        fails("phase-diagram", &[&format!("{option}={value}")], 2, &[part]);
    }
    fails("phase-diagram", &["--merge", "nowhere.json"], 1, &["cannot open nowhere.json"]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("part.json"), "{\"cells\": []}").unwrap();
    fails_in(
        folder.path(),
        "phase-diagram",
        &["--merge", "part.json"],
        1,
        &["not the JSON of a phase-diagram"],
    );
}

#[test]
fn names_and_specs() {
    fails(
        "layer-stats",
        &["--init", "xavier"],
        2,
        &["unknown initializer 'xavier'", "known: zeros", "he_uniform"],
    );
    fails("layer-stats", &["--init", "normal:std=-1"], 2, &["std = -1", "not negative"]);
    fails("layer-stats", &["--init", "normal:std=nan"], 2, &["std=nan is not a finite number"]);
    fails("symmetry", &["--init", "uniform:low=1,high=0"], 2, &["low = 1", "not above high"]);
    fails("layer-stats", &["--activation", "swoosh"], 2, &["unknown activation 'swoosh'", "known: identity"]);
    fails("forward-backward", &["--loss", "hinge"], 2, &["unknown loss 'hinge'", "cross_entropy"]);
    fails("layer-stats", &["--format", "xml"], 2, &["'xml'", "table, json, csv"]);
    fails("layer-stats", &["--dtype", "f8"], 2, &["'f8'", "f32, f64, bf16, f16"]);
    fails("layer-stats", &["--sampels", "3"], 2, &["--sampels"]);
}

#[test]
fn sizes_and_numbers() {
    fails("layer-stats", &["--widths", "10,0,10"], 2, &["--widths"]);
    fails("layer-stats", &["--widths", "10,x"], 2, &["'x'", "--widths"]);
    fails("layer-stats", &["--samples", "0"], 2, &["--samples"]);
    fails("layer-stats", &["--bins", "0"], 2, &["--bins"]);
    fails("forward-backward", &["--hidden", "0"], 2, &["--hidden"]);
    fails("forward-backward", &["--lambda", "nan"], 2, &["--lambda is NaN"]);
    fails("matrix-product", &["--n", "0"], 2, &["--n"]);
    fails("matrix-product", &["--sigma", "0"], 2, &["--sigma is 0"]);
    fails("symmetry", &["--learning-rate", "inf"], 2, &["--learning-rate is inf"]);
    fails("forward-backward", &["--lambda", "-1"], 2, &["--lambda is -1"]);
    fails("matrix-product", &["--sigma", "-1"], 2, &["--sigma is -1"]);
    fails("layer-stats", &["--widths", &vec!["3"; 3000].join(",")], 2, &["3000 layers"]);
    fails("activation-gradient", &["--step", "0"], 2, &["--step"]);
    fails("activation-gradient", &["--low", "3", "--high", "2"], 2, &["--low"]);
}

#[test]
fn absurd_sizes_say_how_much_memory_they_take() {
    let most = u64::MAX.to_string();
    fails("layer-stats", &["--samples", "100000000000"], 2, &["PiB of memory", "are free", "--samples"]);
    fails("layer-stats", &["--widths", &most], 2, &["EiB of memory"]);
    fails("matrix-product", &["--n", "10000000"], 2, &["PiB of memory", "--n"]);
    fails("symmetry", &["--hidden", "1000000000000"], 2, &["PiB of memory", "--hidden"]);
    fails("symmetry", &["--steps", &most], 2, &["EiB of memory", "--steps"]);
    fails("forward-backward", &["--features", "100000000000000"], 2, &["PiB of memory"]);
    fails("activation-gradient", &["--step", "1e-17"], 2, &["EiB of memory", "--step"]);
}

#[test]
fn numbers_that_no_run_survives() {
    for (program, arguments, parts) in [
        (
            "layer-stats",
            ["--init", "normal:std=1e39", "--seed", "1"],
            ["normal:std=1e39", "beyond the largest f32"],
        ),
        ("symmetry", ["--equal", "1e40", "--seed", "1"], ["constant:value=1", "beyond the largest f32"]),
        (
            "symmetry",
            ["--learning-rate", "1e38", "--steps", "20"],
            ["the training diverged", "--learning-rate"],
        ),
    ] {
        fails(program, &[&arguments[..], &["--no-pictures"]].concat(), 1, &parts);
    }
}

#[test]
fn data_files() {
    let folder = tempfile::tempdir().unwrap();
    let bad = |name: &str, bytes: &[u8], parts: &[&str]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        let parts = [parts, &[name]].concat();
        fails_in(folder.path(), "layer-stats", &["--no-pictures", "--data", name], 1, &parts);
    };
    bad("word.csv", b"a,b\n1,2\n3,four\n", &["line 3, column 2: 'four' is not a number"]);
    bad("ragged.csv", b"1,2\n3\n", &["line 2: 1 columns where the first line has 2"]);
    bad("nan.csv", b"1,2\n3,NaN\n", &["line 2, column 2: NaN is not a finite number"]);
    bad("inf.csv", b"1,inf\n", &["line 1, column 2: inf is not a finite number"]);
    bad("empty.csv", b"", &["holds no numbers"]);
    bad("header.csv", b"a,b\n", &["holds no numbers"]);
    bad("data.txt", b"1", &[".csv, .npy or .safetensors"]);
    bad("foreign.npy", b"not numpy at all", &["cannot read"]);
    bad("short.npy", b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 9), }     \n", &["the header says [4000000000, 9]"]);
    bad("foreign.safetensors", b"not safetensors", &["cannot read"]);
    fails(
        "layer-stats",
        &["--no-pictures", "--data", "missing.csv"],
        1,
        &["cannot read 'missing.csv'", "No such file"],
    );

    let vector = candle_core::Tensor::new(&[1f32, f32::NAN], &candle_core::Device::Cpu).unwrap();
    let path = folder.path().join("two.safetensors");
    let matrix = vector.reshape((1, 2)).unwrap();
    let tensors = std::collections::HashMap::from([("v", vector), ("m", matrix)]);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    for (data, part) in [
        ("two.safetensors", "name the tensor with FILE#TENSOR: there are m, v"),
        ("two.safetensors#w", "there is no tensor 'w': there are m, v"),
        ("two.safetensors#v", "'v' is [2], and [samples, features] is needed"),
        ("two.safetensors#m", "row 1, column 2: NaN is not a finite number"),
    ] {
        fails_in(folder.path(), "layer-stats", &["--no-pictures", "--data", data], 1, &[part]);
    }
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "kept").unwrap();
    // A folder below a file: nobody, root included, can make that.
    for program in ["layer-stats", "forward-backward", "activation-gradient", "matrix-product", "symmetry"] {
        fails_in(folder.path(), program, &["--out", "file/out"], 1, &["cannot make the folder 'file/out'"]);
    }
    // A picture whose place is taken by a folder: what was there stays, and nothing half-written beside it.
    fs::create_dir_all(folder.path().join("out/activation-gradient.svg")).unwrap();
    fails_in(folder.path(), "activation-gradient", &["--out", "out"], 1, &["activation-gradient.svg"]);
    assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 1);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"kept");
}

/// candle puts a backtrace into its errors when asked; the line stays one line.
#[test]
fn backtraces_do_not_spill() {
    let output = command("layer-stats", &["--no-pictures", "--data", "missing.safetensors"])
        .env("RUST_BACKTRACE", "1")
        .assert()
        .failure()
        .get_output()
        .clone();
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}
