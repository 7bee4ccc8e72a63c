//! Runs that are written, stopped, resumed and replayed.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// The bytes of what a run leaves: its log, its weights, its newest checkpoint.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut checkpoints: Vec<PathBuf> =
        fs::read_dir(folder.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    let plain =
        ["log.jsonl", "best.safetensors", "last.safetensors", "model.json"].map(|name| folder.join(name));
    let all = plain.into_iter().chain(checkpoints.pop());
    all.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect()
}

const LONG: [&str; 8] =
    ["--widths", "300,300", "--epochs", "60", "--device", "cpu", "--no-pictures", "--every=50"];

/// SIGTERM ends the step and writes a checkpoint, from which the run goes on to the bytes of one that nobody
/// disturbed; the result is printed once more.
#[cfg(unix)]
#[test]
fn a_signal_stops_a_run_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let result = command("train", &LONG).arg("--run").arg(&whole).assert().success().get_output().clone();
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut child = std::process::Command::new(support::path("train"))
            .args(LONG)
            .args(["--resume", "--run"])
            .arg(&parts)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The first steps are done when the log has bytes.
        let log = parts.join("log.jsonl");
        let before = fs::metadata(&log).map_or(0, |about| about.len());
        while fs::metadata(&log).map_or(0, |about| about.len()) <= before
            && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            // The run was over before the signal.
            continue;
        }
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains("stopped after step") && stderr.contains("--resume"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    for _ in 0..2 {
        let resumed = command("train", &LONG)
            .args(["--resume", "--run"])
            .arg(&parts)
            .assert()
            .success()
            .get_output()
            .clone();
        assert!(resumed.stdout == result.stdout);
        assert!(files(&whole) == files(&parts));
    }
}

/// A run that is stopped before its first validation has no best weights, and says so by its exit code alone.
#[cfg(unix)]
#[test]
fn a_run_may_stop_before_its_first_validation() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    let mut child = std::process::Command::new(support::path("train"))
        .args(LONG)
        .args(["--validate-every", "1000000", "--run"])
        .arg(&run)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !run.join("checkpoints/step-000000000050.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the program has ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{stderr}");
}

/// A folder that was killed before its first checkpoint starts at step 0, and one without a run may be resumed.
#[test]
fn a_folder_without_a_checkpoint_starts_at_step_0() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let options = ["--epochs", "2", "--device", "cpu", "--no-pictures", "--resume", "--run"];
    command("train", &options).arg(&whole).assert().success();
    fs::create_dir_all(parts.join("checkpoints")).unwrap();
    fs::write(parts.join("log.jsonl"), "{\"kind\":\"ru").unwrap();
    fs::write(parts.join("checkpoints/.wick-1-abcdef"), "half").unwrap();
    command("train", &options).arg(&parts).assert().success();
    assert!(files(&whole) == files(&parts));
    assert!(!parts.join("checkpoints/.wick-1-abcdef").exists());
}

/// A step is run again to the bit, with the rows that it saw.
#[test]
fn a_step_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_string_lossy().into_owned();
    let options = ["--epochs", "3", "--run", &run];
    json("train", &options);
    for step in ["0", "57"] {
        let replayed = json("train", &[&options[..], &["--replay", step]].concat());
        assert_eq!(
            (&replayed["loss"], replayed["samples"].as_array().unwrap().len()),
            (&replayed["logged_loss"], 32)
        );
        assert_eq!(replayed["layers"].as_array().unwrap().len(), 2);
    }
    let text = support::stdout("train", &[&options[..], &["--replay", "57"]].concat());
    assert!(text.contains("the log has the same loss, to the bit"), "{text}");
}

/// Several starts have a folder each, and the same batches: the losses of the same start are the same.
#[test]
fn starts_have_folders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_string_lossy().into_owned();
    let both = ["--epochs", "2", "--init", "he_normal", "--init", "normal:std=0.5", "--run", &run];
    let result = json("train", &both);
    let alone = json("train", &["--epochs", "2", "--init", "normal:std=0.5"]);
    assert_eq!(result["runs"][1]["history"], alone["runs"][0]["history"]);
    for name in ["he_normal", "normal_std=0.5"] {
        assert!(folder.path().join(name).join("best.safetensors").exists(), "{name}");
    }
}

/// Micro-batches change no bit, and the number of threads neither.
#[test]
fn accumulation_and_threads_change_nothing() {
    let run = |extra: &[&str], threads: &str| {
        let folder = tempfile::tempdir().unwrap();
        let options = ["--epochs", "3", "--leaves", "8", "--device", "cpu", "--no-pictures", "--run"];
        command("train", &options)
            .arg(folder.path())
            .args(extra)
            .env("RAYON_NUM_THREADS", threads)
            .assert()
            .success();
        files(folder.path())
    };
    let whole = run(&[], "2");
    for (extra, threads) in
        [(&[][..], "1"), (&["--accumulate", "2"][..], "2"), (&["--accumulate", "8"][..], "1")]
    {
        assert!(run(extra, threads) == whole, "{extra:?} {threads}");
    }
}

