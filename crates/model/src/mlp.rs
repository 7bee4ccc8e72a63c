//! The multilayer perceptron.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var, bail};
use candle_nn::{Linear, Module, VarBuilder, linear_b};
use wick_kernels::{DeferredStats, DensePass, Observer, dense};
use wick_theory::Activation;

use crate::activate;

/// The shape of an [`Mlp`].
///
/// ```
/// use wick_model::{Activation, MlpConfig};
///
/// let config = MlpConfig::new(800, [750, 700, 10], Activation::Relu)
///     .with_bias(true)
///     .with_output_activation(Activation::Identity);
/// assert_eq!(config.parameters(), 800 * 750 + 750 + 750 * 700 + 700 + 700 * 10 + 10);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MlpConfig {
    /// Inputs of the first layer.
    pub features: usize,
    /// Outputs of each layer, the last one's included.
    pub widths: Vec<usize>,
    /// Whether layers add a bias.
    pub bias: bool,
    /// What every layer but the last applies.
    pub activation: Activation,
    /// What the last layer applies.
    pub output_activation: Activation,
}

impl MlpConfig {
    /// Layers of these widths, without biases, the same activation behind each, the last one too.
    pub fn new(features: usize, widths: impl Into<Vec<usize>>, activation: Activation) -> Self {
        Self { features, widths: widths.into(), bias: false, activation, output_activation: activation }
    }

    /// The same with or without biases.
    pub fn with_bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// The same with another activation behind the last layer.
    pub fn with_output_activation(self, output_activation: Activation) -> Self {
        Self { output_activation, ..self }
    }

    /// `(inputs, outputs)` of each layer.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let inputs = std::iter::once(self.features).chain(self.widths.iter().copied());
        inputs.zip(self.widths.iter().copied())
    }

    /// How many numbers there are to train.
    pub fn parameters(&self) -> usize {
        self.layers().map(|(inputs, outputs)| inputs * outputs + if self.bias { outputs } else { 0 }).sum()
    }
}

/// What one layer hands to who looks at it, in [`Mlp::forward_with`].
#[derive(Debug)]
pub struct Signal<'a> {
    /// `layer_0`, `layer_1`, …: the prefix of the layer's weights in the `VarBuilder`, too.
    pub name: &'a str,
    /// What `pre_activation` goes through.
    pub activation: Activation,
    /// `z = x Wᵀ + b`, of shape `[…, out]`.
    pub pre_activation: &'a Tensor,
    /// `h = φ(z)`, of the same shape.
    pub output: Tensor,
}

/// A multilayer perceptron: `h ← φ(h Wᵀ + b)`, layer after layer.
///
/// The weights are `layer_0.weight` (`[out, in]`), `layer_0.bias` and so on, taken from a plain
/// `VarBuilder` through [`candle_nn::linear_b`]: from a checkpoint, from candle's `VarMap`, or from Wick's
/// own seeded map.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    name: String,
    linear: Linear,
    activation: Activation,
}

impl Mlp {
    /// Takes the weights from the builder.
    ///
    /// # Errors
    /// Those of the builder: a missing tensor, a wrong shape, no memory.
    pub fn new(config: &MlpConfig, vb: VarBuilder) -> Result<Self> {
        let last = config.widths.len().saturating_sub(1);
        let layers = config.layers().enumerate().map(|(index, (inputs, outputs))| {
            let name = format!("layer_{index}");
            let linear = linear_b(inputs, outputs, config.bias, vb.pp(&name))?;
            let activation = if index == last { config.output_activation } else { config.activation };
            Ok(Layer { name, linear, activation })
        });
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// The forward pass, with `see` between the layers: it gets each layer's [`Signal`] and returns the
    /// tensor to go on with, which is `signal.output` itself, or that with a tap on it.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{VarBuilder, VarMap};
    /// use wick_model::{Activation, Mlp, MlpConfig};
    ///
    /// let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    /// let mlp = Mlp::new(&MlpConfig::new(4, [6, 2], Activation::Relu), vb)?;
    /// let mut seen = Vec::new();
    /// mlp.forward_with(&Tensor::ones((1, 4), DType::F32, &Device::Cpu)?, |signal| {
    ///     seen.push((signal.name.to_owned(), signal.output.dims().to_vec()));
    ///     Ok(signal.output)
    /// })?;
    /// assert_eq!(seen, [("layer_0".to_owned(), vec![1, 6]), ("layer_1".to_owned(), vec![1, 2])]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn forward_with(&self, xs: &Tensor, mut see: impl FnMut(Signal) -> Result<Tensor>) -> Result<Tensor> {
        let mut h = xs.clone();
        for Layer { name, linear, activation } in &self.layers {
            let z = dense(&h, linear.weight(), linear.bias(), Activation::Identity, None)?;
            let output = activate(*activation, &z)?;
            h = see(Signal { name, activation: *activation, pre_activation: &z, output })?;
        }
        Ok(h)
    }

