//! Runs that are kept in a file while others go on.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use wick_files::Appended;

use super::design::Record;
use crate::error::Error;

/// A file of finished runs, an object a line: a process that is killed loses the runs at hand and no other. The first
/// line is a text that tells experiments apart. While a process writes the file, it locks an empty one beside it, whose
/// name has `.lock` behind it.
///
/// ```
/// use wick_train::compare::RecordFile;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("runs.jsonl");
/// let (file, known) = RecordFile::open(&path, "{\"experiment\": 1}")?;
/// assert!(known.is_empty());
/// assert!(RecordFile::open(&path, "{\"experiment\": 1}").unwrap_err().to_string().contains("it is in use"));
/// drop(file);
/// assert!(RecordFile::open(&path, "{\"experiment\": 2}").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RecordFile {
    file: Appended,
    path: PathBuf,
    /// The lock is given back when the file is closed, however the process ends.
    _lock: File,
}

impl RecordFile {
    /// Opens a file, or makes it, and returns the runs that it has. A line that a killed process did not end is cut off.
    ///
    /// # Errors
    /// The file is of another experiment, is no such file, is a device, a pipe or a folder, is in use by another process, or cannot be read or written.
    pub fn open(path: &Path, experiment: &str) -> Result<(Self, Vec<Record>), Error> {
        let refused = |reason: String| Error::File { path: path.to_owned(), reason };
        // A device or a pipe has no end, or nothing to read: a file is asked for before it is opened.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(refused("it is no regular file: give another name".to_owned()));
        }
        let lock = lock(path)?;
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(refused(error.to_string())),
        };
        let (mut good, mut records) = (0, Vec::new());
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            if number == 0 && line != experiment.as_bytes() {
                let text = "it has the runs of another experiment: the same options go on from it, and others need \
                            another file";
                return Err(refused(text.to_owned()));
            }
            if number > 0 {
                // What stands behind a damaged line is run again.
                let Ok(record) = serde_json::from_slice(line) else { break };
                records.push(record);
            }
            good += line.len() + 1;
        }
        if good == 0 && !bytes.is_empty() && !experiment.as_bytes().starts_with(&bytes) {
            return Err(refused("it is no file of runs: give another name".to_owned()));
        }
        let appended = Appended::open(path, good as u64).map_err(Error::Write)?;
        let mut file = Self { file: appended, path: path.to_owned(), _lock: lock };
        if good == 0 {
            file.line(experiment.as_bytes())?;
        }
        Ok((file, records))
    }

    /// Adds a run, which is on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, record: &Record) -> Result<(), Error> {
        let line = serde_json::to_vec(record).map_err(|error| Error::Write(error.into()))?;
        self.line(&line)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        let line = [line, b"\n"].concat();
        self.file.add(&line).and_then(|()| self.file.sync()).map_err(Error::Write)
    }
}

/// Locks the file beside a file of runs, or refuses to wait for it.
fn lock(path: &Path) -> Result<File, Error> {
    let cannot = |error: io::Error| {
        let text = format!("cannot write '{}': {error}", path.display());
        Error::Write(io::Error::new(error.kind(), text))
    };
    let mut beside = OsString::from(path);
    beside.push(".lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside).map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let reason = "it is in use by another process: wait for it, or give another file".to_owned();
            Err(Error::File { path: path.to_owned(), reason })
        }
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}
