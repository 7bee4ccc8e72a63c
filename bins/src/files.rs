//! Files that are whole or not there.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a file beside its place and renames it, so that no reader sees half of it and a failure leaves what
/// was there. Makes the folder if need be.
///
/// # Errors
/// Names the file or the folder.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".wick-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        // A temporary file is its owner's alone; a result is for everyone that the folder lets in.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write '{}'", path.display()))
}

/// Fails now if the folder cannot be made or written in, and not after a long computation.
///
/// # Errors
/// Names the folder.
pub fn check_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
    tempfile::tempfile_in(folder)
        .map(drop)
        .with_context(|| format!("cannot write in the folder '{}'", folder.display()))
}
