//! What stands at the path that is to be written.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

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
    /// If the path is empty, names a folder or is one, if its symbolic links go round in a circle, or if it is a
    /// file that the process may not write.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            let text = "the path is empty; give the name of a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let end = end_of_links(path)?;
        if let Some(number) = descriptor::number(&end) {
            return Ok(Self::Into(Stream::Descriptor(number)));
        }
        match fs::metadata(path) {
            Ok(old) if old.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            Ok(old) if old.is_file() => {
                check_writable(path)?;
                Ok(Self::Replace { path: fs::canonicalize(path)?, old: Some(old) })
            }
            Ok(_) => Ok(Self::Into(Stream::Device(path.to_owned()))),
            // A file in the place of a folder is found when the folder is made.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                if names_folder(&end) {
                    return Err(io::Error::new(io::ErrorKind::IsADirectory, "it names a folder"));
                }
                Ok(Self::Replace { path: end, old: None })
            }
            Err(error) => Err(error),
        }
    }

    /// The path of the file that is made or replaced: absolute and without links, so that the paths of two
    /// targets can be compared. Parts that do not exist are taken as folders that will be made.
    ///
    /// # Errors
    /// If the current folder is unknown.
    pub(crate) fn place(&self) -> io::Result<Option<PathBuf>> {
        let Self::Replace { path, .. } = self else { return Ok(None) };
        let path = std::path::absolute(path)?;
        for folder in path.ancestors() {
            let Ok(mut place) = fs::canonicalize(folder) else { continue };
            for part in path.components().skip(folder.components().count()) {
                match part {
                    Component::ParentDir => drop(place.pop()),
                    part => place.push(part),
                }
            }
            return Ok(Some(place));
        }
        Ok(Some(path))
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

/// Refuses a file that the process may not write: a rename would replace it nevertheless, for which only the
/// folder has to be writable.
fn check_writable(path: &Path) -> io::Result<()> {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match OpenOptions::new().write(true).open(path) {
        Err(error) if denied(&error) => {
            let text = "the file is there and you may not write to it; allow that (chmod u+w) or choose another name";
            Err(io::Error::other(text))
        }
        _ => Ok(()),
    }
}

/// The path that a symbolic link points to at last, or the path itself. A path that names a descriptor is an
/// end, although `/proc` shows it as a link.
pub(crate) fn end_of_links(path: &Path) -> io::Result<PathBuf> {
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

/// Whether a path ends as those of folders do: `new/`, `new/.`, `new/..`.
fn names_folder(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.file_name().is_none_or(|name| !bytes.ends_with(name.as_encoded_bytes()))
}
