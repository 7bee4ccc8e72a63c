//! A signal during a write ends the process, and leaves the old file and no temporary one.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The child of the tests below waits in the middle of a write until a signal comes.
#[test]
fn stands_still_while_it_writes() {
    let Some(path) = std::env::var_os("WICK_FILES_TEST") else { return };
    wick_files::remove_temporaries_on_signals();
    let result = wick_files::write_with(path, |out| {
        out.write_all(&vec![1; 1 << 20])?;
        println!("\nwriting");
        std::thread::sleep(Duration::from_secs(
            u64::from(std::env::var_os("WICK_FILES_SHORT").is_none()) * 59 + 1,
        ));
        Ok(())
    });
    result.unwrap();
}

/// How the child ends when it gets a signal while it writes.
fn end_by(signal: i32, path: &Path, is_ignored: bool) -> ExitStatus {
    let ignoring = if is_ignored { format!("trap '' {signal}; ") } else { String::new() };
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{ignoring}exec \"$0\" --exact stands_still_while_it_writes --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env("WICK_FILES_TEST", path)
        .stdout(Stdio::piped());
    if is_ignored {
        command.env("WICK_FILES_SHORT", "1");
    }
    // A test that runs in the background of a shell ignores some signals, and its children would too.
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(signal, libc::SIG_DFL);
            Ok(())
        })
    };
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap).skip_while(|line| line != "writing");
    assert_eq!(lines.next().as_deref(), Some("writing"));
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        2,
        "the old file and the temporary one"
    );
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    // A child that writes on needs a reader.
    lines.for_each(drop);
    child.wait().unwrap()
}

#[test]
fn a_signal_leaves_no_temporary_file_and_ends_the_process() {
    for signal in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGXCPU,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        assert_eq!(end_by(signal, &path, false).signal(), Some(signal));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "signal {signal}");
    }
}

/// `nohup` starts programs with `SIGHUP` ignored.
#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    assert!(end_by(libc::SIGHUP, &path, true).success());
    assert_eq!(fs::read(&path).unwrap().len(), 1 << 20);
}

/// The child writes 1 MiB, and may write a tenth of it.
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -f 100; exec \"$0\" --exact stands_still_while_it_writes --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env("WICK_FILES_TEST", &path)
        .env("WICK_FILES_SHORT", "1");
    let output = command.output().unwrap();
    let text = format!("{output:?}");
    // The child's test fails, and no signal ends it.
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("raise the limit on the size of files (ulimit -f)"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A process that exits in the middle of a write drops nothing.
#[test]
fn exits_while_it_writes() {
    let Some(path) = std::env::var_os("WICK_FILES_EXIT_TEST") else { return };
    let result = wick_files::write_with(path, |out| {
        out.write_all(&vec![1; 1 << 20])?;
        wick_files::remove_temporaries();
        std::process::exit(7);
    });
    result.unwrap();
}

#[test]
fn an_exit_can_leave_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "exits_while_it_writes"]).env("WICK_FILES_EXIT_TEST", &path);
    assert_eq!(command.output().unwrap().status.code(), Some(7));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
