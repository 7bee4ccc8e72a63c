//! What a run looks at beside its steps: the first step, the layers, numbers that are not finite, a step again.

use candle_core::DType;
use wick_probe::{BatchGeometry, Diagnosis, Probe, Verdict};

use super::Session;
use crate::data::Batch;
use crate::error::Error;
use crate::order::Position;
use crate::trainer::accumulate::rows_of_first_leaf;
use crate::trainer::replay::{Replay, logged_loss, logged_losses};
use crate::trainer::step::{Objective, Step};
use crate::trainer::{not_finite, trial};

impl Session<'_, '_> {
    /// Tries the first step: stops at variables without a gradient, and notes a step that differs from itself.
    pub(super) fn try_first_step(&mut self, objective: &mut dyn Objective) -> Result<(), Error> {
        let position = self.order.position(0, self.trainer.config.batch)?;
        let found = trial::try_step(&self.variables, || self.gradients(0, &position, None, objective))?;
        if !found.without_gradient.is_empty() {
            if !self.trainer.allow_missing {
                return Err(Error::NoGradient(found.without_gradient));
            }
            let names = found.without_gradient.join(", ");
            self.say(&format!("no gradient reaches {names}: they stay as they are"));
        }
        if !found.is_deterministic {
            self.say(
                "the first step, run twice, gave different bits: the model draws from a generator without a key, \
                 as candle's Dropout, or counts its own steps, as Wick's without dropout.set_step(step.key()), so \
                 that a resumed run will differ from an undisturbed one",
            );
        }
        Ok(())
    }

    /// Takes the losses of the steps that are done from the log, for a run that goes on.
    pub(super) fn recall_losses(&mut self) {
        let logged = || logged_losses(&self.trainer.run.as_ref()?.folder.log(), self.state.step);
        self.losses = if self.state.step == 0 { Some(Vec::new()) } else { logged() };
    }

    /// The verdicts on the layers and on the losses, causes first.
    pub(super) fn judge(&self, probe: &Probe, position: &Position) -> Result<Vec<Verdict>, Error> {
        let reports = probe.layer_reports();
        let losses = self.losses.as_deref().unwrap_or_default();
        let input = if reports.is_empty() { BatchGeometry::normal(1, 1, 1.0) } else { self.input(position)? };
        Ok(Diagnosis::of(&reports, &input, &[], &[], losses).verdicts)
    }

    /// The samples of the first leaf, which the probe looks at.
    fn input(&self, position: &Position) -> Result<BatchGeometry, Error> {
        let rows = rows_of_first_leaf(self.cut.leaves, position.indices.len());
        let input = self.data.epoch_batch(position.epoch, &position.indices[rows.clone()])?.input;
        let features = (input.elem_count() / rows.len().max(1)).max(1);
        let values = input.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(BatchGeometry::of(&values, features))
    }

    /// The error of a loss that is not finite.
    pub(super) fn diverged(
        &self,
        step: u64,
        loss: f64,
        position: &Position,
        objective: &mut dyn Objective,
    ) -> Error {
        let mut explain = || -> Result<String, Error> {
            let batch: Batch = self.data.epoch_batch(position.epoch, &position.indices)?;
            let like = Step {
                batch: &batch,
                number: step,
                epoch: position.epoch,
                leaf: 0,
                seed: self.trainer.config.seed,
                loss_scale: 1.0,
                probe: None,
            };
            let rows: Vec<usize> = position.indices.iter().map(|index| self.data.row(*index)).collect();
            not_finite::explain(loss, &batch, (&rows, self.block()), &self.variables, like, objective)
        };
        let what = explain().unwrap_or_else(|error| format!("the loss is {loss} ({error})"));
        Error::Diverged { step, what: what + &self.last_good() }
    }

    /// Where the run can go on from.
    pub(super) fn last_good(&self) -> String {
        let newest =
            self.trainer.run.as_ref().and_then(|run| run.folder.checkpoints().ok()?.into_iter().next());
        newest.map(|(_, path)| format!("; the last checkpoint is '{}'", path.display())).unwrap_or_default()
    }

    pub(in crate::trainer) fn replay(
        mut self,
        step: u64,
        objective: &mut dyn Objective,
    ) -> Result<Replay, Error> {
        if step >= self.steps {
            let text = format!("there is no step {step}: the run has the steps 0 to {}", self.steps - 1);
            return Err(Error::Settings(text));
        }
        self.resume(Some(step))?;
        self.recall_losses();
        self.is_replaying = true;
        while self.state.step < step {
            self.step(self.state.step, objective)?;
            self.state.step += 1;
        }
        let position = self.order.position(step, self.trainer.config.batch)?;
        let probe = self.trainer.probe.as_ref().map_or_else(Probe::new, |(probe, _)| probe.clone());
        probe.clear();
        if step > 0 {
            probe.weights_are_trained();
        }
        let found = self.gradients(step, &position, Some(&probe), objective)?;
        if let Some(losses) = &mut self.losses {
            losses.push(found.loss);
        }
        let log = self.trainer.run.as_ref().map(|run| run.folder.log());
        Ok(Replay {
            step,
            epoch: position.epoch,
            loss: found.loss,
            logged_loss: log.and_then(|log| logged_loss(&log, step)),
            layers: probe.layer_reports(),
            verdicts: self.judge(&probe, &position)?,
            samples: position.indices.iter().map(|index| self.data.row(*index)).collect(),
            notices: self.notices,
        })
    }
}
