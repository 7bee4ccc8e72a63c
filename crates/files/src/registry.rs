//! The temporary files of the process, and their removal when a signal ends it.

use std::sync::atomic::AtomicI32;

#[cfg(not(unix))]
pub(crate) use elsewhere::{Opening, Registered};
#[cfg(unix)]
pub(crate) use unix::{Opening, Registered};

/// Removes the temporary files of unfinished writes when a signal ends the process: `SIGINT`, `SIGTERM`,
/// `SIGHUP`, `SIGQUIT`, `SIGABRT`, `SIGALRM`, `SIGVTALRM`, `SIGPROF`, `SIGXCPU`, `SIGUSR1` or `SIGUSR2`. The
/// process still ends by that signal, so a shell sees `128 + n`. `SIGXFSZ` is ignored, so that a write beyond the
/// limit on the size of files (`ulimit -f`) fails with an error.
///
/// A program calls this function once, at its start; a library leaves the signals of its process alone. A
/// signal that the process ignores (`SIGHUP` under `nohup`) stays ignored, and one that has a handler keeps
/// it. At most 4096 temporary files are removed. Where the platform has no such signals the function does
/// nothing.
pub fn remove_temporaries_on_signals() {
    #[cfg(unix)]
    unix::install();
}

/// Has the first `SIGINT` or `SIGTERM` stored as a number and the process go on, so that it can finish what it is
/// doing: 0 until then. The second one ends the process at once, as [`remove_temporaries_on_signals`] has it. A
/// signal that the process ignores stays ignored. Where the platform has no such signals the number stays 0.
///
/// ```
/// use std::sync::atomic::Ordering;
///
/// assert_eq!(wick_files::stop_on_signals().load(Ordering::Relaxed), 0);
/// ```
pub fn stop_on_signals() -> &'static AtomicI32 {
    #[cfg(unix)]
    unix::install_stop();
    &STOP
}

/// The signal that asked the process to stop.
static STOP: AtomicI32 = AtomicI32::new(0);

/// Removes the temporary files of unfinished writes now, for a program that is about to end in the middle of them
/// (a call of [`std::process::exit`] drops nothing). It allocates nothing and takes no lock. Writes that go on
/// fail. Where the platform has no signals the function does nothing.
pub fn remove_temporaries() {
    #[cfg(unix)]
    unix::remove_all();
}

#[cfg(unix)]
mod unix {
    use std::ffi::{CString, c_char, c_int};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

    /// The paths of the temporary files, each made by `CString::into_raw` and owned by the code that swaps it
    /// out: a signal handler can take no lock and free no memory.
    static PATHS: [AtomicPtr<c_char>; 4096] = [const { AtomicPtr::new(ptr::null_mut()) }; 4096];

    /// The signals that end a process and that it can catch. `SIGSEGV` and its like are left to Rust, which uses
    /// them; `SIGPIPE` is ignored by Rust.
    const ENDING: [c_int; 11] = [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGXCPU,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ];

    /// Whether a signal ends the process.
    static ENDS: AtomicBool = AtomicBool::new(false);
    /// How many threads are between the entry of a file and the file.
    static OPENING: AtomicUsize = AtomicUsize::new(0);

    /// A thread that is about to enter a file and to make it. A signal that ends the process in another thread waits for
    /// it, so that no file is made behind the removal of all.
    #[derive(Debug)]
    pub(crate) struct Opening;

    impl Opening {
        /// Announces a file; `None` if the process ends.
        pub(crate) fn new() -> Option<Self> {
            OPENING.fetch_add(1, Ordering::SeqCst);
            let opening = Self;
            (!ENDS.load(Ordering::SeqCst)).then_some(opening)
        }
    }

