//! The net that is trained: a perceptron as it is, or with batch norm in front of each hidden activation.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};
use candle_nn::{Linear, ModuleT, VarBuilder, linear_b};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use wick_bins::objective::Objective;
use wick_kernels::{activate, dense};
use wick_layers::{BatchNorm, batch_norm};
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;
use wick_train::Step;
use wick_train::data::{Batch, Task};

/// What is added to a variance, as in PyTorch.
const EPS: f64 = 1e-5;

/// What stands between a hidden layer and its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Norm {
    /// Nothing
    None,
    /// Batch norm
    Batch,
}

/// A net and what it minimizes.
#[derive(Debug)]
pub(crate) enum Net {
    Plain(Objective),
    Normed(Normed),
}

/// A perceptron `h ← φ(batch norm(h Wᵀ))` with a linear output layer. Its variables are `layer_0.weight`, `norm_0.weight`,
/// `norm_0.bias` and so on; a hidden layer has no bias beside that of its norm.
#[derive(Debug)]
pub(crate) struct Normed {
    hidden: Vec<(Linear, BatchNorm)>,
    output: Linear,
    activation: Activation,
    loss: Loss,
}

impl Net {
    pub(crate) fn new(config: &MlpConfig, norm: Norm, vb: VarBuilder, task: Task) -> Result<Self> {
        let objective = |mlp| Objective::new(mlp, task);
        match norm {
            Norm::None => Ok(Self::Plain(objective(Mlp::new(config, vb)?))),
            Norm::Batch => Ok(Self::Normed(Normed::new(config, vb, task)?)),
        }
    }

    /// The mean loss of a batch and its gradients.
    pub(crate) fn gradients(&self, step: &Step) -> Result<(Tensor, GradStore)> {
        match self {
            Self::Plain(objective) => objective.gradients(step),
            Self::Normed(net) => {
                let output = net.forward(step.input(), true, |_, _, _, h| Ok(h))?;
                let loss = net.loss(&output, step.targets()?)?;
                let scale = step.loss_scale();
                let gradients = if scale == 1.0 { loss.backward()? } else { (&loss * scale)?.backward()? };
                Ok((loss.detach(), gradients))
            }
        }
    }

    /// The outputs of a batch; batch norm is by its running statistics.
    pub(crate) fn outputs(&self, batch: &Batch) -> Result<Tensor> {
        match self {
            Self::Plain(objective) => objective.outputs(batch),
            Self::Normed(net) => net.forward(&batch.input, false, |_, _, _, h| Ok(h)),
        }
    }

    /// Passes a batch forward and its gradient backward, and has a probe record each layer; batch norm is as in training.
    pub(crate) fn observe(&self, probe: &Probe, batch: &Batch) -> Result<()> {
        match self {
            Self::Plain(objective) => {
                let tape = objective.mlp().tape(&batch.input, |layer| Some(probe.observer(layer)))?;
                if let Some(targets) = &batch.targets {
                    let targets = fitted(objective.loss(), targets, tape.output())?;
                    let (_, gradient) = objective.loss().with_gradient(tape.output(), &targets)?;
                    tape.backward_from(&gradient)?;
                }
            }
            Self::Normed(net) => {
                let output = net
                    .forward(&batch.input, true, |name, phi, z, h| probe.tap_activation(&name, phi, z, &h))?;
                if let Some(targets) = &batch.targets {
                    net.loss(&output, targets)?.backward()?;
                }
            }
        }
        Ok(())
    }
}

impl Normed {
    fn new(config: &MlpConfig, vb: VarBuilder, task: Task) -> Result<Self> {
        let last = config.widths.len().saturating_sub(1);
        let mut hidden = Vec::with_capacity(last);
        let mut output = None;
        for (index, (inputs, outputs)) in config.layers().enumerate() {
            let own = vb.pp(format!("layer_{index}"));
            if index == last {
                output = Some(linear_b(inputs, outputs, config.bias, own)?);
            } else {
                let norm = batch_norm(outputs, EPS, vb.pp(format!("norm_{index}")))?;
                hidden.push((linear_b(inputs, outputs, false, own)?, norm));
            }
        }
        let loss = match task {
            Task::Classify => Loss::CrossEntropy,
            Task::Regress => Loss::Squared,
        };
        let output = output.ok_or_else(|| candle_core::Error::Msg("a net has a layer at least".into()))?;
        Ok(Self { hidden, output, activation: config.activation, loss })
    }

    /// The output of a batch. `callback` gets the name, the activation, its input and its output of each layer, and returns
    /// the output to go on with.
    fn forward(
        &self,
        xs: &Tensor,
        train: bool,
        callback: impl Fn(String, Activation, &Tensor, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut h = xs.clone();
        for (index, (linear, norm)) in self.hidden.iter().enumerate() {
            let z = dense(&h, linear.weight(), linear.bias(), Activation::Identity, None)?;
            let z = norm.forward_t(&z, train)?;
            let output = activate(self.activation, &z)?;
            h = callback(format!("layer_{index}"), self.activation, &z, output)?;
        }
        let z = dense(&h, self.output.weight(), self.output.bias(), Activation::Identity, None)?;
        callback(format!("layer_{}", self.hidden.len()), Activation::Identity, &z, z.clone())
    }

    fn loss(&self, output: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.loss.forward(output, &fitted(self.loss, targets, output)?)
    }
}

/// Targets in the shape that the loss takes.
fn fitted(loss: Loss, targets: &Tensor, output: &Tensor) -> Result<Tensor> {
    match loss {
        Loss::CrossEntropy => Ok(targets.clone()),
        Loss::Squared => targets.reshape(output.shape()),
    }
}
