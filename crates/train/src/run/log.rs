//! The log of a run: an object a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;

/// How long a line may wait before it is in the file.
const FLUSH: Duration = Duration::from_secs(1);

/// A file to which lines are added.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    out: BufWriter<File>,
    bytes: u64,
    flushed: Instant,
}

impl Log {
    /// Opens a log, or makes it, and cuts it to the bytes that it had at a checkpoint.
    pub(crate) fn open(path: PathBuf, bytes: u64) -> Result<Self, Error> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.set_len(bytes)?;
            file.seek(SeekFrom::Start(bytes))?;
            Ok(file)
        };
        let file = open().map_err(|error| cannot(&path, &error))?;
        Ok(Self { path, out: BufWriter::with_capacity(1 << 16, file), bytes, flushed: Instant::now() })
    }

    /// The length of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, entry: &impl Serialize) -> Result<(), Error> {
        let mut line = serde_json::to_vec(entry).map_err(|error| cannot(&self.path, &error.into()))?;
        line.push(b'\n');
        self.out.write_all(&line).map_err(|error| cannot(&self.path, &error))?;
        self.bytes += line.len() as u64;
        if self.flushed.elapsed() >= FLUSH {
            self.out.flush().map_err(|error| cannot(&self.path, &error))?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    /// Brings all lines to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let sync = |out: &mut BufWriter<File>| {
            out.flush()?;
            out.get_ref().sync_data()
        };
        sync(&mut self.out).map_err(|error| cannot(&self.path, &error))
    }
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot write the log '{}': {error}", path.display());
    Error::Write(io::Error::new(error.kind(), text))
}
