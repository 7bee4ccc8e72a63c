//! The folder of a run: its lock, its log, its checkpoints and its weights.

pub(crate) mod checkpoint;
pub(crate) mod log;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use checkpoint::Checkpoint;

/// The number of checkpoints that are kept: the newest, and the one before it.
const KEPT: usize = 2;

/// The folder of a run, which no other process writes while this value lives.
///
/// | file | contents |
/// |---|---|
/// | `log.jsonl` | an object for each step ([`Trainer`](crate::Trainer) says what it has) |
/// | `checkpoints/step-….safetensors` | the newest checkpoint and the one before |
/// | `best.safetensors` | the weights with the best validation |
/// | `last.safetensors` | the weights at the end |
/// | `lock` | nothing; it is locked while a process writes the run |
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The lock is given back when the file is closed, however the process ends.
    _lock: File,
}

impl RunFolder {
    /// Opens a folder, or makes it, and locks it.
    ///
    /// ```
    /// use wick_train::{Error, RunFolder};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let run = RunFolder::open(folder.path())?;
    /// assert!(matches!(RunFolder::open(folder.path()), Err(Error::Locked(_))));
    /// drop(run);
    /// assert!(RunFolder::open(folder.path()).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Another process writes the run, or the folder cannot be made or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let shown = path.display().to_string();
        let cannot = |error: io::Error| {
            let text = format!("cannot use the folder '{shown}' for a run: {error}");
            Error::Write(io::Error::new(error.kind(), text))
        };
        let checkpoints = path.join("checkpoints");
        fs::create_dir_all(&checkpoints).map_err(cannot)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(path)),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let run = Self { path, _lock: lock };
        // What a killed process left. No other process writes here.
        for folder in [&run.path, &checkpoints] {
            for entry in fs::read_dir(folder).map_err(cannot)?.flatten() {
                if entry.file_name().to_string_lossy().starts_with(".wick-") {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(run)
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// The file of the best weights.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// The file of the last weights.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// The checkpoints with their steps, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let folder = self.path.join("checkpoints");
        let entries = fs::read_dir(&folder)
            .map_err(|error| Error::File { path: folder.clone(), reason: error.to_string() })?;
        let step = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
        };
        let mut found: Vec<(u64, PathBuf)> =
            entries.flatten().filter_map(|entry| Some((step(&entry.path())?, entry.path()))).collect();
        found.sort();
        found.reverse();
        Ok(found)
    }

    /// Writes a checkpoint, whole or not at all, and removes those that are no longer kept.
    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let name = format!("step-{:012}.safetensors", checkpoint.state.step);
        checkpoint.write(&self.path.join("checkpoints").join(name))?;
        let older = self.checkpoints()?.into_iter().filter(|(step, _)| *step <= checkpoint.state.step);
        for (_, path) in older.skip(KEPT) {
            // One that stays is removed after the next checkpoint.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// The newest checkpoint of a step up to `most` that is whole and fits its log, and what is wrong with newer
    /// ones; `None` if there is no checkpoint at all.
    pub(crate) fn newest(&self, most: u64) -> Result<Option<(PathBuf, Checkpoint, Vec<String>)>, Error> {
        let mut damaged = Vec::new();
        let mut all = self.checkpoints()?;
        all.retain(|(step, _)| *step <= most);
        for (_, path) in &all {
            match Checkpoint::read(path).and_then(|checkpoint| self.fits_log(checkpoint)) {
                Ok(checkpoint) => return Ok(Some((path.clone(), checkpoint, damaged))),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        match all.is_empty() {
            true => Ok(None),
            false => Err(Error::NoCheckpoint { folder: self.path.clone(), reasons: damaged.join("; ") }),
        }
    }

    /// Refuses a checkpoint whose log is not there.
    fn fits_log(&self, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
        let bytes = fs::metadata(self.log()).map_or(0, |about| about.len());
        let needed = checkpoint.state.log_bytes;
        if bytes >= needed {
            return Ok(checkpoint);
        }
        let reason = format!(
            "it is {bytes} bytes long, and {needed} at the checkpoint of step {}",
            checkpoint.state.step
        );
        Err(Error::File { path: self.log(), reason })
    }
}
