//! The functions that write.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::descriptor;
use crate::error::{
    cannot_make_folder, cannot_write, cannot_write_in, no_temporary_file, with_advice, with_context,
};
use crate::faults::Told;
use crate::target::Target;
use crate::temporary::{Finished, Temporary, folder_of, make_folder, remove, sync_folder};

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
    Prepared::new(path, target_of(path)?, write)?.put(path)
}

/// As [`write()`], for several files: all are written before the first is put in its place.
///
/// # Errors
/// As [`write()`], and if two paths lead to one file, or one path is a folder of another. Every file is
/// untouched, unless the renaming itself fails; bytes that went into a device or a pipe stay there.
pub fn write_all(files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
    let targets = files.iter().map(|(path, _)| target_of(path)).collect::<io::Result<Vec<_>>>()?;
    check_apart(files.iter().map(|(path, _)| path.as_path()).zip(&targets))?;
    let prepare = |((path, bytes), target): (&(PathBuf, Vec<u8>), Target)| {
        Prepared::new(path, target, |out| out.write_all(bytes))
    };
    let prepared = files.iter().zip(targets).map(prepare).collect::<io::Result<Vec<_>>>()?;
    files.iter().zip(prepared).try_for_each(|((path, _), prepared)| prepared.put(path))
}

/// Files that are written one after another and put in their places together; the last one is the index of the
/// others. Several files cannot be renamed at one moment, but without an index there is no set: the old index is
/// removed before the first file is replaced, so that no reader finds an index with files of another set. Without
/// [`put`](Self::put), and when a signal ends the process before it, none of the files is left, and the old ones
/// are as they were.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let mut set = wick_files::FileSet::new();
/// set.write_with(folder.path().join("part-1"), |out| out.write_all(b"1"))?;
/// set.write_with(folder.path().join("index"), |out| out.write_all(b"part-1"))?;
/// assert!(!folder.path().join("part-1").exists());
/// set.put()?;
/// assert_eq!(std::fs::read(folder.path().join("part-1"))?, b"1");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct FileSet {
    files: Vec<(PathBuf, Pending)>,
}

/// A file of a set.
#[derive(Debug)]
enum Pending {
    /// A thread syncs it to the disk.
    Syncing(JoinHandle<io::Result<Prepared>>),
    Prepared(Prepared),
}

impl Pending {
    /// Syncs a file on a thread, or here if there is none left.
    fn new(filled: Filled) -> io::Result<Self> {
        let filled = Arc::new(Mutex::new(Some(filled)));
        let take = |filled: &Mutex<Option<Filled>>| {
            let filled = filled.lock().unwrap_or_else(PoisonError::into_inner).take();
            filled.map_or(Ok(Prepared::Written), Filled::finish)
        };
        let on_thread = Arc::clone(&filled);
        let spawned = thread::Builder::new().name("fsync".to_owned()).spawn(move || take(&on_thread));
        match spawned {
            Ok(thread) => Ok(Self::Syncing(thread)),
            Err(_) => Ok(Self::Prepared(take(&filled)?)),
        }
    }

    fn is_syncing(&self) -> bool {
        matches!(self, Self::Syncing(_))
    }

    /// Waits until the file is on the disk.
    fn wait(self) -> io::Result<Prepared> {
        match self {
            Self::Syncing(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that syncs a file has panicked"))),
            Self::Prepared(prepared) => Ok(prepared),
        }
    }
}

/// The most files of a set that are synced at once: the disk works while the next file is made, and no more than
/// these wait in memory for it.
const MOST_SYNCING: usize = 2;

/// The threads are waited for, so that no temporary file outlives the set.
impl Drop for FileSet {
    fn drop(&mut self) {
        for (_, pending) in self.files.drain(..) {
            drop(pending.wait());
        }
    }
}

impl FileSet {
    /// A set without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the next file beside its place. It is synced to the disk while the next ones are written. A device or a
    /// pipe is written into at once.
    ///
    /// # Errors
    /// As [`write_with`], of this file or of one before that could not be synced.
    pub fn write_with(
        &mut self,
        path: impl AsRef<Path>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = path.as_ref();
        let filled = Filled::new(path, target_of(path)?, write)?;
        let syncing = |set: &Self| set.files.iter().filter(|(_, pending)| pending.is_syncing()).count();
        while syncing(self) >= MOST_SYNCING {
            let Some(oldest) = self.files.iter().position(|(_, pending)| pending.is_syncing()) else { break };
            let (path, pending) = self.files.remove(oldest);
            self.files.insert(oldest, (path, Pending::Prepared(pending.wait()?)));
        }
        self.files.push((path.to_owned(), Pending::new(filled)?));
        Ok(())
    }

