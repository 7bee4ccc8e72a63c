//! The functions that write.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{cannot_make_folder, cannot_write};
use crate::target::Target;
use crate::temporary::{Temporary, folder_of};

/// Writes one file, whole or not at all, and makes its folder.
///
/// # Errors
/// The error names the path; the old file is untouched.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |out| out.write_all(bytes))
}

/// As [`write()`], with the bytes that a function writes to a buffered writer.
///
/// # Errors
/// As [`write()`], and those of the function.
pub fn write_with(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let path = path.as_ref();
    Prepared::new(path, write)?.put(path)
}

/// As [`write()`], for several files: all are written before the first is put in its place.
///
/// # Errors
/// As [`write()`]. Every file is untouched, unless the renaming itself fails.
pub fn write_all(files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
    let prepare = |(path, bytes): &(PathBuf, Vec<u8>)| Prepared::new(path, |out| out.write_all(bytes));
    let prepared = files.iter().map(prepare).collect::<io::Result<Vec<_>>>()?;
    files.iter().zip(prepared).try_for_each(|((path, _), prepared)| prepared.put(path))
}

/// Makes a folder and checks that files can be made in it, so that a program fails before a long computation
/// and not after.
///
/// # Errors
/// The error names the folder.
pub fn check_folder(folder: impl AsRef<Path>) -> io::Result<()> {
    let folder = folder.as_ref();
    fs::create_dir_all(folder).map_err(|error| cannot_make_folder(folder, &error))?;
    let in_folder = |error| {
        let name = folder.display();
        io::Error::new(io::Error::kind(&error), format!("cannot write in the folder '{name}': {error}"))
    };
    tempfile::tempfile_in(folder).map(drop).map_err(in_folder)
}

/// A file that has been written and is not in its place yet.
enum Prepared {
    Renamed {
        from: Temporary,
        to: PathBuf,
    },
    /// The bytes went into a device or a pipe.
    Written,
}

impl Prepared {
    fn new(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Self> {
        let cannot = |error: io::Error| cannot_write(path, &error);
        match Target::of(path).map_err(cannot)? {
            Target::Into(stream) => {
                stream.open().and_then(|file| buffered(&file, write)).map_err(cannot)?;
                Ok(Self::Written)
            }
            Target::Replace { path: to, old } => {
                let folder = folder_of(&to);
                fs::create_dir_all(folder).map_err(|error| cannot_make_folder(folder, &error))?;
                let from = Temporary::new(folder, old.as_ref()).map_err(cannot)?;
                buffered(from.file(), write).and_then(|()| from.finish(old.as_ref())).map_err(cannot)?;
                Ok(Self::Renamed { from, to })
            }
        }
    }

    fn put(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Renamed { from, to } => from.persist(&to).map_err(|error| cannot_write(path, &error)),
            Self::Written => Ok(()),
        }
    }
}

fn buffered(file: &fs::File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    const BYTES: usize = 1 << 18;
    let mut out = BufWriter::with_capacity(BYTES, file);
    write(&mut out)?;
    out.flush()
}
