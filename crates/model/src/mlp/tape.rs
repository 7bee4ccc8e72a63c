//! The tape of a forward pass, and the backward pass over it.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var, bail};
use candle_nn::Linear;
use wick_kernels::{DeferredStats, DensePass};

/// The tape of a forward pass: what each layer keeps for the backward pass, as in reverse-mode automatic
/// differentiation. [`Mlp::tape`](super::Mlp::tape) records it and [`Tape::backward`] plays it back.
#[derive(Debug)]
pub struct Tape {
    pub(super) layers: Vec<(Linear, DensePass)>,
    pub(super) output: Var,
    /// On a GPU, the statistics stay here until the pass has ended.
    pub(super) deferred: DeferredStats,
}

impl Tape {
    /// The output of the last layer, from which the loss is to be computed.
    pub fn output(&self) -> &Tensor {
        self.output.as_tensor()
    }

    /// The output of each layer, first to last.
    pub fn outputs(&self) -> impl Iterator<Item = &Tensor> {
        self.layers.iter().map(|(_, pass)| pass.output())
    }

    /// The gradients of a loss with respect to all the variables that it depends on. The loss is computed
    /// from [`output`](Self::output), and it may use the weights directly as well, as a weight penalty does.
    ///
    /// # Errors
    /// If the loss does not depend on the output, or if the device or an observer fails.
    pub fn backward(&self, loss: &Tensor) -> Result<GradStore> {
        let mut gradients = loss.backward()?;
        let Some(mut gradient) = gradients.remove(&self.output) else {
            bail!("the loss does not depend on the output of this tape")
        };
        for (index, (linear, pass)) in self.layers.iter().enumerate().rev() {
            let found = pass.backward(&gradient, index > 0)?;
            add(&mut gradients, linear.weight(), found.weight)?;
            if let (Some(bias), Some(found)) = (linear.bias(), found.bias) {
                add(&mut gradients, bias, found)?;
            }
            if let Some(inputs) = found.inputs {
                gradient = inputs;
            }
        }
        self.deferred.deliver()?;
        Ok(gradients)
    }
}

/// Adds a parameter's gradient to the one that a penalty may have left in the store.
fn add(gradients: &mut GradStore, parameter: &Tensor, gradient: Tensor) -> Result<()> {
    let sum = match gradients.remove(parameter) {
        Some(penalty) => (penalty + gradient)?,
        None => gradient,
    };
    gradients.insert(parameter, sum);
    Ok(())
}
