//! The folder of a run: its lock, its log, its checkpoints and its weights.

pub(crate) mod checkpoint;
pub(crate) mod hash;
pub(crate) mod log;
pub(crate) mod weights;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use checkpoint::{Checkpoint, State};

/// The key of the steps that were done, in the string map of a file of weights.
pub(crate) const WEIGHTS_STEP: &str = "wick.step";

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
        wick_files::check_folder(&checkpoints).map_err(cannot)?;
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
                    let _ = wick_files::remove_file(entry.path());
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

    /// Writes a checkpoint, whole or not at all, and removes the older ones, except the one that this process wrote
    /// or read before: of the others it is not known whether they are whole. Newer ones, which could not be used,
    /// stay until the run has passed them.
    pub(crate) fn save(&self, checkpoint: &Checkpoint, before: Option<u64>) -> Result<(), Error> {
        let step = checkpoint.state.step;
        let name = format!("step-{step:012}.safetensors");
        checkpoint.write(&self.path.join("checkpoints").join(name))?;
        let is_kept = |other: u64| other >= step || Some(other) == before;
        for (_, path) in self.checkpoints()?.into_iter().filter(|(other, _)| !is_kept(*other)) {
            // One that stays is removed after the next checkpoint.
            let _ = wick_files::remove_file(path);
        }
        Ok(())
    }

    /// Removes the weights of an earlier start of the run, which no checkpoint followed.
    pub(crate) fn remove_weights(&self) -> Result<(), Error> {
        for path in [self.best(), self.last()].into_iter().filter(|path| path.exists()) {
            wick_files::remove_file(path).map_err(Error::Write)?;
        }
        Ok(())
    }

    /// Removes all but the two newest checkpoints, for a run that is over: the process that wrote the last one may
    /// have been killed before it removed the older ones.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        for (_, path) in self.checkpoints()?.into_iter().skip(2) {
            let _ = wick_files::remove_file(path);
        }
        Ok(())
    }

    /// The newest checkpoint of a step up to `most` that is whole, and what is wrong with newer ones; `None` if there
    /// is no checkpoint at all. For a run that `goes_on`, its log and its best weights must be there too.
    pub(crate) fn newest(
        &self,
        most: u64,
        goes_on: bool,
    ) -> Result<Option<(PathBuf, Checkpoint, Vec<String>)>, Error> {
        let mut damaged = Vec::new();
        let mut all = self.checkpoints()?;
        all.retain(|(step, _)| *step <= most);
        for (_, path) in &all {
            let found = Checkpoint::read(path);
            let fits = |checkpoint: &Checkpoint| if goes_on { self.fits(&checkpoint.state) } else { Ok(()) };
            match found.and_then(|checkpoint| fits(&checkpoint).map(|()| checkpoint)) {
                Ok(checkpoint) => return Ok(Some((path.clone(), checkpoint, damaged))),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        match all.is_empty() {
            true => Ok(None),
            false => Err(Error::NoCheckpoint { folder: self.path.clone(), reasons: damaged.join("; ") }),
        }
    }

    /// Refuses a checkpoint whose log is not there, or whose best weights, unless the run is over.
    fn fits(&self, state: &State) -> Result<(), Error> {
        log::read(&self.log(), &state.log)?;
        let Some(best) = state.best.as_ref().filter(|_| state.ended.is_none()) else { return Ok(()) };
        let (_, kept) = weights::read(&self.best())?;
        let kept = kept.get(WEIGHTS_STEP).and_then(|step| step.parse::<u64>().ok());
        if kept < Some(best.step) {
            let needed = best.step;
            let reason =
                format!("the checkpoint of step {} needs the weights after step {needed} there", state.step);
            return Err(Error::File { path: self.best(), reason });
        }
        Ok(())
    }
}
