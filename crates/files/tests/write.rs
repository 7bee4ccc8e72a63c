//! What a write leaves: contents, modes, links, devices, and nothing where it fails.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::tempdir;
use wick_files::{FileSet, check_folder, write, write_all, write_with};

fn names(folder: &Path) -> Vec<String> {
    let name = |file: io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn folders_are_made_and_files_replaced() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a/b/file");
    write(&path, b"one").unwrap();
    write_with(&path, |out| out.write_all(b"two")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(path.parent().unwrap()), ["file"]);
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    write(&path, b"old").unwrap();
    let error = write_with(&path, |out| {
        out.write_all(&vec![7; 1 << 20])?;
        Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is full"))
    });
    let expected = "the disk is full; free some space or choose another place";
    assert_eq!(error.unwrap_err().to_string(), format!("cannot write '{}': {expected}", path.display()));
    assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["file".into()]));
}

#[test]
fn of_several_files_all_are_written_or_none() {
    let folder = tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let files = [(one.clone(), b"1".to_vec()), (two.clone(), b"2".to_vec())];
    fs::create_dir(&two).unwrap();
    let error = write_all(&files).unwrap_err();
    assert!(error.to_string().contains("two': it is a folder"), "{error}");
    assert_eq!(names(folder.path()), ["two"]);
    fs::remove_dir(&two).unwrap();
    write_all(&files).unwrap();
    assert_eq!((fs::read(one).unwrap(), fs::read(two).unwrap()), (b"1".to_vec(), b"2".to_vec()));
}

#[test]
fn a_folder_is_checked_before_it_is_needed() {
    let folder = tempdir().unwrap();
    check_folder(folder.path().join("a/b")).unwrap();
    assert_eq!(names(&folder.path().join("a/b")), [""; 0]);
    write(folder.path().join("file"), b"").unwrap();
    for error in [check_folder(folder.path().join("file/b")), write(folder.path().join("file/b/c"), b"")]
        .map(Result::unwrap_err)
    {
        let text = error.to_string();
        assert!(text.contains("file/b"), "{text}");
        assert!(text.starts_with("cannot make the folder '"), "{text}");
        assert!(text.contains(": a file stands where a folder is needed"), "{text}");
    }
}

/// The caller of `check_folder` knows by what option the folder was given, and adds the advice.
#[test]
fn advice_is_given_once() {
    let folder = tempdir().unwrap();
    write(folder.path().join("file"), b"").unwrap();
    let error = check_folder(folder.path().join("file")).unwrap_err().to_string();
    assert!(error.ends_with("a file stands where a folder is needed"), "{error}");
    let error = write(folder.path().join("file/b"), b"").unwrap_err().to_string();
    assert!(error.ends_with("a file stands where a folder is needed; choose another place"), "{error}");
}

#[test]
fn an_empty_path_has_an_error_of_its_own() {
    let expected = "cannot write '': the path is empty; give the name of a file";
    assert_eq!(write("", b"").unwrap_err().to_string(), expected);
    assert_eq!(write_all(&[("".into(), vec![])]).unwrap_err().to_string(), expected);
    let expected = "cannot make the folder '': its name is empty ('.' is the current folder)";
    assert_eq!(check_folder("").unwrap_err().to_string(), expected);
}

