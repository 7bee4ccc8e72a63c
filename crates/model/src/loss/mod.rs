//! Losses, each a mean over the batch, and the L2 penalty on the weights.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Result, Tensor, bail};
use wick_kernels::{LossFunction, dot};
use wick_theory::did_you_mean_or;

/// A loss of outputs `o` against targets `y`, both of shape `[batch, outputs]`. Cross entropy also takes
/// class indices, integers of shape `[batch]`, which stand for one-hot rows.
///
/// | name | `L` |
/// |---|---|
/// | `squared` | `1/(2B) Σ_b ‖o_b - y_b‖²` |
/// | `cross_entropy` | `-1/B Σ_b Σ_k y_bk ln softmax(o_b)_k`, each row of `y` a distribution |
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_model::loss::Loss;
///
/// let o = Tensor::new(&[[1.0f64, 2.0], [3.0, 5.0]], &Device::Cpu)?;
/// let y = Tensor::new(&[[1.0f64, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// let squared = Loss::Squared.forward(&o, &y)?.to_scalar::<f64>()?;
/// assert_eq!(squared, (4.0 + 9.0 + 16.0) / 4.0);
/// let entropy = Loss::CrossEntropy.forward(&o, &y)?.to_scalar::<f64>()?;
/// assert!((entropy - ((1f64.exp() + 1.0).ln() + ((-2f64).exp() + 1.0).ln()) / 2.0).abs() < 1e-15);
/// let classes = Tensor::new(&[0u32, 1], &Device::Cpu)?;
/// assert_eq!(Loss::CrossEntropy.forward(&o, &classes)?.to_scalar::<f64>()?, entropy);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Half the squared error, summed over the outputs.
    Squared,
    /// Cross entropy of the softmax, computed from logits.
    CrossEntropy,
}

impl Loss {
    /// Every loss.
    pub const ALL: [Self; 2] = [Self::Squared, Self::CrossEntropy];

    /// The name: `squared` or `cross_entropy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squared => "squared",
            Self::CrossEntropy => "cross_entropy",
        }
    }

    /// Computes `L`, a scalar in candle's graph. For `bf16` and `f16` inputs it is an `f32`: a sum in these
    /// types would be lost to rounding.
    ///
    /// # Errors
    /// If the shapes differ or are not `[batch, outputs]`, or if a class index is not below `outputs`.
    pub fn forward(self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        wick_kernels::loss(self.function(), outputs, targets)
    }

    /// Computes `∂L/∂o` by its formula, in the shape of `o`: `(o - y)/B` for the squared error, and
    /// `(softmax(o)·Σ_k y_k - y)/B` for cross entropy.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn gradient(self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        Ok(self.with_gradient(outputs, targets)?.1)
    }

    /// Computes `L` and `∂L/∂o` in one pass, outside candle's graph: what
    /// [`Tape::backward_from`](crate::Tape::backward_from) takes.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn with_gradient(self, outputs: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        wick_kernels::loss_and_gradient(self.function(), outputs, targets)
    }

    fn function(self) -> LossFunction {
        match self {
            Self::Squared => LossFunction::SquaredError,
            Self::CrossEntropy => LossFunction::CrossEntropy,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Words for losses of the same kind, which differ from Wick's by a factor.
const WORDS: [(&str, &str); 8] = [
    ("mse", "squared"),
    ("mean_squared_error", "squared"),
    ("l2", "squared"),
    ("sse", "squared"),
    ("ce", "cross_entropy"),
    ("nll", "cross_entropy"),
    ("softmax", "cross_entropy"),
    ("log_loss", "cross_entropy"),
];

/// The error for a text that is not the name of a [`Loss`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown loss '{}'{}; known: {}",
    .0, did_you_mean_or(.0, &WORDS, Loss::ALL.map(Loss::name)), Loss::ALL.map(Loss::name).join(", ")
)]
pub struct UnknownLoss(pub String);

impl FromStr for Loss {
    type Err = UnknownLoss;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownLoss> {
        let letters = |name: &str| name.replace(['_', '-', ' '], "").to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|loss| letters(loss.name()) == letters(text))
            .ok_or_else(|| UnknownLoss(text.to_owned()))
    }
}

/// Computes the L2 penalty `s = λ/2 Σ‖W‖_F²` over the weights, a scalar (an `f32` for `bf16` and `f16`). Its
/// gradient is `λW`. For `λ = 0` candle's backward pass stops at the factor: a weight that enters the loss
/// only through the penalty then has no gradient in the store, rather than a gradient of zeros.
///
/// # Errors
/// If there are no weights.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use wick_model::loss::l2_penalty;
///
/// let w = Tensor::new(&[[3.0f64, 0.0], [0.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(l2_penalty([&w, &w], 0.1)?.to_scalar::<f64>()?, 2.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn l2_penalty<'a>(weights: impl IntoIterator<Item = &'a Tensor>, lambda: f64) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for weight in weights {
        let weight = widen(weight)?;
        let norm = dot(&weight, &weight)?;
        sum = Some(match sum {
            Some(sum) => (sum + norm)?,
            None => norm,
        });
    }
    match sum {
        Some(sum) => sum * (0.5 * lambda),
        None => bail!("an L2 penalty needs at least one weight"),
    }
}

/// Converts half-precision tensors to `f32`, in which sums are accurate.
fn widen(xs: &Tensor) -> Result<Tensor> {
    match xs.dtype() {
        DType::BF16 | DType::F16 => xs.to_dtype(DType::F32),
        _ => Ok(xs.clone()),
    }
}

#[cfg(test)]
mod tests;
