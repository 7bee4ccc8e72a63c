//! Every program at small size: each format, the same bytes for the same seed, and its pictures.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod support;

use serde_json::Value;
use support::{command, json, stdout};

/// Each program with arguments that keep it small.
const SMALL: [(&str, &[&str]); 6] = [
    ("layer-stats", &["--samples", "300", "--features", "200", "--widths", "150,100,50"]),
    ("forward-backward", &["--batch", "7", "--hidden", "9"]),
    ("activation-gradient", &["--activation", "mish", "--activation", "hardtanh"]),
    ("matrix-product", &["--trials", "3", "--factors", "20"]),
    ("symmetry", &["--steps", "5", "--hidden", "4"]),
    ("phase-diagram", &["--grid", "3x2", "--width", "40", "--depth", "8", "--samples", "4"]),
];

#[test]
fn the_same_seed_gives_the_same_bytes_with_one_thread_and_with_two() {
    for (program, arguments) in SMALL {
        let run = |threads: &str, seed: &str| {
            let arguments =
                [arguments, &["--device", "cpu", "--no-pictures", "--format", "json", "--seed", seed]]
                    .concat();
            let assert = command(program, &arguments).env("RAYON_NUM_THREADS", threads).assert().success();
            assert.get_output().stdout.clone()
        };
        let two = run("2", "7");
        assert_eq!(two, run("2", "7"), "{program}: twice");
        assert_eq!(two, run("1", "7"), "{program}: one thread and two");
        if program != "activation-gradient" {
            assert_ne!(two, run("2", "8"), "{program}: another seed");
        }
    }
}

/// The full size of the first program, whose products are large enough to be split among threads.
#[test]
fn layer_stats_at_full_size_is_the_same_with_one_thread() {
    let run = |threads: &str| {
        let arguments = ["--device", "cpu", "--no-pictures", "--format", "json", "--init", "xavier_normal"];
        let assert = command("layer-stats", &arguments).env("RAYON_NUM_THREADS", threads).assert().success();
        assert.get_output().stdout.clone()
    };
    assert_eq!(run("1"), run("2"));
}

#[test]
fn every_program_prints_csv_with_a_row_for_everything() {
    let rows = [9, 7, 320, 63, 12, 6];
    for ((program, arguments), rows) in SMALL.into_iter().zip(rows) {
        let text = stdout(program, &[arguments, &["--format", "csv"]].concat());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().unwrap().len();
        let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), rows, "{program}");
        assert!(records.iter().all(|record| record.len() == columns), "{program}");
    }
}

/// What is not known is empty, and what theory predicts is called so, in every table for programs.
#[test]
fn csv_has_no_nan_and_names_predictions() {
    let rows = |program: &str, arguments: &[&str]| {
        let text = stdout(program, &[arguments, &["--format", "csv"]].concat());
        assert!(!text.contains("NaN") && !text.contains("inf"), "{program}: {text}");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        (header, rows)
    };
    // Identity matrices have no law, and those of 1e20 overflow.
    for init in ["identity", "constant:value=1e20"] {
        let small = ["--samples", "20", "--features", "9", "--widths", "9,9", "--activation", "relu"];
        let (header, rows) = rows("layer-stats", &[&small[..], &["--init", init]].concat());
        let at = |name: &str| header.iter().position(|column| column == name).unwrap();
        assert_eq!((&rows[0][at("predicted_std")], &rows[0][at("predicted_backward_low")]), ("", ""));
        assert!(init != "identity" || !rows[1][at("backward_rms")].is_empty());
        assert_eq!(rows[1][at("std")].is_empty(), init != "identity");
    }
    // σ_b = 0 and a ReLU: no length, no correlation; and where lengths grow for ever, nothing.
    let plane = ["--activation", "relu", "--sigma-w", "1,3", "--grid", "2x2", "--width", "9", "--depth", "4"];
    let (header, rows) = rows("phase-diagram", &plane);
    assert_eq!(header[2..5], ["predicted_q", "predicted_c", "predicted_chi_1"]);
    assert_eq!((&rows[0][2], &rows[0][3], &rows[0][6]), ("0", "", ""));
    assert!((rows[0][4].parse::<f64>().unwrap() - 0.5).abs() < 1e-12, "{:?}", rows[0]);
    assert_eq!((&rows[1][2], &rows[1][4], &rows[1][7]), ("", "", ""));
}

