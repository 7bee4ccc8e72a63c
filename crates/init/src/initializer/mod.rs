//! Initializers: the enum, its names, its text, and what it does to a tensor.

pub(crate) mod distribution;
mod draw;
mod named;
pub(crate) mod parameters;
mod plan;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod weight_law;

use crate::fans::FanMode;
use crate::structures::structure::Structured;
use distribution::Distribution;

/// The initial values of a tensor.
///
/// The named initializers ([`xavier_normal`](Self::xavier_normal), [`kaiming_uniform`](Self::kaiming_uniform)
/// …) are constructors of [`VarianceScaling`](Self::VarianceScaling), and the structured ones
/// ([`orthogonal`](Self::orthogonal), [`dirac`](Self::dirac) …) are constructors of
/// [`Structured`](Self::Structured). Where libraries disagree on what a name means, the modules
/// [`torch`](crate::torch), [`jax`](crate::jax), [`keras`](crate::keras) and [`timm`](crate::timm) have each
/// library's convention. An initializer can be read from text, a SPEC: see
/// [`Initializer::from_str`](#impl-FromStr-for-Initializer).
///
/// ```
/// use candle_core::{DType, Device};
/// use wick_init::{Initializer, KeyedV1};
///
/// let key = KeyedV1::new(42).key("fc.weight");
/// let weight = Initializer::xavier_normal().tensor(key, (750, 800), DType::F32, &Device::Cpu)?;
/// let std = weight.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt();
/// assert!((f64::from(std) - (2.0f64 / 1550.0).sqrt()).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Initializer {
    /// All elements have this value; any finite value.
    Constant(f64),
    /// `N(mean, std²)`; `std ≥ 0`. Papers often write `N(mean, variance)` instead.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation, not the variance.
        std: f64,
    },
    /// `U(low, high)`; `low ≤ high`.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// `N(mean, std²)` cut off outside `[low, high]`; `std ≥ 0`, `low ≤ high`. The `std` is the one *before*
    /// the cut, and the bounds are absolute, as in `torch.nn.init.trunc_normal_`; the standard deviation of
    /// the elements is smaller.
    TruncatedNormal {
        /// The mean before the cut.
        mean: f64,
        /// The standard deviation before the cut.
        std: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Mean 0 and `Var W = scale / fan`, `scale ≥ 0`: the core of the Xavier, Kaiming and LeCun initializers.
    /// This is the variance of the elements for every distribution.
    VarianceScaling {
        /// The variance times the fan; the square of what PyTorch calls gain.
        scale: f64,
        /// The fan that divides it.
        mode: FanMode,
        /// The distribution of the elements.
        distribution: Distribution,
    },
    /// `U(±1/fan_in)`, the first layer of a SIREN (Sitzmann et al. 2020, arXiv 2006.09661, section 3.2): its
    /// inputs are coordinates in `[-1, 1]`, and its `ω₀` is in the forward pass.
    SirenFirst,
    /// `U(±√(6/fan_in)/ω₀)`, the hidden layers of a SIREN (Sitzmann et al. 2020, theorem 1.8); `ω₀ > 0`.
    SirenHidden {
        /// The frequency in `sin(ω₀ (W x + b))`; 30 in the paper.
        omega: f64,
    },
    /// `U(±1/√hidden)`, where `hidden` is the first dimension divided by the gates: PyTorch's default for
    /// every weight and bias of a recurrent layer.
    Recurrent {
        /// 4 for an LSTM, 3 for a GRU, 1 for a plain recurrent layer.
        gates: usize,
    },
    /// A weight that is filled as a whole, made by a constructor such as [`orthogonal`](Self::orthogonal) or
    /// [`sparse`](Self::sparse).
    Structured(Structured),
}
