//! Modes, owners and groups: of new files, of replaced ones, and of the temporary files meanwhile.

#![cfg(unix)]
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;
use wick_files::{write, write_with};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A command that runs one test of a test program in a process of its own, where `WICK_FILES_TEST` names a
/// file.
fn child(program: &Path, umask: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("umask {umask}; exec \"$0\" --exact writes_where_it_is_told")])
        .arg(program)
        .env("WICK_FILES_TEST", path)
        .stdout(Stdio::null());
    command
}

fn succeeds(mut command: Command) {
    assert!(command.status().unwrap().success());
}

/// The child of the tests below: writes a file and checks the mode of the temporary file on the way. While an
/// old file is replaced, no other user reads the temporary file, not even one of the group.
#[test]
fn writes_where_it_is_told() {
    let Some(path) = std::env::var_os("WICK_FILES_TEST") else { return };
    let path = Path::new(&path);
    let allowed = if path.exists() { mode(path) & 0o700 } else { 0o666 };
    write_with(path, |out| {
        let names = fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
        let is_temporary = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(".wick-");
        let now = mode(&names.into_iter().find(|path| is_temporary(path)).unwrap());
        assert_eq!(now & !allowed, 0, "the temporary file has mode {now:o}");
        out.write_all(b"new")
    })
    .unwrap();
}

#[test]
fn a_new_file_has_the_mode_that_the_umask_leaves() {
    for (umask, expected) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file");
        succeeds(child(&std::env::current_exe().unwrap(), umask, &path));
        assert_eq!(mode(&path), expected, "umask {umask}");
    }
}

#[test]
fn an_old_file_keeps_its_mode_whatever_the_umask() {
    for (umask, kept) in [("022", 0o600), ("000", 0o600), ("077", 0o664), ("022", 0o604), ("000", 0o4755)] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        set_mode(&path, kept);
        succeeds(child(&std::env::current_exe().unwrap(), umask, &path));
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (kept, b"new".to_vec()), "umask {umask}");
    }
}

/// An old file of root's is replaced by a user in a folder of the user's. The user has the group of the file
/// or another; the last column is the mode of the new file.
#[test]
fn the_rights_of_an_owner_or_a_group_that_is_not_kept_are_dropped() {
    const USER: u32 = 65_534;
    const GROUP: u32 = 65_533;
    const OTHER: u32 = 65_532;
    let folder = tempdir().unwrap();
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        eprintln!("skipped: only root makes files of other users");
        return;
    }
    set_mode(folder.path(), 0o755);
    // The user may not reach the folder in which the test was built. This process never has the copy open for
    // writing, so that a fork of another test cannot keep it busy.
    let program = folder.path().join("program");
    let mut copy = Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&program);
    succeeds(copy);
    set_mode(&program, 0o755);
    for (gid, old, new) in [
        (GROUP, 0o6775, 0o775),
        (GROUP, 0o660, 0o660),
        (OTHER, 0o6777, 0o777),
        (OTHER, 0o662, 0o622),
        (OTHER, 0o2676, 0o666),
    ] {
        let of_user = folder.path().join(format!("{gid}-{old:o}"));
        fs::create_dir(&of_user).unwrap();
        let path = of_user.join("file");
        fs::write(&path, "old").unwrap();
        chown(&path, Some(0), Some(GROUP)).unwrap();
        set_mode(&path, old);
        chown(&of_user, Some(USER), Some(OTHER)).unwrap();
        let mut command = child(&program, "022", &path);
        command.uid(USER).gid(gid).current_dir("/");
        succeeds(command);
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.uid(), file.gid()), (USER, gid));
        assert_eq!(mode(&path), new, "{old:o} as group {gid} is {:o}", mode(&path));
    }
}

/// A file that its owner may not write is not replaced, and neither is one in a folder that takes no new file.
/// As root, the test runs as another user.
#[test]
fn what_may_not_be_written_is_named_and_left() {
    const USER: u32 = 65_534;
    let folder = tempdir().unwrap();
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    set_mode(folder.path(), 0o755);
    let program = folder.path().join("program");
    let mut copy = Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&program);
    succeeds(copy);
    for (of_folder, of_file, part) in [
        (0o755, 0o444, "file': the file is there and you may not write to it; allow that (chmod u+w)"),
        (0o555, 0o644, "file': its folder '"),
        (0o555, 0o644, "folder' takes no temporary file: Permission denied"),
    ] {
        let inner = folder.path().join("folder");
        fs::create_dir(&inner).unwrap();
        let path = inner.join("file");
        fs::write(&path, "old").unwrap();
        set_mode(&path, of_file);
        set_mode(&inner, of_folder);
        let mut command = child(&program, "022", &path);
        if is_root {
            chown(&path, Some(USER), Some(USER)).unwrap();
            chown(&inner, Some(USER), Some(USER)).unwrap();
            command.uid(USER).gid(USER).current_dir("/");
        }
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let text = format!("{output:?}");
        assert!(!output.status.success() && text.replace("\\'", "'").contains(part), "{text}");
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"old".to_vec(), of_file));
        set_mode(&inner, 0o755);
        fs::remove_dir_all(&inner).unwrap();
    }
}

#[test]
fn of_hard_links_the_named_one_is_replaced() {
    let folder = tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    fs::write(&one, "old").unwrap();
    fs::hard_link(&one, &two).unwrap();
    write(&one, b"new").unwrap();
    assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"new".to_vec(), b"old".to_vec()));
}

/// Root keeps owner, group and mode of a file of another user.
#[test]
fn an_owner_and_a_group_that_can_be_kept_are_kept_with_the_mode() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    if fs::metadata(&path).unwrap().uid() != 0 {
        eprintln!("skipped: only root makes files of other users");
        return;
    }
    chown(&path, Some(65_534), Some(65_533)).unwrap();
    set_mode(&path, 0o6750);
    write(&path, b"new").unwrap();
    let file = fs::metadata(&path).unwrap();
    assert_eq!((file.uid(), file.gid(), mode(&path)), (65_534, 65_533, 0o6750));
}
