//! PyTorch's conventions (`torch.nn.init`), and its CPU generator to the bit ([`TorchRng`]).

pub(crate) mod gain;

pub use gain::calculate_gain;

pub use crate::rng::torch::TorchRng;

use crate::error::Error;
use crate::fans::FanMode;
use crate::initializer::Initializer;
use crate::initializer::parameters::{Parameters, Row};

pub(crate) const ROWS: &[Row] = &[
    ("torch.linear", |_| Ok(linear_default())),
    ("torch.uniform", |p| Ok(Initializer::Uniform { low: p.or("a", 0.0)?, high: p.or("b", 1.0)? })),
    ("torch.normal", |p| Ok(Initializer::Normal { mean: p.or("mean", 0.0)?, std: p.or("std", 1.0)? })),
    ("torch.trunc_normal", read_trunc_normal),
    ("torch.xavier_uniform", |p| p.scaled(Initializer::xavier_uniform())),
    ("torch.xavier_normal", |p| p.scaled(Initializer::xavier_normal())),
    ("torch.kaiming_uniform", |p| p.torch_kaiming(Initializer::kaiming_uniform())),
    ("torch.kaiming_normal", |p| p.torch_kaiming(Initializer::kaiming_normal())),
];

/// Reads the parameters of `trunc_normal_`; timm's are the same.
pub(super) fn read_trunc_normal(parameters: &mut Parameters) -> Result<Initializer, Error> {
    let (mean, std) = (parameters.or("mean", 0.0)?, parameters.or("std", 1.0)?);
    Ok(trunc_normal(mean, std, parameters.or("a", -2.0)?, parameters.or("b", 2.0)?))
}

/// `torch.nn.init.uniform_(a, b)`: `U(a, b)`; PyTorch's defaults are 0 and 1.
pub fn uniform(a: f64, b: f64) -> Initializer {
    Initializer::Uniform { low: a, high: b }
}

/// `torch.nn.init.normal_(mean, std)`: `N(mean, std²)`; PyTorch's defaults are 0 and 1.
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

/// `torch.nn.init.xavier_normal_(gain)`; unlike JAX's, it is not truncated.
pub fn xavier_normal(gain: f64) -> Initializer {
    Initializer::xavier_normal().with_gain(gain)
}

/// `torch.nn.init.trunc_normal_(mean, std, a, b)`: the bounds are absolute and the std is the one before the
/// cut (with std 1 and ±2, the elements have a standard deviation of .880).
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
    // This is PyTorch's order of operations: the bounds depend on the last bit.
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    Initializer::kaiming_uniform().with_gain(gain)
}

/// The default of every weight and bias of `LSTM` (4 gates), `GRU` (3) and `RNN` (1): `U(±1/√hidden)`.
pub fn recurrent_default(gates: usize) -> Initializer {
    Initializer::Recurrent { gates }
}

/// `torch.nn.init.kaiming_normal_(a=slope)`, for a leaky ReLU of this slope (PyTorch's default is 0).
pub fn kaiming_normal(slope: f64, mode: FanMode) -> Initializer {
    Initializer::kaiming_normal().with_gain((2.0 / (1.0 + slope * slope)).sqrt()).with_mode(mode)
}

/// `torch.nn.init.kaiming_uniform_(a=slope)`.
pub fn kaiming_uniform(slope: f64, mode: FanMode) -> Initializer {
    Initializer::kaiming_uniform().with_gain((2.0 / (1.0 + slope * slope)).sqrt()).with_mode(mode)
}
