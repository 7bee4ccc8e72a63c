//! A file that grows.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::cannot_write;
use crate::faults::{self, Operation, Told};
use crate::temporary::{folder_of, sync_folder};

/// A file to which bytes are added, such as a log: it is continued from a length that is known to be good, and
/// what a program that was killed wrote beyond it is cut off. Bytes wait in a buffer until [`flush`](Self::flush),
/// and are on the disk after [`sync`](Self::sync).
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("log");
/// let mut log = wick_files::Appended::open(&path, 0)?;
/// log.add(b"first\nsec")?;
/// log.sync()?;
/// drop(log);
/// let mut log = wick_files::Appended::open(&path, 6)?; // the half of a line is cut off
/// log.add(b"second\n")?;
/// log.flush()?;
/// assert_eq!(std::fs::read(&path)?, b"first\nsecond\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Appended {
    out: BufWriter<Told<File, PathBuf>>,
}

impl Appended {
    /// Opens a file, or makes it, and cuts it to a length in bytes. A shorter file is filled with zeros.
    ///
    /// # Errors
    /// The file cannot be made or written. The error names it, as all errors of this type do.
    pub fn open(path: impl AsRef<Path>, length: u64) -> io::Result<Self> {
        const BUFFER: usize = 1 << 16;
        let path = path.as_ref();
        let open = || -> io::Result<File> {
            let is_new = !path.exists();
            if is_new {
                faults::run(&Operation::Make(path), || Ok(()))?;
            }
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            if is_new {
                sync_folder(folder_of(path));
            }
            faults::run(&Operation::Cut(path, length), || file.set_len(length))?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        let file = open().map_err(|error| cannot_write(path, &error))?;
        Ok(Self { out: BufWriter::with_capacity(BUFFER, Told { file, path: path.to_owned() }) })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The buffer was full and cannot be written.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes).map_err(|error| self.cannot(&error))
    }

    /// Gives all bytes to the system, for other processes to read.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|error| self.cannot(&error))
    }

    /// Brings all bytes to the disk.
    ///
    /// # Errors
    /// They cannot be written or synced.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        let Told { file, path } = self.out.get_ref();
        faults::run(&Operation::Sync(path), || file.sync_data()).map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &io::Error) -> io::Error {
        cannot_write(&self.out.get_ref().path, error)
    }
}