/// Weights to start from: those that another run left.
#[test]
fn a_run_starts_from_weights() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_string_lossy().into_owned();
    let first = json("train", &["--epochs", "5", "--run", &run]);
    let weights = folder.path().join("last.safetensors");
    let options = ["--epochs", "1", "--weights", weights.to_str().unwrap()];
    let second = json("train", &options);
    let loss = |result: &Value, place: usize| result["runs"][0]["history"][place]["loss"].as_f64().unwrap();
    assert!(loss(&second, 0) < loss(&first, 2), "{first} {second}");
    let error = support::failure("train", &[&options[..], &["--widths", "5"]].concat(), folder.path());
    let error = String::from_utf8(error.stderr).unwrap();
    assert!(error.contains("layer_0.weight"), "{error}");
}

/// A damaged checkpoint is told of, and the run goes on from the one before.
#[test]
fn a_damaged_checkpoint_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    let options = ["--epochs", "2", "--every", "30", "--no-pictures", "--device", "cpu", "--resume", "--run"];
    command("train", &options).arg(&run).assert().success();
    let whole = files(&run);
    let newest = run.join("checkpoints/step-000000000080.safetensors");
    let mut bytes = fs::read(&newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let output = command("train", &options).arg(&run).assert().success().get_output().clone();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("the file is damaged; the run goes on from"), "{stderr}");
    assert!(files(&run) == whole);
}

/// Of several starts, one that overflows is a row of the result; alone, it is an error.
#[test]
fn a_start_that_diverges_is_a_result() {
    let net = ["--widths", "100x30", "--epochs", "8"];
    let starts = ["--init", "normal:std=10", "--init", "he_normal"];
    let result = json("train", &[&net[..], &starts].concat());
    let runs = &result["runs"];
    assert_eq!((&runs[0]["ended"], &runs[1]["ended"]), (&"diverged".into(), &"finished".into()));
    assert!(runs[0]["error"].as_str().unwrap().contains("step 0: the loss is NaN"), "{}", runs[0]["error"]);
    assert!(runs[0]["steps_to_threshold"].is_null() && runs[1]["test"]["accuracy"].as_f64() > Some(0.3));
    command("train", &net).args(&starts[..2]).args(["--no-pictures", "--device", "cpu"]).assert().code(1);
}

/// The second signal ends the program at once, by that signal, without a temporary file.
#[cfg(unix)]
#[test]
fn the_second_signal_ends_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    // A step takes seconds.
    let options = ["--widths", "5000x4", "--batch", "1000", "--no-pictures", "--device", "cpu", "--run"];
    let mut child = std::process::Command::new(support::path("train"))
        .args(options)
        .arg(&run)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !run.join("model.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the program has ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(300));
    let begun = std::time::Instant::now();
    // SIGINT is ignored by what a shell has put into its background.
    for _ in 0..2 {
        std::process::Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(15), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Best weights with another bit are damaged for a run that goes on, and for predict.
#[test]
fn damaged_weights_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    let options = ["--epochs", "2", "--no-pictures", "--device", "cpu", "--resume", "--run"];
    command("train", &options).arg(&run).assert().success();
    let flip = |name: &str| {
        let mut bytes = fs::read(run.join(name)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(run.join(name), bytes).unwrap();
    };
    flip("best.safetensors");
    fs::write(run.join("model.json"), "{").unwrap();
    let fails = |program: &str, arguments: &[&str], part: &str| {
        let output = command(program, arguments).arg("--run").arg(&run).assert().code(1).get_output().clone();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(part), "{stderr}");
    };
    fails("predict", &["--data", "digits"], "model.json' is damaged: train --resume");
    fails(
        "train",
        &options[..6],
        "best.safetensors': its contents do not have its hash: the file is damaged",
    );
    // The description is written again.
    fails("predict", &["--data", "digits"], "best.safetensors': its contents do not have its hash");
    command("predict", &["--data", "digits", "--weights", "last", "--run"]).arg(&run).assert().success();
}

/// A folder of another run is not begun anew, even if its checkpoints are gone; a checkpoint can be a start.
#[test]
fn other_runs_stay_and_checkpoints_are_starts() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("r");
    let options = ["--epochs", "1", "--no-pictures", "--device", "cpu", "--run"];
    command("train", &options).arg(&run).assert().success();
    let checkpoint = run.join("checkpoints/step-000000000040.safetensors");
    command("train", &["--epochs", "1", "--no-pictures", "--device", "cpu", "--weights"])
        .arg(&checkpoint)
        .assert()
        .success();
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let before = fs::read(run.join("log.jsonl")).unwrap();
    let other =
        command("train", &options).arg(&run).args(["--resume", "--optimizer", "sgd"]).assert().code(2);
    let stderr = String::from_utf8(other.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("it has optimizer = adamw:lr=0.002, and this run sgd"), "{stderr}");
    fs::write(run.join("log.jsonl"), "hi\n").unwrap();
    let foreign = command("train", &options).arg(&run).arg("--resume").assert().code(2);
    let stderr = String::from_utf8(foreign.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("it is no log of a run"), "{stderr}");
    fs::write(run.join("log.jsonl"), before).unwrap();
    command("train", &options).arg(&run).arg("--resume").assert().success();
}
