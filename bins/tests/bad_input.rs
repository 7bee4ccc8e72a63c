//! Bad input gives one clear line on stderr, nothing on stdout, the right exit code, and leaves no files.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::fs;
use std::path::Path;

use support::{command, failure};

/// Runs in an empty folder, and checks that the line on stderr has every part.
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
    fails("layer-stats", &["--device", "coda:1"], 2, &["(did you mean cuda?)"]);
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
    fails("phase-diagram", &["--no-pictures", "--merge", "nowhere.json"], 1, &["cannot open nowhere.json"]);
    for option in ["--seed", "--dtype", "--device", "--grid"] {
        let value = match option {
            "--dtype" => "f64",
            "--device" => "cpu",
            "--grid" => "3x3",
            _ => "7",
        };
        fails("phase-diagram", &["--merge", "part.json", option, value], 2, &["--merge", option]);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("part.json"), "{\"cells\": []}").unwrap();
    let merge = |parts: &[&str]| {
        fails_in(folder.path(), "phase-diagram", &["--no-pictures", "--merge", "part.json"], 1, parts);
    };
    merge(&["not the JSON of a phase-diagram"]);
    // No run can have written these: a grid or a range that no option accepts, an unknown activation, cells
    // off the grid.
    let part = |activation: &str, range: &str, grid: &str, cell: &str| {
        let experiment = format!(
            "\"activation\": \"{activation}\", \"sigma_w\": {range}, \"sigma_b\": [0, 1], \"grid\": {grid}, \"width\": 4, \
             \"depth\": 4, \"samples\": 2, \"dtype\": \"f32\", \"device\": \"cpu\", \"seed\": 1"
        );
        let measured = "\"measured\": {\"q\": 1, \"c\": 1, \"chi_1\": 1}";
        let text = format!("{{\"experiment\": {{{experiment}}}, \"cells\": [{{{cell}, {measured}}}]}}");
        fs::write(folder.path().join("part.json"), text).unwrap();
    };
    let cell = "\"at\": [1, 0], \"sigma_w\": 2, \"sigma_b\": 0";
    for (activation, range, grid, cell, text) in [
        ("tanh", "[1, 2]", "[9000000, 2]", cell, "sides of 2 to 1000"),
        ("tanh", "[2, 1]", "[2, 2]", cell, "LOW < HIGH"),
        ("swoosh", "[1, 2]", "[2, 2]", cell, "unknown activation 'swoosh'"),
        (
            "tanh",
            "[1, 2]",
            "[2, 2]",
            "\"at\": [2, 0], \"sigma_w\": 2, \"sigma_b\": 0",
            "[2, 0] is not on a grid of 2x2",
        ),
        (
            "tanh",
            "[1, 2]",
            "[2, 2]",
            "\"at\": [1, 0], \"sigma_w\": 5, \"sigma_b\": 0",
            "should be at [2.0, 0.0]",
        ),
        ("tanh", "[1, 2]", "[2, 2]", cell, "3 of 4 cells are missing, [0, 0] first"),
    ] {
        part(activation, range, grid, cell);
        merge(&[text]);
    }
}

#[test]
fn names_and_specs() {
    fails(
        "layer-stats",
        &["--init", "xavier"],
        2,
        &["unknown initializer 'xavier' (did you mean xavier_normal"],
    );
    fails("layer-stats", &["--init", "swoosh"], 2, &["known: zeros", "he_uniform", "; JAX's: "]);
    fails(
        "layer-stats",
        &["--activation", "rleu"],
        2,
        &["unknown activation 'rleu' (did you mean relu", "known: "],
    );
    fails("init-weights", &["--shape", "w=2x2", "--preset", "gpt3"], 2, &["(did you mean gpt2?)"]);
    fails("forward-backward", &["--loss", "square"], 2, &["unknown loss 'square' (did you mean squared?)"]);
    fails("layer-stats", &["--init", "normal:std=-1"], 2, &["std = -1", "not negative"]);
    fails("layer-stats", &["--init", "normal:std=nan"], 2, &["std=nan is not a finite number"]);
    fails("symmetry", &["--init", "uniform:low=1,high=0"], 2, &["low = 1", "not above high"]);
    fails("layer-stats", &["--activation", "swoosh"], 2, &["unknown activation 'swoosh'", "known: identity"]);
    let form = "write leaky_relu:SLOPE, as leaky_relu:0.2";
    fails("layer-stats", &["--activation", "leaky_relu:nan"], 2, &["the slope is no finite number", form]);
    fails("layer-stats", &["--activation", "tanh:2"], 2, &["tanh takes no parameter"]);
    fails("forward-backward", &["--loss", "hinge"], 2, &["unknown loss 'hinge'", "cross_entropy"]);
    fails("layer-stats", &["--format", "xml"], 2, &["'xml'", "table, json, csv"]);
    fails("layer-stats", &["--dtype", "f8"], 2, &["'f8'", "f32, f64, bf16, f16"]);
    fails("layer-stats", &["--sampels", "3"], 2, &["--sampels"]);
    fails("layer-stats", &["--init", "swoosh"], 2, &["known: zeros", "he_uniform", "; JAX's: "]);
    fails("layer-stats", &["--device", "gpu"], 2, &["(did you mean cuda?)"]);
    fails("forward-backward", &["--loss", "mse"], 2, &["unknown loss 'mse' (did you mean squared?)"]);
    fails("layer-stats", &["--init", "kaiming_normal:mode=fan_inn"], 2, &["(did you mean fan_in?)"]);
    fails("layer-stats", &["--init", "normal:sdt=1"], 2, &["normal takes no sdt= (did you mean std?)"]);
}

