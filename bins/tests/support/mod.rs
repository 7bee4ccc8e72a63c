//! Runs the programs.

#![allow(dead_code)] // Each test file uses some of these.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

/// The path of a program: in the folder that `WICK_PROGRAMS` names, or where cargo built it.
pub(crate) fn path(program: &str) -> PathBuf {
    match std::env::var_os("WICK_PROGRAMS") {
        Some(folder) => Path::new(&folder).join(program),
        None => {
            let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
            Path::new(env!("CARGO_BIN_EXE_layer-stats")).with_file_name(name)
        }
    }
}

pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(path(program));
    command.args(arguments).env_remove("RUST_BACKTRACE");
    command
}

/// Runs a program on the CPU without pictures, and returns its stdout. The test fails if the program does.
pub(crate) fn stdout(program: &str, arguments: &[&str]) -> String {
    let assert = command(program, arguments).args(["--device", "cpu", "--no-pictures"]).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

pub(crate) fn json(program: &str, arguments: &[&str]) -> Value {
    let text = stdout(program, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn failure(program: &str, arguments: &[&str], folder: &Path) -> Output {
    command(program, arguments).current_dir(folder).assert().failure().get_output().clone()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}
