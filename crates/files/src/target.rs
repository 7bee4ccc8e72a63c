//! What stands at the path that is to be written.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::descriptor;

/// Where the bytes of a file go.
#[derive(Debug)]
pub(crate) enum Target {
    /// A new file, or the regular file with this metadata, which is replaced.
    Replace { path: PathBuf, old: Option<Metadata> },
    /// A stream that is written into.
    Into(Stream),
}

/// What is written into. It is opened when it is written: to open a pipe waits for a reader.
#[derive(Debug)]
pub(crate) enum Stream {
    /// A device or a pipe.
    Device(PathBuf),
    /// An open file of the process, by its descriptor.
    Descriptor(i32),
}

impl Target {
    /// # Errors
    /// If a folder is at the path, or if its symbolic links go round in a circle.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let end = end_of_links(path)?;
        if let Some(number) = descriptor::number(&end) {
            return Ok(Self::Into(Stream::Descriptor(number)));
        }
        match fs::metadata(path) {
            Ok(old) if old.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            Ok(old) if old.is_file() => Ok(Self::Replace { path: fs::canonicalize(path)?, old: Some(old) }),
            Ok(_) => Ok(Self::Into(Stream::Device(path.to_owned()))),
            // A file in the place of a folder is found when the folder is made.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::Replace { path: end, old: None })
            }
            Err(error) => Err(error),
        }
    }
}

impl Stream {
    /// # Errors
    /// If the device does not open, or the descriptor is not open.
    pub(crate) fn open(&self) -> io::Result<File> {
        match self {
            Self::Device(path) => OpenOptions::new().write(true).open(path),
            Self::Descriptor(number) => descriptor::duplicate(*number),
        }
    }
}

/// The path that a symbolic link points to at last, or the path itself. A path that names a descriptor is an
/// end, although `/proc` shows it as a link.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    /// Linux follows as many.
    const MAX_LINKS: usize = 40;
    let mut end = path.to_owned();
    for _ in 0..=MAX_LINKS {
        if descriptor::number(&end).is_some() {
            return Ok(end);
        }
        match fs::read_link(&end) {
            Ok(to) => end = end.parent().unwrap_or(Path::new("")).join(to),
            Err(_) => return Ok(end),
        }
    }
    Err(io::Error::other("its symbolic links do not end"))
}
