//! What stands at the path that is to be written.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Where the bytes of a file go.
#[derive(Debug)]
pub(crate) enum Target {
    /// A new file, or the regular file with this metadata, which is replaced.
    Replace { path: PathBuf, old: Option<Metadata> },
    /// A device, a pipe, or a file that the process has open.
    Into(File),
}

impl Target {
    /// # Errors
    /// If a folder is at the path, symbolic links go round in a circle, or a device does not open.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(old) if old.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            // The contents of an open file stay: its other writers go on where they are.
            Ok(old) if old.is_file() && is_open_file(path) => {
                Ok(Self::Into(OpenOptions::new().append(true).open(path)?))
            }
            Ok(old) if old.is_file() => Ok(Self::Replace { path: fs::canonicalize(path)?, old: Some(old) }),
            Ok(_) => Ok(Self::Into(OpenOptions::new().write(true).open(path)?)),
            // A file in the place of a folder is found when the folder is made.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::Replace { path: end_of_links(path)?, old: None })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the path names a file by a descriptor of a process.
fn is_open_file(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|folder| path.starts_with(folder))
}

/// The path that a symbolic link to a missing file points to at last, or the path itself.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    /// Linux follows as many.
    const MOST: usize = 40;
    let mut end = path.to_owned();
    for _ in 0..MOST {
        match fs::read_link(&end) {
            Ok(to) => end = end.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(end),
        }
    }
    Err(io::Error::other("its symbolic links do not end"))
}
