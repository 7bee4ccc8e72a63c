//! A run that is disturbed at any operation of the file system, and goes on: it leaves byte for byte what the run
//! leaves that nobody disturbed.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod disk;
mod subject;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use disk::{Data, Disk, FAULTS, Fault, Forgotten, Names, Tree};
use subject::{EVERY, STEPS, difference, files, train};
use wick_files::faults::Operation;
use wick_train::{Ended, Error, RunFolder};

/// A folder, and the run in it. The folder of the run is made by the run.
fn place() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    (root, run)
}

/// What the undisturbed run leaves, and its operations.
fn undisturbed() -> (Tree, Vec<String>) {
    let (root, run) = place();
    let disk = Disk::new(root.path(), Fault::None, 0, |_| false);
    let outcome = train(&run).unwrap();
    assert_eq!((outcome.steps, outcome.ended, outcome.notices.len()), (STEPS, Ended::Finished, 0));
    (files(root.path()), disk.end().operations)
}

/// Whether an error is one line that names a file or a folder of the run and the system's reason.
fn is_clear(error: &Error, reason: &str) -> bool {
    let text = error.to_string();
    text.lines().count() == 1 && text.contains("/run") && text.contains(reason)
}

/// Disturbs a run at an operation, lets it go on, and says what is wrong with it.
fn disturbed(expected: &Tree, fault: Fault, at: usize, forgotten: Forgotten) -> Result<(), String> {
    let (root, run) = place();
    let disk = Disk::new(root.path(), fault, at, forgotten);
    let first = train(&run);
    let seen = disk.end();
    match (fault, &first) {
        (Fault::Short, Err(error)) => return Err(format!("a short write ends the run: {error}")),
        (Fault::Full, Err(error)) if !is_clear(error, "No space left on device") => {
            return Err(format!("'{error}' is not clear"));
        }
        (Fault::Error, Err(error)) if !is_clear(error, "error") => {
            return Err(format!("'{error}' is not clear"));
        }
        (_, Err(error)) if error.to_string().contains('\n') => return Err(format!("{error:?}")),
        _ => (),
    }
    // Nothing is synced that the model does not know of, and the test need not wait for the real disk.
    let disk = Disk::new(root.path(), Fault::None, 0, |_| false);
    let outcome = train(&run).map_err(|error| error.to_string())?;
    disk.end();
    let began = outcome.steps - outcome.steps_here;
    if began < seen.durable {
        return Err(format!("it goes on from step {began}, and {} was on the disk", seen.durable));
    }
    if let Some(notice) = outcome.notices.first() {
        return Err(notice.clone());
    }
    match difference(expected, &files(root.path())) {
        Some(path) => Err(format!("{path} differs")),
        None => Ok(()),
    }
}

/// Every fault at every operation of the run.
#[test]
fn a_run_that_is_disturbed_is_the_undisturbed_one() {
    let (expected, operations) = undisturbed();
    let count = |word: &str| operations.iter().filter(|text| text.starts_with(word)).count();
    // A checkpoint after each 3 steps and at the end, each with a sync of the log and of the file before the rename.
    let checkpoints = STEPS.div_ceil(EVERY) as usize;
    let into = |folder: &str| {
        let renames = operations.iter().filter(|text| text.starts_with("rename"));
        renames.filter(|text| text.contains(&format!(" to {folder}"))).count()
    };
    assert_eq!((into("run/checkpoints/"), into("run/last")), (checkpoints, 1), "{operations:#?}");
    assert_eq!(count("sync run"), checkpoints + count("rename"), "{operations:#?}");
    assert_eq!(count("remove"), checkpoints - 2);
    assert!(count("write") >= checkpoints + count("rename"));
    let writes = |text: &str| text.starts_with("write");
    let takes_space = |text: &str| writes(text) || text.starts_with("make");
    let at_every_operation = |faults: &[Fault]| {
        for (at, operation) in operations.iter().enumerate() {
            for fault in faults {
                let is_met = match fault {
                    Fault::Short => writes(operation),
                    Fault::Full => takes_space(operation),
                    _ => true,
                };
                let found = if is_met { disturbed(&expected, *fault, at, |_| false) } else { Ok(()) };
                if let Err(wrong) = found {
                    panic!("{fault:?} at operation {at}, {operation}: {wrong}");
                }
            }
        }
    };
    let (some, others) = FAULTS.split_at(FAULTS.len() / 2);
    thread::scope(|scope| {
        scope.spawn(|| at_every_operation(some));
        at_every_operation(others);
    });
}

/// A run is disturbed, and disturbed again while it goes on.
#[test]
fn a_run_that_is_disturbed_twice_is_the_undisturbed_one() {
    let (expected, operations) = undisturbed();
    for fault in FAULTS.into_iter().filter(|fault| !matches!(fault, Fault::Short | Fault::Error)) {
        for first in (0..operations.len()).step_by(11) {
            let (root, run) = place();
            // The second plan begins where the first one ended, at the operations of a run that goes on.
            for at in [first, (first * 5 + 3) % 29] {
                let disk = Disk::new(root.path(), fault, at, |_| false);
                let _ = train(&run);
                disk.end();
            }
            let outcome = train(&run).unwrap();
            assert_eq!((outcome.ended, outcome.notices.len()), (Ended::Finished, 0), "{fault:?} {first}");
            assert_eq!(difference(&expected, &files(root.path())), None, "{fault:?} {first}");
        }
    }
}

