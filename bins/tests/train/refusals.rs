//! What is refused, each in one line.

use super::*;

fn fails(folder: &Path, arguments: &[&str], code: i32, part: &str) {
    let output = command("train", &["--no-pictures", "--device", "cpu"])
        .args(arguments)
        .current_dir(folder)
        .assert()
        .failure();
    let output = output.get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(code), 1), "{arguments:?}: {stderr}");
    assert!(stderr.contains(part), "{part} is not in: {stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--batch", "0"][..], "--batch is 0, and must be 1 or more"),
        (&["--batch", "2000"], "--batch is 2000, and there are 1258 samples to train on: take fewer"),
        (&["--epochs", "0"], "--epochs is 0"),
        (&["--optimizer", "adamw:lr=nan"], "lr=nan is not a finite number"),
        (&["--optimizer", "adam"], "did you mean adamw?"),
        (&["--schedule", "cosin"], "did you mean cosine?"),
        (&["--leaves", "3"], "leaves = 3 is no power of two"),
        (&["--leaves", "2", "--accumulate", "4"], "do not divide the 2 leaves"),
        (&["--ema", "1"], "--ema is 1, and must be 0 or more and below 1"),
        (&["--clip", "0"], "write a number above 0"),
        (&["--resume"], "--run"),
        (&["--init", "zeros", "--init", "zeros"], "--init zeros is given twice"),
        (&["--widths", "0"], "--widths are 1 or more"),
        (&["--widths", "10000000"], "of memory"),
    ] {
        fails(folder.path(), arguments, 2, part);
    }
}

/// A run that another process writes, one that is there already, and one with other options.
#[test]
fn runs_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let run = ["--epochs", "1", "--run", "r"];
    command("train", &run)
        .args(["--no-pictures", "--device", "cpu"])
        .current_dir(folder.path())
        .assert()
        .success();
    fails(folder.path(), &run, 2, "'r' has a run already: go on with --resume");
    let resume = ["--run", "r", "--resume", "--epochs"];
    fails(
        folder.path(),
        &[&resume[..], &["2"]].concat(),
        2,
        "it has length = 1 epochs, and this run 2 epochs",
    );
    let other = [&resume[..], &["1", "--widths", "9"]].concat();
    fails(folder.path(), &other, 2, "it has net = 64-256-10 relu, and this run 64-9-10 relu");
    let other = [&resume[..], &["1", "--init", "he_normal"]].concat();
    fails(folder.path(), &other, 2, "it has start = xavier_normal, and this run he_normal");
    fails(folder.path(), &["--run", "r", "--epochs", "1", "--replay", "40"], 2, "there is no step 40");
    fails(folder.path(), &["--run", "none", "--replay", "4"], 2, "--run has none");

    let held = wick_train::RunFolder::open(folder.path().join("r")).unwrap();
    fails(folder.path(), &[&resume[..], &["1"]].concat(), 1, "is being written by another process");
    drop(held);
}

/// A run that diverges names the step and what to do; the last good checkpoint stays.
#[test]
fn a_run_that_diverges_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let run = ["--optimizer", "sgd:lr=1e20", "--run", "r", "--every", "1"];
    let output = command("train", &run)
        .args(["--no-pictures", "--device", "cpu"])
        .current_dir(folder.path())
        .assert()
        .failure();
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("lower the learning rate") && stderr.contains("step "), "{stderr}");
}