/// The keys of the JSON are promised in bins/README.md.
#[test]
fn the_json_has_the_keys_that_are_promised() {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let at = |program: &str, pointer: &str| {
        let arguments = SMALL.iter().find(|(name, _)| *name == program).unwrap().1;
        keys(json(program, arguments).pointer(pointer).unwrap())
    };
    for (program, pointer, expected) in [
        ("layer-stats", "", "experiment runs"),
        (
            "layer-stats",
            "/experiment",
            "activation bias_std data device dtype features samples seed standardized",
        ),
        ("layer-stats", "/runs/0", "faults init layers verdict"),
        ("layer-stats", "/runs/0/layers/0", "backward fan_in fan_out forward name predicted"),
        (
            "layer-stats",
            "/runs/0/layers/0/predicted",
            "backward_high backward_low backward_rms std std_high std_low",
        ),
        ("layer-stats", "/runs/0/layers/0/forward", "histogram max mean min saturated std"),
        ("layer-stats", "/runs/0/layers/0/forward/histogram", "counts high low"),
        ("layer-stats", "/runs/0/layers/0/backward", "mean rms std"),
        ("forward-backward", "", "checks loss network objective penalty values"),
        (
            "forward-backward",
            "/network",
            "activation batch device dtype features hidden init lambda loss outputs seed",
        ),
        ("forward-backward", "/values/0", "name shape values"),
        ("forward-backward", "/checks/0", "autograd compared finite_difference name shape"),
        ("phase-diagram", "", "cells critical experiment"),
        (
            "phase-diagram",
            "/experiment",
            "activation depth device dtype grid samples seed sigma_b sigma_w width",
        ),
        ("phase-diagram", "/critical/0", "q sigma_b sigma_w"),
        ("phase-diagram", "/cells/0", "at measured predicted sigma_b sigma_w"),
        ("phase-diagram", "/cells/0/measured", "c chi_1 q"),
        ("phase-diagram", "/cells/0/predicted", "c chi_1 q xi_c xi_grad xi_q"),
        ("activation-gradient", "", "curves device dtype"),
        ("activation-gradient", "/curves/0", "activation gradient max_difference value x"),
        (
            "matrix-product",
            "",
            "device dtype factors first n overflow_at predicted product seed sigma trials",
        ),
        ("matrix-product", "/product", "exponent matrix"),
        ("matrix-product", "/trials/0", "log10_norm log10_row_norm overflow_at"),
        ("matrix-product", "/predicted", "high log10_row_norm low"),
        ("symmetry", "", "experiment runs"),
        (
            "symmetry",
            "/experiment",
            "activation device dtype features hidden learning_rate outputs samples seed steps",
        ),
        ("symmetry", "/runs/0", "accuracy init loss spread"),
    ] {
        assert_eq!(at(program, pointer), expected, "{program} {pointer}");
    }
    let layer = &json("layer-stats", SMALL[0].1)["runs"][0]["layers"][0];
    assert_eq!((layer["name"].as_str(), layer["fan_in"].as_u64()), (Some("layer_0"), Some(200)));
    let counts = layer["forward"]["histogram"]["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 300 * 150);
}

#[test]
fn every_program_draws_its_picture_where_it_is_told() {
    for (program, arguments) in SMALL {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        command(program, arguments).args(["--device", "cpu", "--out"]).arg(&out).assert().success();
        let mut files: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, [format!("{program}.png"), format!("{program}.svg")]);
        let svg = std::fs::read_to_string(out.join(&files[1])).unwrap();
        assert!(svg.ends_with("</svg>\n") && svg.contains("<text"), "{program}");

        let nowhere = tempfile::tempdir().unwrap();
        command(program, arguments)
            .args(["--device", "cpu", "--no-pictures"])
            .current_dir(nowhere.path())
            .assert()
            .success();
        assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0, "{program}");
    }
}

