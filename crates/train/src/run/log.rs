//! The log of a run: an object a line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wick_files::Appended;

use super::hash::ContentHash;
use crate::error::Error;

/// How long a line may wait before it is in the file.
const FLUSH: Duration = Duration::from_secs(1);

/// A file to which lines are added.
#[derive(Debug)]
pub(crate) struct Log {
    file: Appended,
    bytes: u64,
    hash: ContentHash,
    flushed: Instant,
}

/// What a log is at a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    /// Its length.
    pub(crate) bytes: u64,
    /// The hash of its bytes.
    pub(crate) hash: String,
}

impl Log {
    /// Opens a log, or makes it, and cuts it to what it had at a checkpoint.
    ///
    /// # Errors
    /// The log is not what it was then, or cannot be read or written.
    pub(crate) fn open(path: &Path, then: &LogState) -> Result<Self, Error> {
        let hash = read(path, then)?;
        let file = Appended::open(path, then.bytes).map_err(Error::Write)?;
        Ok(Self { file, bytes: then.bytes, hash, flushed: Instant::now() })
    }

    /// The length of the log and its hash.
    pub(crate) fn state(&self) -> LogState {
        LogState { bytes: self.bytes, hash: self.hash.clone().finish() }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, entry: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(entry).map_err(|error| Error::Write(error.into()))?;
        line.push(b'\n');
        self.file.add(&line).map_err(Error::Write)?;
        self.bytes += line.len() as u64;
        self.hash.bytes(&line);
        if self.flushed.elapsed() >= FLUSH {
            self.file.flush().map_err(Error::Write)?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    /// Brings all lines to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.file.sync().map_err(Error::Write)
    }
}

/// Refuses a log that does not begin with what it had at a checkpoint, and returns the hash of this beginning.
pub(crate) fn read(path: &Path, then: &LogState) -> Result<ContentHash, Error> {
    let refused = |reason: String| Error::File { path: path.to_owned(), reason };
    let mut hash = ContentHash::default();
    if then.bytes == 0 {
        return Ok(hash);
    }
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    let bytes =
        io::copy(&mut file.take(then.bytes), &mut hash).map_err(|error| refused(error.to_string()))?;
    if bytes < then.bytes {
        return Err(refused(format!("it is {bytes} bytes long, and was {} at the checkpoint", then.bytes)));
    }
    if hash.clone().finish() != then.hash {
        return Err(refused(format!("its first {bytes} bytes are not those that it had at the checkpoint")));
    }
    Ok(hash)
}
