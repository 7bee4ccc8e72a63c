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
        (&["--accumulate", "3"], "--accumulate is 3, and must be a power of two"),
        (&["--leaves", "64"], "64 leaves are more than a batch of 32 has samples"),
        (&["--validation", "0", "--patience", "3"], "--patience is about a validation"),
        (&["--ema", "0.9", "--optimizer", "schedule_free"], "averages the weights itself"),
        (&["--init", "normal:std=1/2", "--init", "normal:std=1*2"], "would have the folder of another one"),
        (&["--widths", "1000000000"], "of memory"),
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
    fails(folder.path(), &run, 2, "'r' has a run already (log.jsonl): go on with --resume");
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
    fails(folder.path(), &other, 2, "it has start = xavier_normal, and this run kaiming_normal");
    fails(folder.path(), &["--run", "r", "--epochs", "1", "--replay", "40"], 2, "there is no step 40");
    fails(folder.path(), &["--run", "none", "--replay", "4"], 2, "--run has none");
    let replay = ["--run", "r", "--epochs", "1", "--replay", "4"];
    fails(folder.path(), &[&replay[..], &["--seed", "7"]].concat(), 2, "it has");

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

/// Data that cannot be trained on: the file, the place and the remedy are named.
#[test]
fn data_that_do_not_do_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let rows = |label: &dyn Fn(usize) -> String| -> String {
        (0..40).map(|n| format!("{n},{},{}\n", n * n % 7, label(n))).collect()
    };
    let good = rows(&|n| format!("class{}", n % 2));
    write("good.csv", &format!("a,b,label\n{good}"));
    write("unlabelled.csv", &format!("a,b,c\n{}", rows(&|n| (n % 3).to_string())));
    write("text.csv", &format!("a,b,colour,label\n{}", rows(&|n| format!("red,class{}", n % 2))));
    write("empty.csv", "");
    write("header.csv", "a,b,label\n");
    write("nan.csv", &format!("a,b,label\n1,nan,class0\n{good}"));
    write("hole.csv", &format!("a,b,label\n1,,class0\n{good}"));
    write("other-class.csv", "a,b,label\n1,2,class0\n3,4,class2\n");
    write("one-class.csv", &format!("a,b,label\n{}", rows(&|_| "same".to_owned())));
    fs::write(folder.path().join("latin.csv"), b"a,label\n1,caf\xe9\n2,tea\n").unwrap();
    write("no-label.csv", "a,b,label\n1,2,class0\n3,4,\n");
    for (data, extra, code, part) in [
        ("unlabelled.csv", &[][..], 1, "has no column that is known to hold labels"),
        ("good.csv", &["--label", "colour"], 1, "no column has this name"),
        ("text.csv", &[], 1, "'red' is not a number"),
        ("empty.csv", &[], 1, "empty.csv"),
        ("header.csv", &[], 1, "header.csv"),
        ("nan.csv", &[], 1, "line 2, column 2"),
        ("hole.csv", &[], 1, "--missing mean"),
        ("good.csv", &["--test", "other-class.csv"], 1, "class2"),
        ("one-class.csv", &[], 1, "two classes or more are needed"),
        ("no-label.csv", &[], 1, "no-label.csv"),
        ("missing.csv", &[], 1, "missing.csv"),
        ("latin.csv", &[], 1, "the label is no UTF-8; save the file as UTF-8"),
        ("good.csv", &["--test", "1"], 2, "test"),
        ("good.csv", &["--validation", "0.9"], 2, "validation"),
        ("good.csv", &["--test-labels", "x.csv"], 2, "--test"),
        ("good.csv", &["--labels", "missing.npy", "--drop", "label"], 1, "missing.npy"),
    ] {
        fails(folder.path(), &[&["--data", data][..], extra].concat(), code, part);
    }
    // The hole is filled by the mean of the training part, and the run goes on with the same data alone.
    let run = ["--missing", "mean", "--epochs", "1", "--run", "r", "--batch", "8", "--data"];
    let quiet = ["--no-pictures", "--device", "cpu"];
    let filled = [&run[..], &["hole.csv"], &quiet].concat();
    command("train", &filled).current_dir(folder.path()).assert().success();
    let other = [&run[..], &["good.csv", "--resume"]].concat();
    fails(folder.path(), &other, 2, "is of another run");
}

/// A limit on the size of files, as a disk that is full: one line that names the file, and a folder from which the
/// run goes on.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let train = support::path("train");
    let options = "--epochs 2 --run r --resume --every 1 --no-pictures --device cpu";
    let script = format!("ulimit -f 64; '{}' {options}", train.display());
    let output =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("cannot write 'r/"), "{stderr}");
    let resumed = command("train", &options.split(' ').collect::<Vec<_>>())
        .current_dir(folder.path())
        .assert()
        .success();
    let options = ["--epochs", "2", "--no-pictures", "--device", "cpu"];
    let undisturbed = command("train", &options).current_dir(folder.path()).assert().success();
    assert!(resumed.get_output().stdout == undisturbed.get_output().stdout);
}