    impl Drop for Opening {
        fn drop(&mut self) {
            OPENING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits until no other thread makes a file, for a tenth of a second at most: the thread that the handler
    /// interrupted may be one, and goes on no more.
    fn wait_for_opening() {
        ENDS.store(true, Ordering::SeqCst);
        let millisecond = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        for _ in 0..100 {
            if OPENING.load(Ordering::SeqCst) == 0 {
                return;
            }
            // SAFETY: `nanosleep` may be called in a handler; the pointers are to a value of this function, and null.
            unsafe { libc::nanosleep(&raw const millisecond, ptr::null_mut()) };
        }
    }

    /// The entry of one temporary file; the drop removes the entry.
    #[derive(Debug)]
    pub(crate) struct Registered(Option<&'static AtomicPtr<c_char>>);

    impl Registered {
        /// Enters an absolute path. A path that finds no free entry is not entered.
        pub(crate) fn new(path: &Path) -> Self {
            let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return Self(None) };
            let path = path.into_raw();
            let free = |entry: &&AtomicPtr<c_char>| {
                entry.compare_exchange(ptr::null_mut(), path, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            };
            let entry = PATHS.iter().find(free);
            if entry.is_none() {
                // SAFETY: the pointer is of `into_raw` above, and no entry holds it.
                drop(unsafe { CString::from_raw(path) });
            }
            Self(entry)
        }
    }

    impl Drop for Registered {
        fn drop(&mut self) {
            let Some(entry) = self.0 else { return };
            let path = entry.swap(ptr::null_mut(), Ordering::AcqRel);
            if !path.is_null() {
                // SAFETY: the pointer is of `into_raw` in `new`. The swap took it from the entry, which only
                // this value and the signal handler do, so it is freed once.
                drop(unsafe { CString::from_raw(path) });
            }
        }
    }

    pub(super) fn install() {
        on_default(libc::SIGXFSZ, libc::SIG_IGN, 0);
        let handler: extern "C" fn(c_int) = remove_and_end;
        for signal in ENDING {
            // The default action holds again as soon as the handler runs.
            on_default(signal, handler as libc::sighandler_t, libc::SA_RESETHAND | libc::SA_RESTART);
        }
    }

    /// The signals that ask a process to stop.
    const STOPPING: [c_int; 2] = [libc::SIGINT, libc::SIGTERM];

    pub(super) fn install_stop() {
        let handler: extern "C" fn(c_int) = stop_first;
        let ours: extern "C" fn(c_int) = remove_and_end;
        for signal in STOPPING {
            // SAFETY: as in `on_default`.
            unsafe {
                let mut new: libc::sigaction = std::mem::zeroed();
                let known = libc::sigaction(signal, ptr::null(), &raw mut new) == 0;
                let actions = [libc::SIG_DFL, ours as libc::sighandler_t];
                if known && actions.contains(&new.sa_sigaction) {
                    new.sa_sigaction = handler as libc::sighandler_t;
                    new.sa_flags = libc::SA_RESTART;
                    libc::sigaction(signal, &raw const new, ptr::null_mut());
                }
            }
        }
    }

    /// Notes the first signal, and ends the process by the second.
    extern "C" fn stop_first(signal: c_int) {
        if super::STOP.swap(signal, Ordering::Relaxed) != 0 {
            // SAFETY: `signal` may be called in a handler; the default action holds again.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            remove_and_end(signal);
        }
    }

    /// Sets the action of a signal, if it has its default action.
    fn on_default(signal: c_int, action: libc::sighandler_t, flags: c_int) {
        // SAFETY: `new` is plain data, for which zeros are valid, and the pointers are to it or null. The handler
        // calls functions only that POSIX allows in one.
        unsafe {
            let mut new: libc::sigaction = std::mem::zeroed();
            let is_default =
                libc::sigaction(signal, ptr::null(), &raw mut new) == 0 && new.sa_sigaction == libc::SIG_DFL;
            if is_default {
                new.sa_sigaction = action;
                new.sa_flags = flags;
                libc::sigaction(signal, &raw const new, ptr::null_mut());
            }
        }
    }

    /// Removes the temporary files, as a signal handler may.
    pub(super) fn remove_all() {
        for entry in &PATHS {
            let path = entry.swap(ptr::null_mut(), Ordering::AcqRel);
            if !path.is_null() {
                // SAFETY: the path ends with a NUL, and no one frees it after the swap: the process is about
                // to end.
                unsafe { libc::unlink(path) };
            }
        }
    }

    /// Removes the temporary files and ends the process by the signal.
    extern "C" fn remove_and_end(signal: c_int) {
        wait_for_opening();
        remove_all();
        // SAFETY: `raise` may be called in a handler. The signal is blocked until the handler returns, and
        // then does what it does by default: it ends the process.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(not(unix))]
mod elsewhere {
    /// Nothing: the platform has no signals that end a process.
    #[derive(Debug)]
    pub(crate) struct Registered;

    impl Registered {
        pub(crate) fn new(_: &std::path::Path) -> Self {
            Self
        }
    }

    /// Nothing, for the same reason.
    #[derive(Debug)]
    pub(crate) struct Opening;

    impl Opening {
        pub(crate) fn new() -> Option<Self> {
            Some(Self)
        }
    }
}
