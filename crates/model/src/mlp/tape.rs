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
        let Some(of_output) = gradients.remove(&self.output) else {
            bail!("the loss does not depend on the output of this tape")
        };
        self.play(of_output, gradients)
    }

    /// The gradients of a loss with respect to the parameters, from its gradient with respect to
    /// [`output`](Self::output), of the output's shape and type:
    /// [`Loss::with_gradient`](crate::loss::Loss::with_gradient) computes it in one pass with the loss. In a
    /// small net this saves the time that candle's graph takes.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{VarBuilder, VarMap};
    /// use wick_model::{Activation, Mlp, MlpConfig, loss::Loss};
    ///
    /// let vars = VarMap::new();
    /// let vb = VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu);
    /// let mlp = Mlp::new(&MlpConfig::new(2, [3, 2], Activation::Tanh), vb)?;
    /// let tape = mlp.tape(&Tensor::new(&[[0.5f64, -1.0]], &Device::Cpu)?, |_| None)?;
    /// let classes = Tensor::new(&[1u32], &Device::Cpu)?;
    /// let (loss, gradient) = Loss::CrossEntropy.with_gradient(tape.output(), &classes)?;
    /// let gradients = tape.backward_from(&gradient)?;
    /// let by_graph = Loss::CrossEntropy.forward(tape.output(), &classes)?;
    /// assert_eq!(loss.to_scalar::<f64>()?, by_graph.to_scalar::<f64>()?);
    /// let by_graph = tape.backward(&by_graph)?;
    /// for var in vars.all_vars() {
    ///     let of = |store: &candle_core::backprop::GradStore| {
    ///         store.get(&var).map(|g| g.to_vec2::<f64>()).transpose()
    ///     };
    ///     assert_eq!(of(&gradients)?, of(&by_graph)?);
    /// }
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the gradient does not have the output's shape and type, or if the device or an observer fails.
    pub fn backward_from(&self, gradient: &Tensor) -> Result<GradStore> {
        self.play(gradient.clone(), GradStore::default())
    }

    /// Plays the tape back from the gradient of the output, and adds to the gradients that are there.
    fn play(&self, of_output: Tensor, mut gradients: GradStore) -> Result<GradStore> {
        let mut gradient = of_output;
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
