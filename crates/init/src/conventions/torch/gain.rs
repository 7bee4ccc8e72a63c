//! PyTorch's table of gains.

use wick_theory::Activation;

/// `torch.nn.init.calculate_gain`: PyTorch's table of gains, which differs from `1/√E[φ²]`. `None` for an
/// activation that the table does not list.
///
/// ```
/// use wick_init::torch::calculate_gain;
/// use wick_theory::Activation;
///
/// assert_eq!(calculate_gain(Activation::Tanh), Some(5.0 / 3.0));
/// assert_eq!(calculate_gain(Activation::Gelu), None);
/// ```
pub fn calculate_gain(activation: Activation) -> Option<f64> {
    match activation {
        Activation::Identity | Activation::Sigmoid => Some(1.0),
        Activation::Tanh => Some(5.0 / 3.0),
        Activation::Relu => Some(2f64.sqrt()),
        Activation::LeakyRelu { slope } => Some((2.0 / (1.0 + slope * slope)).sqrt()),
        Activation::Selu => Some(0.75),
        _ => None,
    }
}
