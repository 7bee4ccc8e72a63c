//! The multilayer perceptron.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var, bail};
use candle_nn::{Linear, Module, VarBuilder, linear_b};
use wick_kernels::{DeferredStats, DensePass, Observer, activate, dense};
use wick_theory::Activation;

mod config;
mod tape;

pub use config::MlpConfig;
pub use tape::Tape;

/// One layer's tensors, passed to the callback of [`Mlp::forward_with`].
#[derive(Debug)]
pub struct Signal<'a> {
    /// The layer's name, `layer_0`, `layer_1`, …, which is also the prefix of its weights in the
    /// `VarBuilder`.
    pub name: &'a str,
    /// The activation `φ` that the layer applies to its pre-activation.
    pub activation: Activation,
    /// The pre-activation `z = x Wᵀ + b`, of shape `[…, fan_out]`.
    pub pre_activation: &'a Tensor,
    /// The output `h = φ(z)`, of the same shape.
    pub output: Tensor,
}

/// A multilayer perceptron: `h ← φ(h Wᵀ + b)`, layer by layer.
///
/// The parameters are `layer_0.weight` (`[fan_out, fan_in]`), `layer_0.bias` and so on.
/// [`candle_nn::linear_b`] takes them from a plain `VarBuilder`: one over a checkpoint, candle's `VarMap`, or
/// Wick's own seeded map.
///
/// There are four forward passes:
///
/// | method | computes | use |
/// |---|---|---|
/// | [`forward`](Module::forward) | the output, in candle's graph | inference, candle's backward pass |
/// | [`forward_with`](Self::forward_with) | the same, with a callback per layer | taps, changes to a signal |
/// | [`forward_observed`](Self::forward_observed) | the same, and each layer's statistics | fast statistics |
/// | [`tape`](Self::tape) | the output and a [`Tape`] | training: the fast backward pass |
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
    /// Builds the layers with weights from the builder.
    ///
    /// # Errors
    /// If the builder fails: a tensor is missing or has the wrong shape, or memory runs out.
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

    /// Runs the forward pass and calls `callback` after each layer. The callback gets the layer's [`Signal`]
    /// and returns the input of the next layer: `signal.output` itself, or a changed or tapped version of
    /// that tensor.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{VarBuilder, VarMap};
    /// use wick_model::{Activation, Mlp, MlpConfig};
    ///
    /// let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
    /// let mlp = Mlp::new(&MlpConfig::new(4, [6, 2], Activation::Relu), vb)?;
    /// let mut shapes = Vec::new();
    /// mlp.forward_with(&Tensor::ones((1, 4), DType::F32, &Device::Cpu)?, |signal| {
    ///     shapes.push((signal.name.to_owned(), signal.output.dims().to_vec()));
    ///     Ok(signal.output)
    /// })?;
    /// assert_eq!(shapes, [("layer_0".to_owned(), vec![1, 6]), ("layer_1".to_owned(), vec![1, 2])]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the input does not fit the first layer, or if the callback or the device fails.
    pub fn forward_with(
        &self,
        xs: &Tensor,
        mut callback: impl FnMut(Signal) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut h = xs.clone();
        for Layer { name, linear, activation } in &self.layers {
            let z = dense(&h, linear.weight(), linear.bias(), Activation::Identity, None)?;
            let output = activate(*activation, &z)?;
            h = callback(Signal { name, activation: *activation, pre_activation: &z, output })?;
        }
        Ok(h)
    }

    /// Runs the forward pass with an observer on each layer for which `observer(name)` returns one. The
    /// observer gets the statistics of the layer's output and, in a backward pass, of the output's gradient.
    /// The layer takes them while its rows are in the cache, at little cost; the output and the gradients
    /// keep their bits.
    ///
    /// # Errors
    /// If the input does not fit the first layer, or if the device or an observer fails.
    pub fn forward_observed(
        &self,
        xs: &Tensor,
        observer: impl Fn(&str) -> Option<Arc<dyn Observer>>,
    ) -> Result<Tensor> {
        let deferred = DeferredStats::default();
        let (mut h, mut is_first) = (xs.clone(), true);
        for Layer { name, linear, activation } in &self.layers {
            // The first layer with an active observer is the last one that the backward pass reaches.
            let observer = observer(name).map(|observer| deferred.observer(observer, is_first));
            is_first &= !observer.as_ref().is_some_and(|observer| observer.is_active());
            h = dense(&h, linear.weight(), linear.bias(), *activation, observer)?;
        }
        deferred.deliver()?;
        Ok(h)
    }

    /// Runs the forward pass and records a [`Tape`] for [`Tape::backward`]. Both together are faster than
    /// candle's backward pass through the graph of [`forward`](Module::forward), and give the same gradients.
    /// `observer` is as for [`forward_observed`](Self::forward_observed).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::{VarBuilder, VarMap};
    /// use wick_model::{Activation, Mlp, MlpConfig};
    ///
    /// let vars = VarMap::new();
    /// let vb = VarBuilder::from_varmap(&vars, DType::F64, &Device::Cpu);
    /// let mlp = Mlp::new(&MlpConfig::new(2, [3, 1], Activation::Tanh), vb)?;
    /// let tape = mlp.tape(&Tensor::new(&[[0.5f64, -1.0]], &Device::Cpu)?, |_| None)?;
    /// let loss = tape.output().sqr()?.sum_all()?;
    /// let gradients = tape.backward(&loss)?;
    /// assert!(vars.all_vars().iter().all(|var| gradients.get(var).is_some()));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the input does not fit the first layer, if the input is itself computed from variables (their
    /// gradients would be lost), or if the device or an observer fails.
    pub fn tape(&self, xs: &Tensor, observer: impl Fn(&str) -> Option<Arc<dyn Observer>>) -> Result<Tape> {
        if xs.track_op() {
            bail!(
                "the input of Mlp::tape depends on variables, whose gradients would be lost: use Mlp::forward"
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

    /// The layers' linear maps, first to last.
    pub fn layers(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().map(|layer| &layer.linear)
    }
}

impl Module for Mlp {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.forward_observed(xs, |_| None)
    }
}

#[cfg(test)]
mod tests;
