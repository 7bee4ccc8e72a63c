//! The temporary file beside a target.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use crate::faults::{self, Operation};
use crate::registry::{Opening, Registered};

/// A temporary file, removed on drop and by a signal.
#[derive(Debug)]
pub(crate) struct Temporary {
    // The file is removed before its entry.
    file: NamedTempFile,
    entry: Registered,
}

impl Temporary {
    /// Makes a temporary file in a folder, with the mode of a new file. If it replaces a file, it has the
    /// owner's part of that file's mode and no more until [`Self::finish`]: its group is that of the process.
    pub(crate) fn new(folder: &Path, old: Option<&Metadata>) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let mut entry = None;
        // No other process uses the prefix, so that a signal between the entry and the open removes no file
        // of another process.
        let file = tempfile::Builder::new().prefix(&format!(".wick-{}-", std::process::id())).make_in(
            folder,
            |path| {
                let ends = || io::Error::new(io::ErrorKind::Interrupted, "a signal ends the process");
                let _opening = Opening::new().ok_or_else(ends)?;
                entry = Some(Registered::new(path));
                create(path, old)
            },
        )?;
        let entry = entry.ok_or_else(|| io::Error::other("no temporary file was made"))?;
        Ok(Self { file, entry })
    }

    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Gives the file the owner, the group and the mode of the old one, syncs its contents to the disk, and closes
    /// it: a set of files may be larger than the process may have files open.
    pub(crate) fn finish(self, old: Option<&Metadata>) -> io::Result<Finished> {
        if let Some(old) = old {
            keep_permissions(self.file(), old)?;
        }
        faults::run(&Operation::Sync(self.path()), || self.file().sync_all())?;
        Ok(Finished { path: self.file.into_temp_path(), _entry: self.entry })
    }
}

/// A temporary file that is complete and closed, removed on drop and by a signal.
#[derive(Debug)]
pub(crate) struct Finished {
    // The file is removed before its entry.
    path: TempPath,
    _entry: Registered,
}

impl Finished {
    /// Renames the file to its target. The folder is not synced.
    pub(crate) fn persist(self, target: &Path) -> io::Result<()> {
        let from = self.path.to_path_buf();
        faults::run(&Operation::Rename(&from, target), || {
            self.path.persist(target).map_err(|error| error.error)
        })
    }
}

/// Syncs the names of a folder to the disk. A folder that cannot be opened or synced (some file systems refuse) is
/// no failure.
pub(crate) fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    let sync = || File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let sync = || Ok(());
    let _ = faults::run(&Operation::SyncFolder(folder), sync);
}

/// Makes a folder and those above it that are missing. Their names are on the disk afterwards.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing = || folder.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    let missing: Vec<&Path> = missing().take_while(|folder| !folder.exists()).collect();
    for folder in missing.iter().rev() {
        faults::run(&Operation::MakeFolder(folder), || Ok(()))?;
    }
    fs::create_dir_all(folder)?;
    missing.iter().for_each(|folder| sync_folder(folder_of(folder)));
    Ok(())
}

/// Removes a file; one that is not there is no failure. Returns whether it was there.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    match faults::run(&Operation::Remove(path), || fs::remove_file(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn create(path: &Path, old: Option<&Metadata>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        // The system takes the umask from it.
        options.mode(old.map_or(0o666, |old| old.mode() & 0o700));
    }
    #[cfg(not(unix))]
    let _ = old;
    faults::run(&Operation::Make(path), || Ok(()))?;
    options.open(path)
}

/// Gives a file the owner, the group and the mode of another, as far as the process may.
#[cfg(unix)]
fn keep_permissions(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let ids = |of: &Metadata| (of.uid(), of.gid());
    if ids(&file.metadata()?) != ids(old) && fchown(file, Some(old.uid()), Some(old.gid())).is_err() {
        // The group alone may be kept. What was kept is seen below.
        let _ = fchown(file, None, Some(old.gid()));
    }
    let new = file.metadata()?;
    let mut mode = old.mode() & 0o7777;
    if ids(&new) != ids(old) {
        // Set-user-ID and set-group-ID would give the rights of another owner or group.
        mode &= !0o6000;
    }
    if new.gid() != old.gid() {
        // Another group gets no more than all users.
        mode &= 0o707 | (mode & 0o007) << 3;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn keep_permissions(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}