/// A sync that is missing, of the log, of a checkpoint or of the folder, is seen by the tests above.
#[test]
fn a_sync_that_is_missing_is_seen() {
    let (expected, operations) = undisturbed();
    let forgotten: [(&str, Forgotten); 3] = [
        ("log", |operation| matches!(operation, Operation::Sync(path) if path.ends_with("log.jsonl"))),
        (
            "checkpoint",
            |operation| matches!(operation, Operation::Sync(path) if path.parent().unwrap().ends_with("checkpoints")),
        ),
        (
            "folder",
            |operation| matches!(operation, Operation::SyncFolder(path) if path.ends_with("checkpoints")),
        ),
    ];
    for (name, forgotten) in forgotten {
        let cut = |data, names| {
            let wrong = |at| disturbed(&expected, Fault::PowerCut(data, names), at, forgotten).is_err();
            (0..operations.len()).filter(|at| wrong(*at)).count()
        };
        assert!(cut(Data::Lost, Names::Lost) > operations.len() / 2, "{name}");
        // A kill alone loses nothing that the system has.
        let killed = |at| disturbed(&expected, Fault::Kill, at, forgotten);
        assert!((0..operations.len()).step_by(9).all(|at| killed(at).is_ok()), "{name}");
    }
}

/// A run that was killed in the middle.
fn half_done() -> (tempfile::TempDir, PathBuf, Tree) {
    let (expected, operations) = undisturbed();
    let at =
        operations.iter().position(|text| text.contains(" to run/checkpoints/step-000000000015")).unwrap();
    let (root, run) = place();
    let disk = Disk::new(root.path(), Fault::Kill, at, |_| false);
    train(&run).unwrap_err();
    disk.end();
    let steps: Vec<u64> =
        RunFolder::open(&run).unwrap().checkpoints().unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [12, 9]);
    (root, run, expected)
}

/// A checkpoint that was torn is left aside, and is not taken for the one before when the run has passed it.
#[test]
fn a_torn_checkpoint_is_left_aside() {
    let (root, run, expected) = half_done();
    let newest = run.join("checkpoints/step-000000000012.safetensors");
    let whole = fs::read(&newest).unwrap();
    for kept in [0, 7, whole.len() / 3, whole.len() - 1] {
        fs::write(&newest, &whole[..kept]).unwrap();
        let (copy, other) = place();
        copy_all(&run, &other);
        let outcome = train(&other).unwrap();
        assert_eq!((outcome.steps_here, outcome.notices.len()), (STEPS - 9, 1), "{:?}", outcome.notices);
        assert!(outcome.notices[0].contains("step-000000000012.safetensors"), "{:?}", outcome.notices);
        assert_eq!(difference(&expected, &files(copy.path())), None);
    }
    // One that no step of the run writes again: it is removed as soon as the run has passed it.
    fs::rename(&newest, run.join("checkpoints/step-000000000013.safetensors")).unwrap();
    assert_eq!(train(&run).unwrap().notices.len(), 1);
    assert_eq!(difference(&expected, &files(root.path())), None);
}

/// A log that was cut goes on from the checkpoint that it reaches; without one nothing is trained.
#[test]
fn a_log_that_is_not_whole_is_found() {
    let (root, run, expected) = half_done();
    let log = run.join("log.jsonl");
    let whole = fs::read(&log).unwrap();
    let at = |step: &str| whole.windows(step.len()).position(|part| part == step.as_bytes()).unwrap();
    fs::write(&log, &whole[..at("\"step\":11")]).unwrap();
    let (copy, other) = place();
    copy_all(&run, &other);
    let outcome = train(&other).unwrap();
    assert_eq!((outcome.steps_here, outcome.notices.len()), (STEPS - 9, 1), "{:?}", outcome.notices);
    assert!(outcome.notices[0].contains("log.jsonl"), "{:?}", outcome.notices);
    assert_eq!(difference(&expected, &files(copy.path())), None);

    // A log of another content is refused, whatever its length.
    let mut other = whole.clone();
    other[at("\"step\":3")] ^= 1;
    fs::write(&log, other).unwrap();
    let error = train(&run).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }) && is_clear(&error, "log.jsonl"), "{error}");

    fs::remove_file(&log).unwrap();
    let error = train(&run).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }) && is_clear(&error, "log.jsonl"), "{error}");
    drop(root);
}

/// The best weights belong to the checkpoint, and the last ones can be had from it.
#[test]
fn weights_that_are_gone_are_found() {
    let (_root, run, _) = half_done();
    fs::write(run.join("best.safetensors"), b"torn").unwrap();
    let error = train(&run).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }) && is_clear(&error, "best.safetensors"), "{error}");

    let (expected, _) = undisturbed();
    let (root, run) = place();
    train(&run).unwrap();
    for content in [Some(b"torn".as_slice()), None] {
        fs::remove_file(run.join("last.safetensors")).unwrap();
        if let Some(content) = content {
            fs::write(run.join("last.safetensors"), content).unwrap();
        }
        assert_eq!(train(&run).unwrap().steps_here, 0);
        assert_eq!(difference(&expected, &files(root.path())), None);
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("checkpoints")).unwrap();
    for (path, content) in disk::read(from) {
        if let Some(content) = content {
            fs::write(to.join(path.strip_prefix(from).unwrap()), content).unwrap();
        }
    }
}
