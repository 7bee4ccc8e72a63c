//! What a run writes, and how it goes on from it.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;

use super::Session;
use crate::error::Error;
use crate::metrics::Evaluation;
use crate::run::WEIGHTS_STEP;
use crate::run::checkpoint::Checkpoint;
use crate::run::weights;
use crate::trainer::not_finite;
use crate::trainer::replay::{first_line, logged_settings};

impl Session<'_, '_> {
    /// The variables as they are.
    fn weights(&self) -> Vec<(String, Tensor)> {
        let all = self.variables.all.iter();
        all.map(|named| (named.name.clone(), named.var.as_detached_tensor())).collect()
    }

    pub(super) fn keep_best(&mut self) -> Result<(), Error> {
        let weights = self.weights();
        match &self.trainer.run {
            Some(run) => {
                let about = about(self.state.step, self.state.best.as_ref().map(|best| &best.validation));
                weights::write(&run.folder.best(), &weights, about)?;
            }
            None => {
                let copied = weights.into_iter().map(|(name, tensor)| Ok((name, tensor.copy()?)));
                self.trainer.best_weights = Some(copied.collect::<Result<_, Error>>()?);
            }
        }
        Ok(())
    }

    /// Writes the weights at the end of the run.
    pub(super) fn write_last(&mut self) -> Result<(), Error> {
        let Some(run) = &self.trainer.run else { return Ok(()) };
        let path = run.folder.last();
        let about = about(self.state.step, self.state.validation.as_ref());
        self.show_weights()?;
        let written = weights::write(&path, &self.weights(), about);
        self.hide_weights()?;
        written
    }

    /// Does what a process that was killed at the end of the run did not come to, and writes the weights again if
    /// their file is damaged or gone.
    pub(super) fn finish_again(&mut self) -> Result<(), Error> {
        let Some(run) = &self.trainer.run else { return Ok(()) };
        run.folder.tidy()?;
        match weights::read(&run.folder.last()) {
            Ok(_) => Ok(()),
            Err(_) => self.write_last(),
        }
    }

    /// Refuses weights that are not finite, which are neither kept nor a result.
    pub(super) fn check_weights(&self) -> Result<(), Error> {
        let Some(bad) = not_finite::bad_variable(&self.variables)? else { return Ok(()) };
        let what = format!("{bad}; lower the learning rate, or clip the gradients{}", self.last_good());
        Err(Error::Diverged { step: self.state.step, what })
    }

    /// Writes a checkpoint, after the log that belongs to it.
    pub(super) fn checkpoint(&mut self) -> Result<(), Error> {
        if self.trainer.run.is_none() {
            return Ok(());
        }
        self.check_weights()?;
        if let Some(log) = &mut self.log {
            log.sync()?;
            self.state.log = log.state();
        }
        self.state.optimizer = self.optimizer.scalars();
        let mut tensors = self.weights();
        let of_optimizer = self.optimizer.state()?.into_iter();
        tensors.extend(of_optimizer.map(|(name, tensor)| (format!("optimizer/{name}"), tensor)));
        if let Some(ema) = &self.ema {
            self.state.ema = ema.scalars();
            tensors.extend(ema.state()?);
        }
        let checkpoint = Checkpoint { run: self.identity.clone(), state: self.state.clone(), tensors };
        if let Some(run) = &self.trainer.run {
            run.folder.save(&checkpoint, self.checkpoint)?;
            self.checkpoint = Some(self.state.step);
        }
        Ok(())
    }