#[test]
fn sizes_and_numbers() {
    fails("layer-stats", &["--widths", "10,0,10"], 2, &["--widths"]);
    fails("layer-stats", &["--widths", "10,x"], 2, &["'x'", "--widths"]);
    fails("layer-stats", &["--samples", "0"], 2, &["--samples"]);
    fails("layer-stats", &["--bins", "0"], 2, &["--bins"]);
    fails("layer-stats", &["--widths", "128x0"], 2, &["--widths"]);
    fails("layer-stats", &["--widths", "128x"], 2, &["'128x'", "WIDTHxLAYERS as 128x30"]);
    fails("layer-stats", &["--widths", "3x3000"], 2, &["3000 layers"]);
    let most = u64::MAX;
    fails("layer-stats", &["--widths", &format!("1x{most},1x{most}")], 2, &["layers; name 2000 at most"]);
    fails("layer-stats", &["--seeds", "0"], 2, &["--seeds"]);
    fails("layer-stats", &["--seeds", "1001"], 2, &["--seeds"]);
    fails("layer-stats", &["--seeds", "2", "--widths", "9"], 2, &["--seeds", "two --widths"]);
    fails("forward-backward", &["--hidden", "0"], 2, &["--hidden"]);
    fails("forward-backward", &["--lambda", "nan"], 2, &["--lambda is NaN"]);
    fails("matrix-product", &["--n", "0"], 2, &["--n"]);
    fails("matrix-product", &["--sigma", "0"], 2, &["--sigma is 0"]);
    fails("symmetry", &["--learning-rate", "inf"], 2, &["--learning-rate is inf"]);
    fails("forward-backward", &["--lambda", "-1"], 2, &["--lambda is -1"]);
    fails("matrix-product", &["--sigma", "-1"], 2, &["--sigma is -1"]);
    fails("layer-stats", &["--widths", &vec!["3"; 3000].join(",")], 2, &["3000 layers"]);
    fails("activation-gradient", &["--step", "0"], 2, &["--step"]);
    let few = ["--samples", "4", "--widths", "32,1", "--seeds", "5", "--no-pictures"];
    fails(
        "layer-stats",
        &few,
        2,
        &["--seeds ranks by the layers' std, and 1 of 2 layers have enough outputs"],
    );
    // What is wrong with a number, and what to write.
    for (program, option, value, said) in [
        ("layer-stats", "--samples", "many", "write a whole number from 0 on, as 1000"),
        ("layer-stats", "--samples", "0.5", "write a whole number from 0 on"),
        ("layer-stats", "--seed", "-1", "write a whole number from 0 on"),
        ("layer-stats", "--seed", "1e30", "the number is too large"),
        ("layer-stats", "--bins", "2000", "write a whole number from 1 to 1000"),
        ("layer-stats", "--bias-std", "wide", "write a number as 0.5, or a formula as 1/sqrt(2)"),
        ("activation-gradient", "--low", "-sqrt(", "write a number as 0.5"),
    ] {
        fails(program, &[option, value], 2, &[option, value, said]);
    }
    // A negative number is a value, and the error that refuses it names the option.
    fails("layer-stats", &["--samples", "-5"], 2, &["'-5'", "--samples"]);
    fails("layer-stats", &["--bins", "-1"], 2, &["'-1'", "--bins"]);
    fails("layer-stats", &["--seed", "-1"], 2, &["'-1'", "--seed"]);
    fails("layer-stats", &["--bias-std", "-1"], 2, &["--bias-std is -1"]);
    fails("phase-diagram", &["--width", "-1"], 2, &["'-1'", "--width"]);
    fails("phase-diagram", &["--sigma-b", "-1,1"], 2, &["'-1,1'", "--sigma-b", "0 ≤ LOW"]);
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
    // A run that overflows prints its result, and says what overflowed.
    let folder = tempfile::tempdir().unwrap();
    for (activation, text) in [
        ("relu", "error: J is inf: f16 overflowed"),
        ("tanh", "error: dJ/dh: a gradient is no number: f16 overflowed"),
    ] {
        let arguments =
            ["--no-pictures", "--dtype", "f16", "--init", "normal:std=1000", "--activation", activation];
        let output = failure("forward-backward", &arguments, folder.path());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(text) && stderr.lines().count() == 1, "{stderr}");
        assert!(!output.stdout.is_empty());
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
    bad("nan.csv", b"1,2\n3,NaN\n", &["line 2, column 2: 'NaN' is not a finite number"]);
    bad("inf.csv", b"1,inf\n", &["line 1, column 2: 'inf' is not a finite number"]);
    bad("empty.csv", b"", &["holds no numbers"]);
    bad("header.csv", b"a,b\n", &["holds no numbers"]);
    bad("data.txt", b"1", &[".csv, .npy or .safetensors"]);
    bad("data.csv.gz", b"\x1f\x8b", &[".csv, .npy or .safetensors"]);
    bad("german.csv", b"a;b\n1,5;2\n", &["line 2", "use --delimiter ';'"]);
    bad("holes.csv", b"a,b\n1,\n", &["line 2, column 2: '' is not a number; fill in", "--drop 2"]);
    bad("utf16.csv", b"\xff\xfe1\x00,\x002\x00", &["UTF-16"]);
    bad("labels.csv", b"a,b,kind\n1,2,red\n", &["line 2, column 3: 'red'", "--drop 3"]);
    let option = |option: &str, value: &str, part: &str| {
        let arguments = ["--no-pictures", "--data", "named.csv", option, value];
        fails_in(folder.path(), "layer-stats", &arguments, 1, &["named.csv", option, part]);
    };
    fs::write(folder.path().join("named.csv"), "a,b\n1,2\n").unwrap();
    option("--label", "c", "no column has this name; they are a, b");
    option("--drop", "a,b", "no feature is left");
    option("--drop", "3", "the numbers 1 to 2");
    fails("layer-stats", &["--label", "a"], 2, &["--data"]);
    fails("layer-stats", &["--drop", "a"], 2, &["--data"]);
    fails("layer-stats", &["--features", "4", "--label", "a"], 2, &["--label is about data", "--data"]);
    fails("layer-stats", &["--features", "4", "--decimal-comma"], 2, &["--decimal-comma is about data"]);
    fails("layer-stats", &["--init", "ones", "--init", "ones"], 2, &["--init ones is given twice"]);
    fails("layer-stats", &["--seed", "18446744073709551615", "--seeds", "2"], 2, &["beyond the last seed"]);
    fails(
        "layer-stats",
        &["--data", "digits", "--delimiter", "5"],
        2,
        &["--delimiter", "a delimiter is one character"],
    );
    bad("foreign.npy", b"not numpy at all", &["cannot read"]);
    bad("short.npy", b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 9), }     \n", &["the header says [4000000000, 9]"]);
    let header = format!("{:<69}\n", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }");
    let cut = [&b"\x93NUMPY\x01\x00\x46\x00"[..], header.as_bytes(), &[0; 47]].concat();
    bad("cut.npy", &cut, &["the header says [2, 3]", "it is cut short"]);
    bad("foreign.safetensors", b"not safetensors", &["cannot read"]);
    let beyond = ["--no-pictures", "--dtype", "f16", "--data", "beyond.csv"];
    fs::write(folder.path().join("beyond.csv"), "1,2\n3,70000\n").unwrap();
    let parts = ["'beyond.csv'", "row 2, column 2: 70000 is beyond the largest f16"];
    fails_in(folder.path(), "layer-stats", &beyond, 1, &parts);
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
    // Nobody, root included, can make a folder in a file.
    for program in ["layer-stats", "forward-backward", "activation-gradient", "matrix-product", "symmetry"] {
        let parts = ["cannot make the folder 'file/out'", "use --out DIR or --no-pictures"];
        fails_in(folder.path(), program, &["--out", "file/out"], 1, &parts);
    }
    // If a folder has the name of a picture, the folder stays, neither of the two pictures is written, and
    // the result is printed all the same.
    for taken in ["activation-gradient.svg", "activation-gradient.png"] {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join(taken)).unwrap();
        let output = failure("activation-gradient", &["--out", out.path().to_str().unwrap()], folder.path());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(taken) && stderr.contains("it is a folder"), "{stderr}");
        assert!(String::from_utf8(output.stdout).unwrap().starts_with("sigmoid"));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    }
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"kept");
}

/// candle adds a backtrace to its errors if RUST_BACKTRACE is set; the message stays one line.
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
