//! The ways to run a trainer.

use candle_core::backprop::GradStore;
use candle_core::{Result as CandleResult, Tensor};

use super::Trainer;
use super::outcome::Outcome;
use super::replay::Replay;
use super::session::Session;
use super::step::{ByGradients, ByLoss, Objective, Step};
use crate::data::Dataset;
use crate::error::Error;

impl Trainer<'_> {
    /// Trains with gradients from candle's graph: `loss` returns the mean loss of the samples that it is given.
    /// At the end of the run, the variables have the weights that are kept: the averaged ones, where there are such.
    ///
    /// # Errors
    /// The data do not fit the settings; a variable gets no gradient; a number is not finite; a checkpoint is of
    /// another run; a file cannot be written; or an error of the model.
    pub fn fit(
        &mut self,
        data: &dyn Dataset,
        loss: impl FnMut(&Step) -> CandleResult<Tensor>,
    ) -> Result<Outcome, Error> {
        self.fit_objective(data, &mut ByLoss(loss))
    }

    /// Trains with gradients that the closure computes beside the mean loss of the samples that it is given.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_gradients(
        &mut self,
        data: &dyn Dataset,
        gradients: impl FnMut(&Step) -> CandleResult<(Tensor, GradStore)>,
    ) -> Result<Outcome, Error> {
        self.fit_objective(data, &mut ByGradients(gradients))
    }

    fn fit_objective(&mut self, data: &dyn Dataset, objective: &mut dyn Objective) -> Result<Outcome, Error> {
        Session::new(self, data)?.fit(objective)
    }

    /// Runs a step of the run again, to the bit, under a probe: from the newest checkpoint before it, or from the
    /// start, for which the variables have to be as they were then. Nothing is written.
    ///
    /// # Errors
    /// The step is not one of the run, and as [`fit`](Self::fit).
    pub fn replay(
        &mut self,
        data: &dyn Dataset,
        step: u64,
        loss: impl FnMut(&Step) -> CandleResult<Tensor>,
    ) -> Result<Replay, Error> {
        Session::new(self, data)?.replay(step, &mut ByLoss(loss))
    }

    /// As [`replay`](Self::replay), for a closure that computes gradients.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    pub fn replay_gradients(
        &mut self,
        data: &dyn Dataset,
        step: u64,
        gradients: impl FnMut(&Step) -> CandleResult<(Tensor, GradStore)>,
    ) -> Result<Replay, Error> {
        Session::new(self, data)?.replay(step, &mut ByGradients(gradients))
    }
}
