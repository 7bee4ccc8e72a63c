//! What is refused, each in one line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{command, failure, json as json_of, stdout};

/// A comparison of two runs of each of two starts.
const TINY: &[&str] =
    &["--nets", "4x2", "--rates", "1", "--seeds", "2", "--start", "lecun_normal", "--start", "zeros"];

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--start", "zeros", "--start", "zeros"][..], "--start zeros is given twice"),
        (&["--start", "xavir_normal"], "did you mean xavier_normal"),
        (&["--start", "preset:torhc"], "unknown preset 'torhc' (did you mean torch?)"),
        (&["--nets", "8x2,8-8"], "--nets names the net 8-8 twice"),
        (&["--nets", "0x2"], "a net is 1x1 or more"),
        (&["--nets", "64x20000"], "take 10000 at most"),
        (&["--nets", "1000000x5"], "of memory"),
        (&["--steps", "0"], "--steps is 0, and must be 1 or more"),
        (&["--steps", "1e15"], "--steps is 1000000000000000, and a run has 100000000 at most"),
        (&["--every", "10", "--steps", "5"], "--every is 10, and a run has 5 steps"),
        (&["--every", "500"], "--every is 500, and a run has 400 steps"),
        (&["--batch", "5000"], "--batch is 5000, and there are 1258 samples to train on"),
        (&["--seeds", "1"], "--seeds is 1, and one run is nothing to compare"),
        (&["--bias-std", "-1"], "--bias-std is -1, and a standard deviation is 0 or more"),
        (&["--bias-std", "1", "--no-bias"], "cannot be used with"),
        (&["--bias-std", "1", "--start", "preset:torch"], "preset:torch has biases of its own"),
        (&["--norm", "batch", "--bias-std", "1"], "cannot be used with"),
        (&["--norm", "batch", "--batch", "1"], "batch norm takes two samples or more"),
        (&["--norm", "batch", "--batch", "419"], "the last batch of 1258 samples has one"),
        (&["--nested", "--rates", "1"], "--nested tunes the rate of each run, and --rates is 1"),
        (&["--rates", "0"], "write a whole number from 1 to 25"),
        (&["--alpha", "1"], "--alpha is 1, and must be above 0 and below 1"),
        (&["--threshold", "nan"], "a threshold is not finite"),
        (&["--threshold", "2"], "--threshold is 2, and an accuracy and an R² are 1 at most"),
        (&["--threshold", "0"], "--threshold is 0, and every run has that accuracy"),
        (&["--threshold", "-1"], "--threshold is -1, and every run has that accuracy"),
        (&["--loss-threshold", "-1"], "--loss-threshold is -1, and no loss is below 0"),
        (&["--threshold", "0.5", "--loss-threshold", "1"], "cannot be used with"),
        (&["--validation", "0"], "--validation is 0: give --loss-threshold"),
        (&["--device", "cuda:1"], "--device is cuda:1, and compare trains small nets"),
        (&["--shard", "7/6"], "not K/N with 1 ≤ K ≤ N"),
        (&["--shard", "1/4"], "--shard is of 4 parts, and there are 3 to give away"),
        (&["--merge", "a.json", "--steps", "3"], "cannot be used with"),
        (&["--validation", "0", "--loss-threshold", "1", "--every", "5"], "--every is about validations"),
        (&["--synthetic", "linear:outputs=1000000000"], "more than 2^30 numbers in a layer"),
        (&["--synthetic", "teacher:width=40000,samples=9,test=9"], "weights has more than 2^30 numbers"),
        (&["--synthetic", "teacher:depth=2000"], "more than 1000 hidden layers"),
        (&["--synthetic", "mnist"], "did you mean mnist1d?"),
        (&["--synthetic", "linear", "--data", "digits"], "cannot be used with"),
        (&["--optimizer", "adam"], "did you mean adamw?"),
        (
            &["--optimizer", "sgd:lr=1e308"],
            "lr=1e308, and the 5 learning rates around it are not all above 0, finite",
        ),
        (&["--optimizer", "adamw:lr=0"], "lr=0, and the 5 learning rates around it are not all above 0"),
        (&["--optimizer", "sgd:lr=5e-324"], "and the 5 learning rates around it are not all above 0"),
        (&["--optimizer", "adamw:lr=0", "--rates", "1"], "at a learning rate of 0 nothing is trained"),
        (&["--schedule", "cosin"], "did you mean cosine?"),
    ] {
        let output =
            command("compare", &["--no-pictures"]).args(arguments).current_dir(folder.path()).output();
        let output = output.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
        assert!(output.stdout.is_empty());
    }
    let missing = command("compare", &["--merge", "a.json"]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(missing.stderr).unwrap();
    assert!(missing.status.code() == Some(1) && stderr.contains("cannot open a.json"), "{stderr}");
}