    /// The forward pass with a observer on each layer for which `observer` has one: it hears the statistics of the
    /// layer's output and, in a backward pass, of its gradient. They are taken while the layer computes, and so cost
    /// hardly anything; nothing else changes.
    ///
    /// # Errors
    /// If the input does not fit the first layer, or the device refuses.
    pub fn forward_observed(
        &self,
        xs: &Tensor,
        observer: impl Fn(&str) -> Option<Arc<dyn Observer>>,
    ) -> Result<Tensor> {
        let deferred = DeferredStats::default();
        let (mut h, mut is_first) = (xs.clone(), true);
        for Layer { name, linear, activation } in &self.layers {
            let observer = observer(name).filter(|observer| observer.is_active()).map(|observer| {
                // The first layer with an active observer is the last one on the way back.
                deferred.observer(observer, std::mem::take(&mut is_first))
            });
            h = dense(&h, linear.weight(), linear.bias(), *activation, observer)?;
        }
        deferred.deliver()?;
        Ok(h)
    }

    /// A forward pass that is to be followed by a backward one, [`Tape::backward`]: faster than candle's own through the
    /// output of [`forward`](Module::forward), with the same gradients. Observers are as for
    /// [`forward_observed`](Self::forward_observed).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{VarBuilder, VarMap};
    /// use wick_model::{Activation, Mlp, MlpConfig};
    ///
    /// let vars = VarMap::new();
    /// let vb = VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu);
    /// let mlp = Mlp::new(&MlpConfig::new(2, [3, 1], Activation::Tanh), vb)?;
    /// let pass = mlp.tape(&Tensor::new(&[[0.5f64, -1.0]], &Device::Cpu)?, |_| None)?;
    /// let loss = pass.output().sqr()?.sum_all()?;
    /// let gradients = pass.backward(&loss)?;
    /// assert!(vars.all_vars().iter().all(|var| gradients.get(var).is_some()));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the input does not fit the first layer, if it is itself computed from variables, whose gradients would be lost,
    /// or if the device refuses.
    pub fn tape(&self, xs: &Tensor, observer: impl Fn(&str) -> Option<Arc<dyn Observer>>) -> Result<Tape> {
        if xs.track_op() {
            bail!(
                "the input of Mlp::tape has variables behind it: use Mlp::forward, whose graph goes on to them"
            );
        }
        let deferred = DeferredStats::default();
        let mut layers: Vec<(Linear, DensePass)> = Vec::with_capacity(self.layers.len());
        for Layer { name, linear, activation } in &self.layers {
            let xs = layers.last().map_or(xs, |(_, before)| before.output());
            let observer = observer(name).map(|observer| deferred.observer(observer, false));
            let pass = DensePass::forward(xs, linear.weight(), linear.bias(), *activation, observer)?;
            layers.push((linear.clone(), pass));
        }
        let output = Var::from_tensor(layers.last().map_or(xs, |(_, last)| last.output()))?;
        deferred.deliver()?;
        Ok(Tape { layers, output, deferred })
    }

    /// The linear maps, first to last.
    pub fn layers(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().map(|layer| &layer.linear)
    }
}

/// A forward pass of an [`Mlp`] that waits for its backward pass.
#[derive(Debug)]
pub struct Tape {
    layers: Vec<(Linear, DensePass)>,
    output: Var,
    /// Where the statistics of a GPU wait until the pass is over.
    deferred: DeferredStats,
}

impl Tape {
    /// What the net put out: compute the loss from it.
    pub fn output(&self) -> &Tensor {
        self.output.as_tensor()
    }

    /// What each layer put out, first to last.
    pub fn outputs(&self) -> impl Iterator<Item = &Tensor> {
        self.layers.iter().map(|(_, pass)| pass.output())
    }

