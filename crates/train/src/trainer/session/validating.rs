//! Validation within a run.

use super::Session;
use crate::error::Error;
use crate::metrics::Evaluation;
use crate::run::checkpoint::State;
use crate::trainer::line::Line;
use crate::trainer::outcome::{Best, Point};
use crate::trainer::validation::Validation;
use wick_kernels::Ema;

impl Session<'_, '_> {
    /// Whether the course of the run has a point here, where it is validated too.
    pub(super) fn is_point(&self, is_last: bool) -> bool {
        let every = self.trainer.validation.as_ref().and_then(|validation| validation.every);
        is_last || self.state.step.is_multiple_of(every.unwrap_or(self.steps_per_epoch))
    }

    /// The samples that are in memory at once.
    pub(super) fn block(&self) -> usize {
        self.trainer.config.batch.div_ceil(self.cut.leaves)
    }

    /// Adds a point to the course of the run.
    pub(super) fn add_point(&mut self) {
        let State { step, validation, history, loss_sum, .. } = &mut self.state;
        let before = history.last().map_or(0, |point| point.step);
        let of_validation = validation.as_ref().filter(|_| self.trainer.validation.is_some());
        history.push(Point {
            step: *step,
            loss: *loss_sum / (*step - before).max(1) as f64,
            validation_loss: of_validation.map(|evaluation| evaluation.loss),
            score: of_validation.and_then(Evaluation::score),
        });
        *loss_sum = 0.0;
    }

    /// Validates, keeps the best weights, and returns whether the run is to stop.
    pub(super) fn validate(&mut self) -> Result<bool, Error> {
        let Some(validation) = self.trainer.validation.take() else { return Ok(false) };
        self.show_weights()?;
        let evaluation =
            validation.run(self.block()).and_then(|evaluation| self.compare(&validation, evaluation));
        self.hide_weights()?;
        let patience = validation.stopping.patience;
        self.trainer.validation = Some(validation);
        let evaluation = evaluation.map_err(|error| match error {
            Error::NotFinite { .. } => Error::Diverged {
                step: self.state.step,
                what: format!(
                    "the outputs of the validation are not finite ({error}): lower the learning rate, or clip the \
                     gradients{}",
                    self.last_good()
                ),
            },
            error => error,
        })?;
        self.add(&Line::validation(self.state.step, &evaluation))?;
        self.state.validation = Some(evaluation);
        Ok(self.state.waited >= patience)
    }

    /// Keeps the weights of a validation if it is the best.
    fn compare(&mut self, validation: &Validation, evaluation: Evaluation) -> Result<Evaluation, Error> {
        let best = self.state.best.as_ref().map(|best| &best.validation);
        if validation.stopping.is_better(&evaluation, best) {
            self.state.best = Some(Best { step: self.state.step, validation: evaluation.clone() });
            self.state.waited = 0;
            self.keep_best()?;
        } else {
            self.state.waited += 1;
        }
        Ok(evaluation)
    }

    /// Gives the variables the weights that are validated and kept.
    pub(super) fn show_weights(&mut self) -> Result<(), Error> {
        self.optimizer.eval()?;
        Ok(self.ema.as_mut().map_or(Ok(()), Ema::apply)?)
    }

    /// Gives the variables the weights that are trained.
    pub(super) fn hide_weights(&mut self) -> Result<(), Error> {
        self.ema.as_mut().map_or(Ok(()), Ema::restore)?;
        Ok(self.optimizer.train()?)
    }
}
