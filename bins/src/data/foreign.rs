//! Files that are something else than what their names say.

use anyhow::{Result, bail};

/// Refuses a text or a file that begins as a page of the web or a pointer of Git LFS does: what a download
/// often gives in place of the data.
pub(super) fn check(beginning: &[u8]) -> Result<()> {
    match wick_init::foreign_file(beginning) {
        Some(what) => bail!("{what}"),
        None => Ok(()),
    }
}