/// A device or a pipe is no file of runs: it is refused before it is read, and nothing is left beside it.
#[cfg(unix)]
#[test]
fn runs_are_kept_in_a_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [Path::new("/dev/zero"), Path::new("/dev/full"), &pipe, folder.path()] {
        let mut command = command("compare", &[TINY, &["--no-pictures", "--runs"]].concat());
        // It ends a program that waits; nothing is asserted about the time.
        let output = command.arg(path).timeout(Duration::from_secs(60)).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{path:?}: {stderr}");
        assert!(stderr.contains("it is no regular file: give another name"), "{stderr}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// Each number of a merged file that this program cannot have written is named, and is refused before anything goes by it.
#[test]
fn merged_numbers_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let whole = json_of("compare", &[TINY, &["--steps", "20"]].concat());
    let merge = |value: &Value| {
        fs::write(folder.path().join("part.json"), value.to_string()).unwrap();
        command("compare", &["--merge", "part.json", "--no-pictures"])
            .current_dir(folder.path())
            .timeout(Duration::from_secs(60))
            .output()
            .unwrap()
    };
    assert!(merge(&whole).status.success());
    for (pointer, value, part) in [
        (
            "/experiment/runs",
            json!(1_000_000_000_000_000u64),
            "1000000000000000 runs of each start, and 1000 is the most",
        ),
        ("/experiment/tuning_runs", json!(u64::MAX), "tuning runs of each start, and 100 is the most"),
        ("/experiment/rates", json!(vec![0.1; 26]), "26 learning rates of each start, and 25 is the most"),
        ("/experiment/rates", json!([0.0]), "its learning rates are not all above 0"),
        ("/experiment/rates", json!([0.1, 0.1]), "its learning rates are not all above 0, finite and rising"),
        ("/experiment/steps", json!(u64::MAX), "and 100000000 is the most"),
        ("/runs/0/course/reached", json!(21), "a run reached the threshold after its end"),
    ] {
        let mut changed = whole.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let output = merge(&changed);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{pointer}: {stderr}");
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
    }
}

/// Where no --every is given, a run of fewer than 10 steps is validated at its end.
#[test]
fn short_runs_are_validated_at_their_end() {
    for (steps, every) in [("5", 5), ("30", 10)] {
        let result = json_of("compare", &[TINY, &["--steps", steps]].concat());
        assert_eq!(result["experiment"]["every"], every);
        let history = result["runs"][0]["course"]["history"].as_array().unwrap();
        assert_eq!(history.iter().map(|point| point["step"].as_u64().unwrap()).min(), Some(every));
    }
}

/// A rate of 1e300 is one, and the header has its exponent in place of 300 digits.
#[test]
fn headers_have_exponents() {
    let table = stdout("compare", &[TINY, &["--steps", "5", "--optimizer", "sgd:lr=1e300"]].concat());
    assert!(table.contains("sgd:lr=1e300, batch 32") && !table.contains(&"0".repeat(20)), "{table}");
}

/// The deepest nets that are accepted are trained: candle goes through a graph by recursion.
#[test]
fn the_deepest_nets_are_trained() {
    let deep = |norm: &str| {
        let options = [
            "--nets", "2x10000", "--norm", norm, "--steps", "1", "--rates", "1", "--seeds", "2", "--start",
            "zeros",
        ];
        json_of("compare", &options)["runs"].as_array().unwrap().len()
    };
    assert_eq!([deep("batch"), deep("none")], [2, 2]);
    let folder = tempfile::tempdir().unwrap();
    let output = failure("compare", &["--nets", "2x10001", "--no-pictures"], folder.path());
    assert!(String::from_utf8(output.stderr).unwrap().contains("take 10000 at most"));
}