    /// Goes on from the newest checkpoint of the run, or for a replay from the newest that is not beyond a step.
    pub(super) fn resume(&mut self, replayed: Option<u64>) -> Result<(), Error> {
        let Some(run) = &self.trainer.run else { return Ok(()) };
        if replayed.is_some() {
            // A step before all checkpoints is one of this run, too, or of none.
            match run.folder.newest(u64::MAX, false)? {
                Some((path, checkpoint, _)) => self.check_run(&path, &checkpoint.run)?,
                None => {
                    if let Some(settings) = logged_settings(&run.folder.log()) {
                        self.check_run(&run.folder.log(), &settings)?;
                    }
                }
            }
        }
        let Some((path, checkpoint, damaged)) =
            run.folder.newest(replayed.unwrap_or(u64::MAX), replayed.is_none())?
        else {
            return Ok(());
        };
        for text in damaged {
            self.say(&format!("{text}; the run goes on from '{}'", path.display()));
        }
        self.check_run(&path, &checkpoint.run)?;
        let other = |difference: String| Error::OtherRun { path: path.clone(), difference };
        let is_known = |name: &str| {
            let of_state = ["optimizer/", "ema/"].iter().any(|prefix| name.starts_with(prefix));
            of_state || self.variables.all.iter().any(|named| named.name == name)
        };
        if let Some((name, _)) = checkpoint.tensors.iter().find(|(name, _)| !is_known(name)) {
            return Err(other(format!("it has `{name}`, and this model does not")));
        }
        let mut loaded = Vec::with_capacity(self.variables.all.len());
        for named in &self.variables.all {
            let (name, var) = (&named.name, &named.var);
            let Some((_, tensor)) = checkpoint.tensors.iter().find(|(known, _)| known == name) else {
                return Err(other(format!("it has no `{name}`")));
            };
            if (tensor.dims(), tensor.dtype()) != (var.dims(), var.dtype()) {
                let (theirs, ours) = ((tensor.dtype(), tensor.dims()), (var.dtype(), var.dims()));
                return Err(other(format!("`{name}` is {theirs:?} there, and {ours:?} here")));
            }
            loaded.push(tensor.to_device(var.device())?);
        }
        self.optimizer.load_state(&checkpoint.under("optimizer/"), &checkpoint.state.optimizer)?;
        if let Some(ema) = &mut self.ema {
            let averages: Vec<_> =
                checkpoint.tensors.iter().filter(|(name, _)| name.starts_with("ema/")).cloned().collect();
            ema.load_state(&averages, &checkpoint.state.ema)?;
        }
        for (named, tensor) in self.variables.all.iter().zip(&loaded) {
            named.var.set(tensor)?;
        }
        self.state = checkpoint.state;
        self.checkpoint = Some(self.state.step);
        Ok(())
    }
}

impl Session<'_, '_> {
    /// Refuses to begin in a folder whose log is of another run, or no log of a run. A line that a killed process did
    /// not end is none.
    pub(super) fn check_log(&self) -> Result<(), Error> {
        let Some(run) = &self.trainer.run else { return Ok(()) };
        let log = run.folder.log();
        match first_line(&log) {
            None => Ok(()),
            Some(_) => match logged_settings(&log) {
                Some(settings) => self.check_run(&log, &settings),
                None => Err(Error::OtherRun { path: log, difference: "it is no log of a run".to_owned() }),
            },
        }
    }

    /// Refuses what another run has written, and names the first difference.
    fn check_run(&self, path: &Path, theirs: &BTreeMap<String, String>) -> Result<(), Error> {
        let other = |difference: String| Error::OtherRun { path: path.to_owned(), difference };
        let differs = |(name, ours): &(&String, &String)| theirs.get(*name) != Some(*ours);
        // What people can compare comes first.
        let is_hash =
            |name: &str| name.starts_with("hash") || name.starts_with("fingerprint") || name == "data";
        let different = self.identity.iter().filter(differs).min_by_key(|(name, _)| is_hash(name));
        if let Some((name, ours)) = different {
            let theirs = theirs.get(name).map_or("nothing", String::as_str);
            return Err(other(format!("it has {name} = {theirs}, and this run {ours}")));
        }
        match theirs.iter().find(|(name, _)| !self.identity.contains_key(*name)) {
            Some((name, theirs)) => Err(other(format!("it has {name} = {theirs}, and this run nothing"))),
            None => Ok(()),
        }
    }
}

/// What a file of weights says about itself.
fn about(step: u64, validation: Option<&Evaluation>) -> BTreeMap<String, String> {
    let mut about = BTreeMap::from([(WEIGHTS_STEP.to_owned(), step.to_string())]);
    if let Some(Ok(text)) = validation.map(serde_json::to_string) {
        about.insert("wick.validation".to_owned(), text);
    }
    about
}
