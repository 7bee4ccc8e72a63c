//! The shape of a multilayer perceptron.

use wick_theory::Activation;

/// The shape of an [`Mlp`](super::Mlp): its widths, biases and activations.
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
    /// The number of inputs of the first layer.
    pub features: usize,
    /// The number of outputs of each layer, the last one included.
    pub widths: Vec<usize>,
    /// Whether each layer adds a bias.
    pub bias: bool,
    /// The activation of every layer but the last.
    pub activation: Activation,
    /// The activation of the last layer.
    pub output_activation: Activation,
}

impl MlpConfig {
    /// Layers of the given widths without biases; every layer, the last one included, applies `activation`.
    pub fn new(features: usize, widths: impl Into<Vec<usize>>, activation: Activation) -> Self {
        Self { features, widths: widths.into(), bias: false, activation, output_activation: activation }
    }

    /// The same configuration with or without biases.
    pub fn with_bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// The same configuration with another activation for the last layer.
    pub fn with_output_activation(self, output_activation: Activation) -> Self {
        Self { output_activation, ..self }
    }

    /// `(fan_in, fan_out)` of each layer.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let inputs = std::iter::once(self.features).chain(self.widths.iter().copied());
        inputs.zip(self.widths.iter().copied())
    }

    /// The number of trainable parameters.
    pub fn parameters(&self) -> usize {
        self.layers().map(|(inputs, outputs)| inputs * outputs + if self.bias { outputs } else { 0 }).sum()
    }
}
