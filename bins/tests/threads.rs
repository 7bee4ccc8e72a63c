//! Without threads the programs run on the one that they have.

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

/// Runs a program whose user may start no further process or thread; root is exempt from such limits, so that
/// as root the program runs as another user. `None` if the machine lacks the tools for it.
fn without_threads(folder: &Path, program: &Path, arguments: &[&str]) -> Option<Output> {
    let mut words: Vec<&str> = Vec::new();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        words.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    words.extend(["prlimit", "--nproc=0:0"]);
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
    Some(run(&[&words[..], &program, device, arguments].concat()).output().unwrap())
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
        let Some(output) = without_threads(folder.path(), &copy, &arguments) else {
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