#[test]
fn the_name_of_a_folder_is_no_target() {
    let folder = tempdir().unwrap();
    for name in ["new/", "new/.", "new/.."] {
        let one = (folder.path().join("one"), vec![]);
        let error = write_all(&[one, (folder.path().join(name), vec![])]).unwrap_err().to_string();
        assert!(error.ends_with(&format!("{name}': it names a folder; give the name of a file")), "{error}");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn files_that_stand_in_each_others_way_are_refused_before_anything_is_written() {
    let one_file = "both are one file; give each a name of its own";
    let a_folder = "needs a folder there; give it another name";
    let cases = [
        (["a", "a"], one_file),
        (["a", "./a"], one_file),
        (["new/../a", "a"], one_file),
        (["old/a", "old/../old/a"], one_file),
        (["a", "a/b"], a_folder),
        (["a/b", "a"], a_folder),
        (["new/../a", "a/b/c"], a_folder),
    ];
    for (paths, text) in cases {
        let folder = tempdir().unwrap();
        fs::create_dir(folder.path().join("old")).unwrap();
        let files: Vec<_> = paths.iter().map(|name| (folder.path().join(name), b"x".to_vec())).collect();
        let error = write_all(&files).unwrap_err().to_string();
        assert!(error.ends_with(text), "{paths:?}: {error}");
        assert_eq!(names(folder.path()), ["old"], "{paths:?}");
        assert_eq!(names(&folder.path().join("old")), [""; 0], "{paths:?}");
    }
    let folder = tempdir().unwrap();
    let files = ["a/b", "a/c", "a.b", "new/../d"].map(|name| (folder.path().join(name), b"x".to_vec()));
    write_all(&files).unwrap();
    assert!(files.iter().all(|(path, _)| path.is_file()));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

    use super::*;

    #[test]
    fn a_symbolic_link_stays_and_its_file_is_written() {
        let folder = tempdir().unwrap();
        let [link, file] = ["links/link", "files/file"].map(|name| folder.path().join(name));
        for parent in [&link, &file].map(|path| path.parent().unwrap()) {
            fs::create_dir(parent).unwrap();
        }
        symlink("../files/file", &link).unwrap();
        // The link points to nothing at first.
        for bytes in [b"one", b"two"] {
            write(&link, bytes).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(fs::symlink_metadata(&file).unwrap().is_file());
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
        // A link to a file that another path names.
        for path in [&file, &folder.path().join("files/../links/link")] {
            let error = write_all(&[(link.clone(), vec![]), (path.clone(), vec![])]).unwrap_err();
            assert!(error.to_string().contains("both are one file"), "{error}");
        }
        let circle = folder.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(write(&circle, b"").unwrap_err().to_string().contains("circle"));
    }

    #[test]
    fn devices_and_pipes_are_written_into() {
        write("/dev/null", b"nothing").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let error = write("/dev/full", b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write '/dev/full': "), "{error}");

        let folder = tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(names(folder.path()), ["pipe"]);
    }
}

#[test]
fn a_set_is_put_in_its_place_when_all_of_it_is_written() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(path("a"), b"old").unwrap();
    let set = || {
        let mut set = FileSet::new();
        set.write_with(path("a"), |out| out.write_all(b"new")).unwrap();
        set.write_with(path("sub/b"), |out| out.write_all(b"b")).unwrap();
        set
    };
    let mut failing = set();
    let failed = failing.write_with(path("c"), |_| Err(io::Error::other("no numbers"))).unwrap_err();
    assert_eq!(failed.to_string(), format!("cannot write '{}': no numbers", path("c").display()));
    assert_eq!(fs::read(path("a")).unwrap(), b"old");
    drop(failing);
    assert_eq!((names(folder.path()), names(&path("sub"))), (vec!["a".to_owned(), "sub".to_owned()], vec![]));
    set().put().unwrap();
    assert_eq!(
        (fs::read(path("a")).unwrap(), fs::read(path("sub/b")).unwrap()),
        (b"new".to_vec(), b"b".to_vec())
    );
}

/// An index with files of two sets would be read as one set.
#[test]
fn a_set_that_is_put_in_part_has_no_index() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let set = |contents: &'static [u8]| {
        let mut set = FileSet::new();
        for name in ["part-1", "part-2", "index"] {
            set.write_with(path(name), |out| out.write_all(contents)).unwrap();
        }
        set
    };
    set(b"old").put().unwrap();
    let new = set(b"new");
    fs::remove_file(path("part-2")).unwrap();
    fs::create_dir(path("part-2")).unwrap();
    let error = new.put().unwrap_err().to_string();
    assert!(error.contains("part-2"), "{error}");
    assert_eq!(names(folder.path()), ["part-1", "part-2"]);
    fs::remove_dir(path("part-2")).unwrap();
    set(b"newer").put().unwrap();
    assert_eq!(fs::read(path("index")).unwrap(), b"newer");
}

/// The order of the operations: each name is synced after the operation that makes it.
#[test]
fn operations_have_their_order() {
    use wick_files::faults::{Answer, Operation, watch};
    let root = tempdir().unwrap();
    let shown = {
        let root = root.path().to_owned();
        move |path: &Path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            if name.contains(".wick-") { "temporary".to_owned() } else { name }
        }
    };
    let (told, list) = std::sync::mpsc::channel();
    let hook = watch(move |operation| {
        let text = match *operation {
            Operation::MakeFolder(path) => format!("make folder {}", shown(path)),
            Operation::Make(path) => format!("make {}", shown(path)),
            Operation::Write(path, bytes) => format!("write {} to {}", bytes.len(), shown(path)),
            Operation::Cut(path, length) => format!("cut {} to {length}", shown(path)),
            Operation::Sync(path) => format!("sync {}", shown(path)),
            Operation::Rename(from, to) => format!("rename {} to {}", shown(from), shown(to)),
            Operation::Remove(path) => format!("remove {}", shown(path)),
            Operation::SyncFolder(path) => format!("sync folder {}", shown(path)),
        };
        told.send(text).unwrap();
        Answer::Go
    });
    write(root.path().join("a/b/c"), b"text").unwrap();
    let mut log = wick_files::Appended::open(root.path().join("log"), 0).unwrap();
    log.add(b"line\n").unwrap();
    log.sync().unwrap();
    wick_files::remove_file(root.path().join("log")).unwrap();
    drop(hook);
    write(root.path().join("untold"), b"text").unwrap();
    let expected = "make folder a, make folder a/b, sync folder a, sync folder , make temporary, write 4 to temporary, \
                    sync temporary, rename temporary to a/b/c, sync folder a/b, make log, sync folder , cut log to 0, \
                    write 5 to log, sync log, remove log";
    assert_eq!(list.try_iter().collect::<Vec<_>>().join(", "), expected);
}

/// A write that fails at any operation leaves the old file, no temporary one, and an error that names the file.
#[test]
fn every_operation_can_fail() {
    use wick_files::faults::{Answer, watch};
    let root = tempdir().unwrap();
    let path = root.path().join("file");
    for at in 0.. {
        write(&path, b"old").unwrap();
        let mut number = 0;
        let hook = watch(move |operation| {
            number += 1;
            // A folder that cannot be synced is no failure.
            let is_folder = matches!(operation, wick_files::faults::Operation::SyncFolder(_));
            if number == at + 1 && !is_folder {
                Answer::Fail(io::Error::from_raw_os_error(28))
            } else {
                Answer::Go
            }
        });
        let written = write(&path, b"new");
        drop(hook);
        let Err(error) = written else {
            assert_eq!((at, fs::read(&path).unwrap()), (4, b"new".to_vec()));
            break;
        };
        assert!(error.to_string().starts_with(&format!("cannot write '{}': ", path.display())), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
