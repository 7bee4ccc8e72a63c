//! Paths that name an open file of the process: its contents stay, and so does what is written to it later.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use wick_files::write;

/// The child of the test below: prints before and after it writes, as a program with `--out /dev/stdout`. The
/// first print stays in the buffer of stdout, because it ends no line.
#[test]
fn prints_and_writes() {
    let Some(path) = std::env::var_os("WICK_FILES_TEST") else { return };
    print!("before, ");
    write(path, b"within, ").unwrap();
    println!("after");
}

/// `program > file` opens the file without append.
#[test]
fn what_is_printed_before_and_after_a_write_to_stdout_stays() {
    let folder = tempdir().unwrap();
    let [link, second] = ["link", "second"].map(|name| folder.path().join(name));
    symlink("/dev/stdout", &link).unwrap();
    symlink("link", &second).unwrap();
    for stdout in [Path::new("/dev/stdout"), Path::new("/dev/fd/1"), &link, &second] {
        for is_append in [false, true] {
            let file = folder.path().join("file");
            let open = OpenOptions::new().create(true).write(true).append(is_append).open(&file).unwrap();
            open.set_len(0).unwrap();
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "prints_and_writes", "--nocapture"])
                .env("WICK_FILES_TEST", stdout)
                .stdout(open)
                .status();
            assert!(status.unwrap().success());
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains("before, within, after\n"), "{} gives {text:?}", stdout.display());
            assert!(text.contains("test result: ok"), "{} gives {text:?}", stdout.display());
        }
    }
    assert!([&link, &second].iter().all(|link| link.is_symlink()));
}

#[test]
fn an_open_file_is_written_where_the_process_is_in_it() {
    let folder = tempdir().unwrap();
    for is_append in [true, false] {
        let path = folder.path().join(format!("append-{is_append}"));
        let mut open = OpenOptions::new().create(true).write(true).append(is_append).open(&path).unwrap();
        open.write_all(b"before, ").unwrap();
        write(format!("/dev/fd/{}", open.as_raw_fd()), b"within").unwrap();
        open.write_all(b", after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before, within, after", "append: {is_append}");
    }
}

/// A socket or a pipe without a name cannot be opened by a path on each system.
#[test]
fn a_socket_is_written_into() {
    let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    write(format!("/dev/fd/{}", writer.as_raw_fd()), b"through").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

#[test]
fn a_descriptor_that_cannot_be_written_is_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let reading = File::open(&path).unwrap();
    for number in [reading.as_raw_fd(), 999_999] {
        let error = write(format!("/dev/fd/{number}"), b"new").unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write '/dev/fd/{number}': ")), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    /// Other links of `/proc` lead to folders, in which files are as elsewhere.
    #[test]
    fn a_file_below_proc_that_is_no_descriptor_is_replaced() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file");
        let by_root = format!("/proc/self/root{}", path.display());
        for bytes in [b"one", b"two"] {
            write(&by_root, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn all_paths_of_a_descriptor_are_known() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file");
        let mut open = File::create(&path).unwrap();
        let (number, id) = (open.as_raw_fd(), std::process::id());
        let folders = ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd", "/dev/../proc/self/fd"];
        for folder in folders.map(str::to_owned).into_iter().chain([format!("/proc/{id}/fd")]) {
            write(format!("{folder}/{number}"), b"a").unwrap();
            open.write_all(b"b").unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), b"ab".repeat(5));
    }
}
