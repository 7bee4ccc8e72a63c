//! A perceptron and its loss, as a trainer takes them.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use candle_nn::Module;
use wick_model::Mlp;
use wick_model::loss::Loss;
use wick_train::Step;
use wick_train::data::{Batch, Task};

/// A net and what it minimizes: cross entropy of classes, or half the squared error.
#[derive(Debug)]
pub struct Objective {
    mlp: Mlp,
    loss: Loss,
}

impl Objective {
    /// A net for a task.
    pub fn new(mlp: Mlp, task: Task) -> Self {
        let loss = match task {
            Task::Classify => Loss::CrossEntropy,
            Task::Regress => Loss::Squared,
        };
        Self { mlp, loss }
    }

    /// The net.
    pub fn mlp(&self) -> &Mlp {
        &self.mlp
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// The mean loss of a batch and its gradients.
    ///
    /// # Errors
    /// The batch does not fit the net, or the device fails.
    pub fn gradients(&self, step: &Step) -> Result<(Tensor, GradStore)> {
        let tape = self.mlp.tape(step.input(), |layer| step.observer(layer))?;
        let targets = match self.loss {
            Loss::CrossEntropy => step.targets()?.clone(),
            Loss::Squared => step.targets()?.reshape(tape.output().shape())?,
        };
        let (loss, gradient) = self.loss.with_gradient(tape.output(), &targets)?;
        let scale = step.loss_scale();
        let gradient = if scale == 1.0 { gradient } else { (gradient * scale)? };
        Ok((loss, tape.backward_from(&gradient)?))
    }

    /// The outputs of a batch.
    ///
    /// # Errors
    /// The batch does not fit the net, or the device fails.
    pub fn outputs(&self, batch: &Batch) -> Result<Tensor> {
        self.mlp.forward(&batch.input)
    }
}