    /// Puts the files in their places: the old file in the place of the last one is removed, the others are renamed
    /// in the order in which they were written, and the last one follows. Each of these steps is on the disk before
    /// the next begins. One file alone is replaced.
    ///
    /// # Errors
    /// If a file cannot be removed or renamed. Those before it stay in their places, and the last one is missing, so
    /// that there is no set.
    pub fn put(mut self) -> io::Result<()> {
        let all = std::mem::take(&mut self.files).into_iter();
        // Every thread is waited for, also behind an error.
        let all: Vec<_> =
            all.map(|(path, pending)| pending.wait().map(|prepared| (path, prepared))).collect();
        let mut files = all.into_iter().collect::<io::Result<Vec<_>>>()?;
        let Some((index_path, index)) = files.pop() else { return Ok(()) };
        if !files.is_empty() {
            index.remove_old(&index_path)?;
        }
        let mut folders = BTreeSet::new();
        for (path, prepared) in files {
            folders.extend(prepared.rename(&path)?);
        }
        folders.iter().for_each(|folder| sync_folder(folder));
        index.put(&index_path)
    }
}

/// Checks that files can be written at these paths, so that a program fails before a long computation and not
/// after. Nothing is made.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("a");
/// assert!(wick_files::check_files(&[&file, &folder.path().join("b")]).is_ok());
/// assert!(wick_files::check_files(&[&file, &file]).is_err());
/// assert!(wick_files::check_files(&[folder.path()]).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If a path is empty, is a folder or names one, or is a file that the process may not write; if two paths lead to
/// one file, or one path is a folder of another.
pub fn check_files(paths: &[impl AsRef<Path>]) -> io::Result<()> {
    let paths = || paths.iter().map(AsRef::as_ref);
    let targets = paths().map(target_of).collect::<io::Result<Vec<_>>>()?;
    check_apart(paths().zip(&targets))
}

/// Makes a folder and checks that files can be made in it, so that a program fails before a long computation
/// and not after.
///
/// # Errors
/// The error names the folder and what is wrong. What to do is left to the caller, which knows by what option
/// the folder was given.
pub fn check_folder(folder: impl AsRef<Path>) -> io::Result<()> {
    let folder = folder.as_ref();
    if folder.as_os_str().is_empty() {
        let text = "its name is empty ('.' is the current folder)";
        return Err(cannot_make_folder(folder, &io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    make_folder(folder).map_err(|error| cannot_make_folder(folder, &error))?;
    tempfile::tempfile_in(folder).map(drop).map_err(|error| cannot_write_in(folder, &error))
}

/// Removes a file. One that is not there is no error.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("a");
/// wick_files::write(&file, b"text")?;
/// wick_files::remove_file(&file)?;
/// assert!(!file.exists() && wick_files::remove_file(&file).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The error names the path.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    remove(path)
        .map(drop)
        .map_err(|error| with_context(&format!("cannot remove '{}'", path.display()), &error))
}

/// Whether a path leads to what stdout of this process is: `/dev/stdout`, `/dev/fd/1`, or the pipe or the file
/// that stdout was redirected to. What a program prints there would be in one file with what it writes. A device
/// counts only by the name of a descriptor. Where the platform has no such names the answer is no.
///
/// ```
/// assert!(!wick_files::is_stdout("no such file"));
/// ```
pub fn is_stdout(path: impl AsRef<Path>) -> bool {
    descriptor::is_stdout(path.as_ref())
}

fn target_of(path: &Path) -> io::Result<Target> {
    Target::of(path).map_err(|error| cannot_write(path, &error))
}

/// Checks that each of several files can be put in its place beside the others.
fn check_apart<'a>(files: impl Iterator<Item = (&'a Path, &'a Target)>) -> io::Result<()> {
    let mut places = Vec::new();
    for (path, target) in files {
        let place = target.place().map_err(|error| cannot_write(path, &error))?;
        places.extend(place.map(|place| (place, path)));
    }
    // Paths are ordered by their parts, so that a folder comes right before what is in it.
    places.sort();
    for pair in places.windows(2) {
        let [(folder, path), (place, other)] = pair else { continue };
        let (path, other) = (path.display(), other.display());
        let text = if place == folder {
            format!("cannot write '{path}' and '{other}': both are one file; give each a name of its own")
        } else if place.starts_with(folder) {
            format!("cannot write '{path}': '{other}' needs a folder there; give it another name")
        } else {
            continue;
        };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

/// A file that has been written and may not be on the disk yet.
#[derive(Debug)]
enum Filled {
    Beside {
        /// What the user calls it.
        path: PathBuf,
        from: Temporary,
        to: PathBuf,
        old: Option<Box<fs::Metadata>>,
    },
    /// The bytes went into a device or a pipe.
    Written,
}

impl Filled {
    fn new(
        path: &Path,
        target: Target,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let cannot = |error: io::Error| cannot_write(path, &error);
        match target {
            Target::Into(stream) => {
                stream.open().and_then(|file| buffered(&file, path, write)).map_err(cannot)?;
                Ok(Self::Written)
            }
            Target::Replace { path: to, old } => {
                let folder = folder_of(&to);
                make_folder(folder).map_err(|error| with_advice(&cannot_make_folder(folder, &error)))?;
                let from = Temporary::new(folder, old.as_ref())
                    .map_err(|error| cannot(with_context(&no_temporary_file(folder), &error)))?;
                buffered(from.file(), from.path(), write).map_err(cannot)?;
                Ok(Self::Beside { path: path.to_owned(), from, to, old: old.map(Box::new) })
            }
        }
    }

    /// Syncs the file to the disk.
    fn finish(self) -> io::Result<Prepared> {
        match self {
            Self::Beside { path, from, to, old } => {
                let from = from.finish(old.as_deref()).map_err(|error| cannot_write(&path, &error))?;
                Ok(Prepared::Renamed { from, to })
            }
            Self::Written => Ok(Prepared::Written),
        }
    }
}

/// A file that is on the disk and not in its place yet.
#[derive(Debug)]
enum Prepared {
    Renamed {
        from: Finished,
        to: PathBuf,
    },
    /// The bytes went into a device or a pipe.
    Written,
}

impl Prepared {
    fn new(
        path: &Path,
        target: Target,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        Filled::new(path, target, write)?.finish()
    }

    /// Puts the file in its place and syncs the folder.
    fn put(self, path: &Path) -> io::Result<()> {
        if let Some(folder) = self.rename(path)? {
            sync_folder(&folder);
        }
        Ok(())
    }

    /// Puts the file in its place, and returns the folder that is to be synced.
    fn rename(self, path: &Path) -> io::Result<Option<PathBuf>> {
        let Self::Renamed { from, to } = self else { return Ok(None) };
        from.persist(&to).map_err(|error| cannot_write(path, &error))?;
        Ok(Some(folder_of(&to).to_owned()))
    }

    /// Removes the file that is in the place now, and syncs the folder.
    fn remove_old(&self, path: &Path) -> io::Result<()> {
        let Self::Renamed { to, .. } = self else { return Ok(()) };
        if remove(to).map_err(|error| cannot_write(path, &error))? {
            sync_folder(folder_of(to));
        }
        Ok(())
    }
}

fn buffered(
    file: &fs::File,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    const BYTES: usize = 1 << 18;
    let mut out = BufWriter::with_capacity(BYTES, Told { file, path });
    write(&mut out)?;
    out.flush()
}