    /// The gradients of a loss computed from [`output`](Self::output), and from the net's weights by themselves where it
    /// has a penalty, with respect to all that it depends on.
    ///
    /// # Errors
    /// If the loss does not depend on the output.
    pub fn backward(&self, loss: &Tensor) -> Result<GradStore> {
        let mut gradients = loss.backward()?;
        let Some(mut gradient) = gradients.remove(&self.output) else {
            bail!("the loss does not depend on the output of this pass")
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

/// Adds to the gradient that a penalty may have left.
fn add(gradients: &mut GradStore, of: &Tensor, more: Tensor) -> Result<()> {
    let sum = match gradients.remove(of) {
        Some(gradient) => (gradient + more)?,
        None => more,
    };
    gradients.insert(of, sum);
    Ok(())
}

impl Module for Mlp {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_observed(xs, |_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    #[test]
    fn layers_are_products_biases_and_activations() {
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu);
        let config = MlpConfig::new(3, [4, 2], Activation::Tanh)
            .with_bias(true)
            .with_output_activation(Activation::Identity);
        let mlp = Mlp::new(&config, vb).unwrap();
        let weight = |name: &str| vars.data().lock().unwrap()[name].as_tensor().clone();
        let x = Tensor::new(&[[0.3f64, -1.0, 2.0]], &Device::Cpu).unwrap();
        let by_hand = |x: &Tensor, layer: &str| {
            let product = x.matmul(&weight(&format!("{layer}.weight")).t().unwrap()).unwrap();
            product.broadcast_add(&weight(&format!("{layer}.bias"))).unwrap()
        };
        let expected = by_hand(&by_hand(&x, "layer_0").tanh().unwrap(), "layer_1");
        let got = mlp.forward(&x).unwrap();
        let difference = (got - expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
        assert_eq!(vars.all_vars().len(), 4);
    }

    /// The pass's own way back and candle's through the graph: the same gradients to the bit, with a penalty on a weight
    /// and a batch of three, on f64 and on bf16, which candle's ops compute.
    #[test]
    fn a_pass_finds_the_gradients_that_candle_finds() {
        for dtype in [DType::F64, DType::F32, DType::BF16] {
            let vars = VarMap::new();
            let vb = VarBuilder::from_varmap(&vars, dtype, &Device::Cpu);
            let config = MlpConfig::new(3, [5, 4, 2], Activation::Gelu).with_bias(true);
            let mlp = Mlp::new(&config, vb).unwrap();
            let x =
                Tensor::new(&[[0.3f64, -1.0, 2.0], [1.0, 0.0, 0.5], [-0.2, 0.7, 0.1]], &Device::Cpu).unwrap();
            let x = x.to_dtype(dtype).unwrap();
            let first = mlp.layers().next().unwrap().weight().clone();
            let loss = |output: &Tensor| {
                (output.sqr().unwrap().sum_all().unwrap() + first.sqr().unwrap().sum_all().unwrap()).unwrap()
            };
            let expected = loss(&mlp.forward(&x).unwrap()).backward().unwrap();
            let pass = mlp.tape(&x, |_| None).unwrap();
            let widths: Vec<usize> = pass.outputs().map(|output| output.dim(1).unwrap()).collect();
            assert_eq!(widths, config.widths);
            let got = pass.backward(&loss(pass.output())).unwrap();
            for var in vars.all_vars() {
                let numbers = |store: &GradStore| {
                    store
                        .get(&var)
                        .unwrap()
                        .to_dtype(DType::F64)
                        .unwrap()
                        .flatten_all()
                        .unwrap()
                        .to_vec1::<f64>()
                };
                assert_eq!(numbers(&got).unwrap(), numbers(&expected).unwrap(), "{dtype:?} {:?}", var.dims());
            }
        }
    }

    #[test]
    fn a_pass_refuses_what_would_lose_gradients() {
        let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
        let mlp = Mlp::new(&MlpConfig::new(3, [2], Activation::Tanh), vb).unwrap();
        let x = Var::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(mlp.tape(&x, |_| None).unwrap_err().to_string().contains("has variables behind it"));
        let pass = mlp.tape(&x.detach(), |_| None).unwrap();
        let error = pass.backward(&x.sum_all().unwrap()).unwrap_err().to_string();
        assert!(error.contains("does not depend on the output"), "{error}");
    }

    #[test]
    fn without_bias_zero_in_is_zero_out_and_what_see_returns_goes_on() {
        let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
        let mlp = Mlp::new(&MlpConfig::new(3, [4, 2], Activation::Sin), vb).unwrap();
        let zero = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(mlp.forward(&zero).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
        let one = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let cut = mlp.forward_with(&one, |signal| signal.output.zeros_like()).unwrap();
        assert_eq!(cut.to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
        assert_ne!(mlp.forward(&one).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 2]; 2]);
    }
}
