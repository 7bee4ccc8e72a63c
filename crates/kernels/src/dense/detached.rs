//! A dense layer outside candle's graph.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var, bail};
use wick_theory::Activation;

use crate::dense::composed::composed;
use crate::dense::observer::{Observation, Observer};
use crate::dense::op::{Dense, has_op};

/// A [`dense`](crate::dense()) layer that has gone forward and goes backward outside candle's graph. Candle's
/// own backward pass fills a tensor with zeros for every gradient and adds the gradient to it; this one does
/// not.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_kernels::DensePass;
/// use wick_theory::Activation;
///
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let w = Tensor::new(&[[3f32, -4.0], [1.0, 1.0]], &Device::Cpu)?;
/// let pass = DensePass::forward(&x, &w, None, Activation::Relu, None)?;
/// assert_eq!(pass.output().to_vec2::<f32>()?, [[0.0, 3.0]]);
/// let gradients = pass.backward(&pass.output().ones_like()?, true)?;
/// assert_eq!(gradients.weight.to_vec2::<f32>()?, [[0.0, 0.0], [1.0, 2.0]]);
/// assert_eq!(gradients.inputs.map(|g| g.to_vec2::<f32>()).transpose()?, Some(vec![vec![1.0, 1.0]]));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct DensePass {
    op: Dense,
    xs: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    output: Tensor,
    /// If the layer is composed of candle's own ops: variables in place of the input, the weight and the
    /// bias, and the output computed from them.
    composed: Option<(Var, Var, Option<Var>, Tensor)>,
}

impl std::fmt::Debug for DensePass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DensePass")
            .field("weight", &self.weight.dims())
            .field("activation", &self.op.activation)
            .field("output", &self.output.dims())
            .finish_non_exhaustive()
    }
}

/// The gradients that [`DensePass::backward`] returns.
#[derive(Debug, Clone)]
pub struct DenseGradients {
    /// The gradient with respect to the input, if it was asked for.
    pub inputs: Option<Tensor>,
    /// The gradient with respect to the weight.
    pub weight: Tensor,
    /// The gradient with respect to the bias, if there is one.
    pub bias: Option<Tensor>,
}

impl DensePass {
    /// Computes the same as [`dense`](crate::dense()), outside candle's graph.
    ///
    /// # Errors
    /// The errors of [`dense`](crate::dense()).
    pub fn forward(
        xs: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        activation: Activation,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self> {
        let has_op = has_op(xs, weight, bias)?;
        let xs = xs.detach().contiguous()?;
        let weight = weight.detach().contiguous()?;
        let bias = bias.map(|bias| bias.detach().contiguous()).transpose()?;
        let op = Dense {
            activation,
            observation: Observation::start(observer),
            inputs_want_gradient: true,
            differentiable: true,
            kept: Arc::default(),
        };
        let mut of_vars = None;
        let output = match (&bias, has_op) {
            (Some(bias), true) => xs.apply_op3_no_bwd(&weight, bias, &op)?,
            (None, true) => xs.apply_op2_no_bwd(&weight, &op)?,
            (_, false) => {
                let vars = (Var::from_tensor(&xs)?, Var::from_tensor(&weight)?);
                let bias = bias.as_ref().map(Var::from_tensor).transpose()?;
                let b = bias.as_ref().map(Var::as_tensor);
                let output = composed(&vars.0, &vars.1, b, activation, op.observation.clone())?;
                of_vars = Some((vars.0, vars.1, bias, output.clone()));
                output.detach()
            }
        };
        op.report(&output)?;
        Ok(Self { op, xs, weight, bias, output, composed: of_vars })
    }

    /// The output of the layer.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Computes the gradients from the gradient of a loss with respect to the output.
    ///
    /// # Errors
    /// If the gradient does not have the output's shape and type, or the observer returns an error.
    pub fn backward(&self, gradient: &Tensor, with_inputs: bool) -> Result<DenseGradients> {
        let gradient = gradient.detach();
        if gradient.shape() != self.output.shape() || gradient.dtype() != self.output.dtype() {
            bail!("a gradient of {:?} for an output of {:?}", gradient.shape(), self.output.shape());
        }
        let (inputs, weight, bias) = match &self.composed {
            None => {
                let (bias, output) = (self.bias.as_ref(), &self.output);
                self.op.backward(&self.xs, &self.weight, bias, output, &gradient, with_inputs)?
            }
            Some((xs, weight, bias, output)) => {
                let mut found = (output * gradient)?.sum_all()?.backward()?;
                let mut of = |var: &Var| match found.remove(var) {
                    Some(gradient) => Ok(gradient),
                    None => var.zeros_like(),
                };
                let of_bias = bias.as_ref().map(&mut of).transpose()?;
                (with_inputs.then(|| of(xs)).transpose()?, of(weight)?, of_bias)
            }
        };
        Ok(DenseGradients { inputs, weight, bias })
    }
}
