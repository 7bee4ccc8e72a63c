//! train and predict: what they write, what they say, how they go on, and what they refuse.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod predict;
mod refusals;
mod runs;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{command, json};

/// The default run is what the README says of it: the median accuracy over ten seeds.
#[test]
fn digits_are_read_right() {
    let accuracy = |seed: u64| {
        let result = json("train", &["--seed", &seed.to_string()]);
        assert_eq!(result["experiment"]["test_samples"], 359);
        result["runs"][0]["test"]["accuracy"].as_f64().unwrap()
    };
    let mut all: Vec<f64> = (1..=10).map(accuracy).collect();
    all.sort_by(f64::total_cmp);
    assert!((all[4] + all[5]) / 2.0 >= 0.975, "{all:?}");
}

/// The lecture's three starts of a deep tanh net: one converges, and two do not reach 90 %.
#[test]
fn the_start_decides_who_converges() {
    let options = ["--widths", "100x10", "--activation", "tanh", "--epochs", "10"];
    let starts = ["--init", "normal:std=0.01", "--init", "normal:std=1", "--init", "xavier_normal"];
    let result = json("train", &[&options[..], &starts[..]].concat());
    let steps: Vec<&Value> =
        result["runs"].as_array().unwrap().iter().map(|run| &run["steps_to_threshold"]).collect();
    assert!(steps[0].is_null() && steps[1].is_null() && steps[2].as_u64() < Some(200), "{steps:?}");
}

/// A table whose label is a line of the features: regression finds it, and tells its errors in the label's units.
fn line(folder: &Path) -> String {
    let mut text = "a,b,value\n".to_owned();
    for n in 0..200 {
        let (a, b) = (f64::from(n % 20), f64::from((n * 7) % 13));
        text += &format!("{a},{b},{}\n", 1000.0 + 30.0 * a - 20.0 * b);
    }
    let path = folder.join("line.csv");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn regression_has_the_units_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = line(folder.path());
    let options =
        ["--data", &data, "--label", "value", "--task", "regress", "--widths", "32", "--epochs", "200"];
    let result = json("train", &options);
    let test = &result["runs"][0]["test"];
    // The labels have a standard deviation of about 190.
    assert!(test["mae"].as_f64().unwrap() < 5.0 && test["r2"].as_f64().unwrap() > 0.999, "{test}");
}

#[test]
fn help_and_formats() {
    let help = command("predict", &["--help"]).assert().success().get_output().stdout.clone();
    assert!(String::from_utf8(help).unwrap().contains("Examples:"));
}
