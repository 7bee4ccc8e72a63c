//! Files that are something else than what their names say.

use super::reason::Reason;

/// Refuses a text or a file that begins as a page of the web or a pointer of Git LFS does: what a download
/// often gives in place of the data.
pub(super) fn check(beginning: &[u8]) -> Result<(), Reason> {
    match wick_init::foreign_file(beginning) {
        Some(what) => Err(what.into()),
        None => Ok(()),
    }
}
