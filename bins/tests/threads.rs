//! Limits of the system: without threads the programs run on the one that they have, and without memory they end
//! with one line.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod support;
#[path = "programs/table.rs"]
#[allow(dead_code)] // This file uses a part of the table.
mod table;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use table::{Depends, PROGRAMS};

/// Copies a program to where every user can run it.
fn copied(folder: &Path, program: &str) -> PathBuf {
    let copy = folder.join(program);
    fs::copy(support::path(program), &copy).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    copy
}

/// Runs a program whose user may have this number of processes and threads; root is exempt from such limits, so that
/// as root the program runs as another user. `None` if the machine lacks the tools for it.
fn with_few_threads(folder: &Path, program: &Path, processes: usize, arguments: &[&str]) -> Option<Output> {
    let mut words: Vec<&str> = Vec::new();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        words.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let limit = format!("--nproc={processes}:{processes}");
    words.extend(["prlimit", &limit]);
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(folder).env("RAYON_NUM_THREADS", "4");
        command
    };
    if !run(&[&words[..], &["true"]].concat()).output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let device = if program.ends_with("init-weights") { &[][..] } else { &["--device", "cpu"] };
    let program = [program.to_str().unwrap()];
    // Another test that forks while the copy was written holds it open for writing until it runs its program.
    for _ in 0..100 {
        let output = run(&[&words[..], &program, device, arguments].concat()).output().unwrap();
        if !String::from_utf8_lossy(&output.stderr).contains("Text file busy") {
            return Some(output);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the copy of the program is held open for writing")
}

/// Every program, and its pictures, too.
#[test]
fn without_threads_programs_run_on_one() {
    let init_weights = ["--shape", "a.weight=30x20", "--init", "orthogonal", "--out", "w.safetensors"];
    let programs = PROGRAMS.iter().map(|program| (program.name, program.small, program.depends));
    for (program, arguments, depends) in programs.chain([("init-weights", &init_weights[..], Depends::Seed)])
    {
        let folder = tempfile::tempdir().unwrap();
        let arguments = [arguments, &["--format", "json"]].concat();
        let copy = copied(folder.path(), program);
        let Some(output) = with_few_threads(folder.path(), &copy, 0, &arguments) else {
            eprintln!("left out: no setpriv or prlimit on this machine");
            return;
        };
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{program}: {stderr}");
        assert!(stderr.starts_with("warning: the system grants 0 of 4 threads"), "{program}: {stderr}");
        if program == "init-weights" {
            assert!(folder.path().join("w.safetensors").exists());
        } else {
            assert!(folder.path().join(format!("out/{program}.png")).exists(), "{program}");
        }
        if program != "init-weights" && depends != Depends::Clock {
            let expected = support::stdout(program, &arguments);
            assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{program}");
        }
    }
}

/// At sizes where candle would start threads of its own: none are granted, or those of rayon's pool and no
/// more, or some of candle's.
#[test]
fn at_large_sizes_candle_starts_no_thread_that_is_refused() {
    let layer_stats = ["--no-pictures"];
    let symmetry = ["--hidden", "500", "--steps", "2", "--no-pictures"];
    let gradient = ["--step", "1e-5", "--no-pictures"];
    let bf16 = ["--no-pictures", "--dtype", "bf16"];
    let programs: [(&str, &[&str]); 4] = [
        ("layer-stats", &layer_stats),
        ("symmetry", &symmetry),
        ("activation-gradient", &gradient),
        ("layer-stats", &bf16),
    ];
    for (program, arguments) in programs {
        let folder = tempfile::tempdir().unwrap();
        let copy = copied(folder.path(), program);
        // The program has one process; its pool has four threads.
        for processes in [0, 5, 6] {
            let Some(output) = with_few_threads(folder.path(), &copy, processes, arguments) else {
                eprintln!("left out: no setpriv or prlimit on this machine");
                return;
            };
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{program}, {processes} processes: {stderr}");
        }
    }
}

/// More threads than sixteen for each core are not started.
#[test]
fn an_absurd_number_of_threads_is_cut() {
    let arguments = ["--samples", "50", "--features", "10", "--widths", "10x2", "--no-pictures"];
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        let assert = support::command("layer-stats", &arguments).env(variable, "100000").assert().success();
        let stderr = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        let cut = "warning: RAYON_NUM_THREADS = 100000 is too many for a machine of ";
        assert_eq!(stderr.starts_with(cut), variable.starts_with("RAYON"), "{stderr}");
    }
}

/// Runs a program whose address space is limited to a number of KiB.
fn with_memory(kib: usize, folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\"")]).arg(support::path(program));
    command.args(arguments).current_dir(folder).env("RAYON_NUM_THREADS", "1").output().unwrap()
}

/// A size that the limit on the address space does not allow is refused before it is asked for, or ends in one
/// line. Nothing aborts.
#[test]
fn a_limit_on_memory_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let programs: [(&str, &[&str]); 5] = [
        ("init-weights", &["--shape", "a=20000x20000", "--init", "ones", "--out", "w.safetensors"]),
        ("layer-stats", &["--widths", "9000x4", "--no-pictures", "--samples", "10"]),
        ("symmetry", &["--hidden", "200000", "--no-pictures"]),
        ("matrix-product", &["--n", "5000", "--no-pictures"]),
        ("forward-backward", &["--hidden", "9000", "--features", "9000", "--batch", "5", "--no-pictures"]),
    ];
    for (program, arguments) in programs {
        let output = with_memory(900_000, folder.path(), program, arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap_or_default();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{program}: {:?} {stderr}", output.status);
        assert!(last.starts_with("error: ") && last.contains(" of memory"), "{program}: {stderr}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{program}");
    }
}

/// What is allocated beside the large sizes is refused at some of these limits, in the middle of the pictures,
/// too.
#[test]
fn memory_that_is_refused_is_no_abort() {
    let refused = (14_000..70_000).step_by(2000).filter(|kib| {
        let folder = tempfile::tempdir().unwrap();
        let output = with_memory(*kib, folder.path(), "activation-gradient", &["--out", "out"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        // With 127, the program itself does not fit.
        assert!(matches!(output.status.code(), Some(0 | 1 | 2 | 127)), "{kib}: {:?} {stderr}", output.status);
        let files = fs::read_dir(folder.path().join("out")).map_or(0, Iterator::count);
        let all = if output.status.success() { 2 } else { 0 };
        assert_eq!(files, all, "{kib}: {stderr}");
        stderr.contains("error: the system refuses ")
    });
    assert!(refused.count() > 0);
}
