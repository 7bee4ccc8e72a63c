//! Every program at small size: each format, the same bytes for the same seed, and its pictures.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod single;
#[path = "../support/mod.rs"]
mod support;
mod table;

use serde_json::Value;
use support::{command, json, stdout};
use table::{Depends, PROGRAMS, Program};

/// A new program has its row. `init-weights` and `predict` take other options and have tests of their own.
#[test]
fn every_program_is_in_the_table() {
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin")).unwrap();
    let mut built: Vec<_> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    built.sort();
    let mut listed: Vec<_> =
        PROGRAMS.iter().map(|program| program.name).chain(["init-weights", "predict"]).collect();
    listed.sort_unstable();
    assert_eq!(built, listed);
}

/// Every program has its section in the README of the programs.
#[test]
fn every_program_is_described() {
    let readme = include_str!("../../README.md");
    for Program { name, .. } in PROGRAMS {
        assert!(readme.contains(&format!("\n### {name}\n")), "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_one_thread_and_with_two() {
    for Program { name, small, depends, .. } in PROGRAMS {
        if *depends == Depends::Clock {
            continue;
        }
        let run = |threads: &str, seed: &str| {
            let arguments =
                [small, &["--device", "cpu", "--no-pictures", "--format", "json", "--seed", seed][..]]
                    .concat();
            let assert = command(name, &arguments).env("RAYON_NUM_THREADS", threads).assert().success();
            assert.get_output().stdout.clone()
        };
        let two = run("2", "7");
        assert_eq!(two, run("2", "7"), "{name}: twice");
        assert_eq!(two, run("1", "7"), "{name}: one thread and two");
        assert_eq!(two == run("2", "8"), *depends == Depends::Arguments, "{name}: another seed");
    }
}

#[test]
fn every_program_prints_csv_with_a_row_for_everything() {
    for Program { name, small, rows, .. } in PROGRAMS {
        let text = stdout(name, &[small, &["--format", "csv"][..]].concat());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().unwrap().len();
        let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), *rows, "{name}");
        assert!(records.iter().all(|record| record.len() == columns), "{name}");
    }
}

/// The keys of the JSON are promised in bins/README.md.
#[test]
fn the_json_has_the_keys_that_are_promised() {
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    for Program { name, small, keys, .. } in PROGRAMS {
        let result = json(name, small);
        for (pointer, expected) in *keys {
            assert_eq!(names(result.pointer(pointer).unwrap()), *expected, "{name} {pointer}");
        }
    }
}

#[test]
fn every_program_draws_its_picture_where_it_is_told() {
    for Program { name, small, .. } in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        command(name, small).args(["--device", "cpu", "--out"]).arg(&out).assert().success();
        let mut files: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, [format!("{name}.png"), format!("{name}.svg")]);
        let svg = std::fs::read_to_string(out.join(&files[1])).unwrap();
        assert!(svg.ends_with("</svg>\n") && svg.contains("<text"), "{name}");

        let nowhere = tempfile::tempdir().unwrap();
        command(name, small)
            .args(["--device", "cpu", "--no-pictures"])
            .current_dir(nowhere.path())
            .assert()
            .success();
        assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn every_type_and_a_reader_that_goes_away() {
    for dtype in ["f64", "bf16", "f16"] {
        for Program { name, small, .. } in PROGRAMS.iter().filter(|program| program.depends != Depends::Clock)
        {
            stdout(name, &[small, &["--dtype", dtype][..]].concat());
        }
    }
    // As in `program | true`, the pipe is closed before anything is written.
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
    for Program { name, .. } in PROGRAMS {
        let assert = command(name, &["--help"]).assert().success();
        let help = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        assert!(help.contains("Examples:") && help.contains("--device"), "{name}: {help}");
        command(name, &["--version"]).assert().success();
    }
}
