//! Warnings on stderr.

use std::io::Write;

/// Prints a warning on stderr. A stderr that cannot be written is no reason to fail, as it is for `eprintln!`.
pub fn warn(message: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {message}");
}