#[test]
fn every_type_and_a_reader_that_goes_away() {
    for dtype in ["f64", "bf16", "f16"] {
        for (program, arguments) in SMALL {
            stdout(program, &[arguments, &["--dtype", dtype]].concat());
        }
    }
    // `program | true`: the pipe is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_activation-gradient"))
        .args(["--no-pictures", "--format", "json"])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn help_has_an_example() {
    for (program, _) in SMALL {
        let assert = command(program, &["--help"]).assert().success();
        let help = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        assert!(help.contains("Examples:") && help.contains("--device"), "{program}: {help}");
        command(program, &["--version"]).assert().success();
    }
}

/// Parts, joined, are the whole: the same bytes. A missing part, one given twice and a foreign one are refused.
#[test]
fn parts_of_a_phase_diagram_join_to_the_whole() {
    let small = SMALL[5].1;
    let folder = tempfile::tempdir().unwrap();
    let parts: Vec<String> = (1..=3)
        .map(|k| {
            let path = folder.path().join(format!("{k}.json"));
            let shard = format!("{k}/3");
            let text = stdout("phase-diagram", &[small, &["--shard", &shard, "--format", "json"]].concat());
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let whole = stdout("phase-diagram", &[small, &["--format", "json"]].concat());
    let merge = |files: &[&str]| {
        let arguments = [&["--merge"], files, &["--format", "json", "--no-pictures"]].concat();
        let output = command("phase-diagram", &arguments).output().unwrap();
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if output.status.success() { Ok(out) } else { Err(error) }
    };
    let [a, b, c] = [&parts[0], &parts[1], &parts[2]].map(String::as_str);
    assert_eq!(merge(&[c, a, b]), Ok(whole));
    assert!(merge(&[a, b]).unwrap_err().contains("2 of 6 cells are missing, [2, 0] first"));
    assert!(merge(&[a, b, b, c]).unwrap_err().contains("in two of the files"));
    let other =
        stdout("phase-diagram", &[small, &["--seed", "7", "--shard", "3/3", "--format", "json"]].concat());
    let foreign = folder.path().join("foreign.json");
    std::fs::write(&foreign, other).unwrap();
    assert!(merge(&[a, b, foreign.to_str().unwrap()]).unwrap_err().contains("is of another experiment"));
}

/// Times differ from run to run; all else is promised. Without a GPU it says what is missing.
#[test]
fn device_bench_measures_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let arguments =
        ["--batch", "1,8", "--width", "16,32", "--runs", "1", "--device", "cpu", "--format", "json"];
    let assert =
        command("device-bench", &arguments).args(["--out", out.to_str().unwrap()]).assert().success();
    let result: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&result), "checks crossovers depth left_out measured missing peaks seed");
    assert_eq!(result["missing"], "only the CPU was asked for");
    // Three jobs of four sizes each, and drawing for two widths.
    let rows = result["measured"].as_array().unwrap();
    assert_eq!(rows.len(), 14);
    assert_eq!(keys(&rows[0]), "batch gflops job ms on share speedup transfer_ms width");
    for row in rows {
        let (ms, gflops) = (row["ms"].as_f64().unwrap(), row["gflops"].as_f64().unwrap());
        let (batch, width) = (row["batch"].as_f64().unwrap(), row["width"].as_f64().unwrap());
        let product = 2.0 * batch * width * width;
        let operations = match row["job"].as_str().unwrap() {
            "product" => product,
            "forward" => 4.0 * product,
            "training" => 12.0 * product,
            _ => width * width,
        };
        assert!(ms > 0.0 && (gflops * ms * 1e6 / operations - 1.0).abs() < 1e-9, "{row}");
    }
    assert_eq!(std::fs::read_dir(out).unwrap().count(), 2);
}
