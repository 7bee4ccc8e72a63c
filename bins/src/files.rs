//! Files that are whole or not there.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// Writes files beside their places and renames them, so that no reader sees half of one and a failure leaves what was there:
/// all are written before the first is renamed. Makes the folders if need be.
///
/// # Errors
/// Names the file or the folder.
pub fn write_all(files: &[(PathBuf, Vec<u8>)]) -> Result<()> {
    let cannot = |path: &Path| format!("cannot write '{}'", path.display());
    let mut written = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        // What a folder stands in the way of is known before anything is renamed.
        if path.is_dir() {
            bail!("{}: it is a folder", cannot(path));
        }
        written.push((path, beside(path, bytes)?));
    }
    for (path, file) in written {
        file.persist(path).map_err(|error| error.error).with_context(|| cannot(path))?;
    }
    Ok(())
}

/// As [`write_all`], for one file.
///
/// # Errors
/// As [`write_all`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write '{}'", path.display());
    beside(path, bytes)?.persist(path).map_err(|error| error.error).with_context(cannot)?;
    Ok(())
}

/// A temporary file in the folder of a path, with these bytes.
fn beside(path: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
    let write = || -> std::io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix(".wick-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        // A temporary file is its owner's alone; a result is for everyone that the folder lets in.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        Ok(file)
    };
    write().with_context(|| format!("cannot write '{}'", path.display()))
}

/// Fails now if the folder cannot be made or written in, and not after a long computation.
///
/// # Errors
/// Names the folder, and what to do.
pub fn check_folder(folder: &Path) -> Result<()> {
    let instead = "use --out DIR or --no-pictures";
    let name = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder '{name}'; {instead}"))?;
    tempfile::tempfile_in(folder)
        .map(drop)
        .with_context(|| format!("cannot write in the folder '{name}'; {instead}"))
}
