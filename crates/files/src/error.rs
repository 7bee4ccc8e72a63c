//! Errors that name the path and say what to do.

use std::io;
use std::path::Path;

/// `cannot write 'PATH': ERROR`, and what to do about errors that the user can remedy.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    with_advice(&with_context(&format!("cannot write '{}'", path.display()), error))
}

/// The same for a folder, without advice: its caller knows where the folder comes from.
pub(crate) fn cannot_make_folder(folder: &Path, error: &io::Error) -> io::Error {
    with_context(&format!("cannot make the folder '{}'", folder.display()), error)
}

/// The same for a folder that is there.
pub(crate) fn cannot_write_in(folder: &Path, error: &io::Error) -> io::Error {
    with_context(&format!("cannot write in the folder '{}'", folder.display()), error)
}

/// What failed if the folder takes no new file.
pub(crate) fn no_temporary_file(folder: &Path) -> String {
    format!("its folder '{}' takes no temporary file", folder.display())
}

/// An error with what the user can do about its kind.
pub(crate) fn with_advice(error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "; choose a place that you may write to",
        io::ErrorKind::ReadOnlyFilesystem => "; choose a place on another file system",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or choose another place"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "; choose another place",
        io::ErrorKind::IsADirectory => "; give the name of a file",
        io::ErrorKind::FileTooLarge => {
            "; raise the limit on the size of files (ulimit -f) or choose another place"
        }
        io::ErrorKind::InvalidFilename => "; choose a shorter name",
        _ => "",
    };
    io::Error::new(error.kind(), format!("{error}{advice}"))
}

pub(crate) fn with_context(context: &str, error: &io::Error) -> io::Error {
    let reason = match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            ": a file stands where a folder is needed"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("{context}: {error}{reason}"))
}
