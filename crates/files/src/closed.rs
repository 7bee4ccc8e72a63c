//! Whether stdout was closed when the process began. Rust's runtime opens `/dev/null` in the place of a closed
//! descriptor before `main`, so that nothing can tell afterwards.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether stdout was closed when the process began, as by `program >&-`: what is printed is lost, and no write
/// fails. `program > /dev/null` has an open stdout. The answer is known on Linux and macOS; elsewhere it is no.
///
/// ```
/// assert!(!wick_files::stdout_was_closed());
/// ```
pub fn stdout_was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod at_start {
    use super::{Ordering, WAS_CLOSED};

    /// The system's loader calls what is in this section before `main`.
    #[used]
    #[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: the call takes plain numbers, and fails if the descriptor is not open.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        WAS_CLOSED.store(flags < 0, Ordering::Relaxed);
    }
}
