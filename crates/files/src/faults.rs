//! A hook for tests: it is told each change of the file system before it happens, and may forbid it.
//!
//! A test plays a full disk, a short write, a kill or a power cut at every operation of a program with it. The hook
//! is that of one thread, so that tests do not meet each other's; without one an operation costs one look at a
//! variable of the thread. What other threads do, such as the syncs of a `FileSet`, it is not told.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A change of the file system that is about to happen.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// A folder is made.
    MakeFolder(&'a Path),
    /// A file is made.
    Make(&'a Path),
    /// Bytes are written at the end of a file.
    Write(&'a Path, &'a [u8]),
    /// A file is cut to a length.
    Cut(&'a Path, u64),
    /// The contents of a file are synced to the disk.
    Sync(&'a Path),
    /// A file is renamed, and replaces the one of the second name.
    Rename(&'a Path, &'a Path),
    /// A file is removed.
    Remove(&'a Path),
    /// The names in a folder are synced to the disk.
    SyncFolder(&'a Path),
}

/// What becomes of an operation.
#[derive(Debug)]
pub enum Answer {
    /// It happens.
    Go,
    /// It does not happen, and succeeds. A write writes nothing.
    Skip,
    /// Of a write, this number of bytes is written, and the write succeeds. Other operations happen.
    Short(usize),
    /// It does not happen, and fails.
    Fail(io::Error),
}

type Hook = Box<dyn FnMut(&Operation) -> Answer>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Ends a hook when it is dropped.
pub struct Watch(());

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        HOOK.with_borrow_mut(Option::take);
    }
}

/// Tells a hook each change that this thread is about to make, in place of the hook before.
///
/// ```
/// use std::io;
/// use wick_files::faults::{Answer, Operation, watch};
///
/// let folder = tempfile::tempdir()?;
/// let full = watch(|operation| match operation {
///     Operation::Write(..) => Answer::Fail(io::ErrorKind::StorageFull.into()),
///     _ => Answer::Go,
/// });
/// let error = wick_files::write(folder.path().join("a"), b"text").unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::StorageFull);
/// drop(full);
/// wick_files::write(folder.path().join("a"), b"text")?;
/// # Ok::<(), io::Error>(())
/// ```
pub fn watch(hook: impl FnMut(&Operation) -> Answer + 'static) -> Watch {
    HOOK.with_borrow_mut(|place| *place = Some(Box::new(hook)));
    Watch(())
}

fn ask(operation: &Operation) -> Answer {
    HOOK.with_borrow_mut(|hook| hook.as_mut().map_or(Answer::Go, |hook| hook(operation)))
}

/// Runs an operation, if the hook allows it.
pub(crate) fn run(operation: &Operation, run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match ask(operation) {
        Answer::Go | Answer::Short(_) => run(),
        Answer::Skip => Ok(()),
        Answer::Fail(error) => Err(error),
    }
}

/// A file whose writes the hook is told.
#[derive(Debug)]
pub(crate) struct Told<F, P> {
    pub(crate) file: F,
    pub(crate) path: P,
}

impl<F: Borrow<File>, P: AsRef<Path>> Write for Told<F, P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match ask(&Operation::Write(self.path.as_ref(), bytes)) {
            Answer::Go => self.file.borrow().write(bytes),
            Answer::Short(n) => self.file.borrow().write(&bytes[..n.min(bytes.len())]),
            Answer::Skip => Ok(bytes.len()),
            Answer::Fail(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.borrow().flush()
    }
}
