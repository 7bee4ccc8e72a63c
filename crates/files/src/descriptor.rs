//! Paths that name a descriptor of the process: `/dev/stdout`, `/dev/fd/3`, `/proc/self/fd/3`.

#[cfg(not(unix))]
pub(crate) use elsewhere::{duplicate, is_stdout, number};
#[cfg(unix)]
pub(crate) use unix::{duplicate, is_stdout, number};

#[cfg(unix)]
mod unix {
    use std::fs::{self, File};
    use std::io::{self, Write};
    use std::os::fd::{AsFd, FromRawFd};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::Path;

    use crate::target::end_of_links;
    use crate::temporary::folder_of;

    /// The descriptor that a path names, if it names one of this process. The last part of the path is taken
    /// as it is, and the links of its folder are followed.
    pub(crate) fn number(path: &Path) -> Option<i32> {
        let name = path.file_name()?.to_str()?;
        let number = name.parse().ok().filter(|number: &i32| *number >= 0 && number.to_string() == name)?;
        let folder = fs::canonicalize(folder_of(path)).ok()?;
        let is_own = |own: &&str| fs::canonicalize(own).is_ok_and(|own| own == folder);
        ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"].iter().any(is_own).then_some(number)
    }

    /// Whether a path leads to the file, pipe or device that stdout is. Of devices, only a path that names a
    /// descriptor counts: nothing follows what is written to `/dev/null`.
    pub(crate) fn is_stdout(path: &Path) -> bool {
        let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(|owned| File::from(owned).metadata());
        let (Ok(stdout), Ok(target)) = (stdout, fs::metadata(path)) else { return false };
        let same = (stdout.dev(), stdout.ino()) == (target.dev(), target.ino());
        same && (!target.file_type().is_char_device()
            || end_of_links(path).is_ok_and(|end| number(&end).is_some()))
    }

    /// A second descriptor of the same open file. Both have one offset, so that neither overwrites what the
    /// other wrote; a second open of the path would begin at an offset of its own.
    ///
    /// # Errors
    /// If the descriptor is not open, or the buffer of stdout cannot be flushed.
    pub(crate) fn duplicate(number: i32) -> io::Result<File> {
        /// The duplicate takes none of the three standard descriptors, even if one is closed.
        const LEAST: i32 = 3;
        if number == libc::STDOUT_FILENO {
            io::stdout().flush()?;
        }
        // SAFETY: the call takes plain numbers, and fails if the descriptor is not open.
        let duplicate = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, LEAST) };
        if duplicate < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, so that the file is its only owner.
        Ok(unsafe { File::from_raw_fd(duplicate) })
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    /// Nothing: the platform has no paths for descriptors.
    pub(crate) fn number(_: &Path) -> Option<i32> {
        None
    }

    pub(crate) fn is_stdout(_: &Path) -> bool {
        false
    }

    pub(crate) fn duplicate(_: i32) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
