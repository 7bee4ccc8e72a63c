//! PyTorch's conventions, and its CPU generator to the bit ([`TorchRng`]).

mod math;
mod mt19937;
mod rng;

pub use rng::TorchRng;

use wick_theory::Activation;

use crate::{FanMode, Initializer};

/// `torch.nn.init.uniform_(a, b)`: `U(a, b)`; PyTorch's own are 0 and 1.
pub fn uniform(a: f64, b: f64) -> Initializer {
    Initializer::Uniform { low: a, high: b }
}

/// `torch.nn.init.normal_(mean, std)`: `N(mean, std²)`; PyTorch's own are 0 and 1.
pub fn normal(mean: f64, std: f64) -> Initializer {
    Initializer::Normal { mean, std }
}

/// `torch.nn.init.xavier_uniform_(gain)`: `Var W = 2 gain²/(fan_in + fan_out)`.
///
/// ```
/// use wick_init::torch::{self, calculate_gain};
/// use wick_theory::Activation;
///
/// let gain = calculate_gain(Activation::Tanh).unwrap_or(1.0);
/// let std = torch::xavier_uniform(gain).std(&[300, 100])?.unwrap();
/// assert!((std - 5.0 / 3.0 * (2.0f64 / 400.0).sqrt()).abs() < 1e-15);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn xavier_uniform(gain: f64) -> Initializer {
    Initializer::xavier_uniform().with_gain(gain)
}

/// `torch.nn.init.xavier_normal_(gain)`: not truncated, as JAX's is.
pub fn xavier_normal(gain: f64) -> Initializer {
    Initializer::xavier_normal().with_gain(gain)
}

/// `torch.nn.init.trunc_normal_(mean, std, a, b)`: the bounds are absolute and the std is the one before the cut
/// (with std 1 and ±2, what comes out has .880).
pub fn trunc_normal(mean: f64, std: f64, a: f64, b: f64) -> Initializer {
    Initializer::TruncatedNormal { mean, std, low: a, high: b }
}

/// `torch.nn.init.kaiming_uniform_(a=√5)`, the default weight of `Linear` and `Conv`: `U(±1/√fan_in)`.
///
/// ```
/// let std = wick_init::torch::linear_default().std(&[10, 300])?.unwrap();
/// assert!((std - (1.0f64 / 3.0 / 300.0).sqrt()).abs() < 1e-15);
/// # Ok::<(), wick_init::Error>(())
/// ```
pub fn linear_default() -> Initializer {
    // In PyTorch's order of operations, whose last bit shows in the bounds.
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    Initializer::kaiming_uniform().with_gain(gain)
}

/// The default of every weight and bias of `LSTM` (4 gates), `GRU` (3) and `RNN` (1): `U(±1/√hidden)`.
pub fn recurrent_default(gates: usize) -> Initializer {
    Initializer::Recurrent { gates }
}

/// `torch.nn.init.kaiming_normal_(a=slope)`, for a leaky ReLU of this slope (0 by default there).
pub fn kaiming_normal(slope: f64, mode: FanMode) -> Initializer {
    Initializer::kaiming_normal().with_gain((2.0 / (1.0 + slope * slope)).sqrt()).with_mode(mode)
}

/// `torch.nn.init.kaiming_uniform_(a=slope)`.
pub fn kaiming_uniform(slope: f64, mode: FanMode) -> Initializer {
    Initializer::kaiming_uniform().with_gain((2.0 / (1.0 + slope * slope)).sqrt()).with_mode(mode)
}

/// `torch.nn.init.calculate_gain`: the table that PyTorch keeps, which is not `1/√E[φ²]`. `None` for what it
/// does not list.
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
