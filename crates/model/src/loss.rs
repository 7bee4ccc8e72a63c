//! Losses, each a mean over the batch, and the penalty on the weights.

use std::fmt;
use std::str::FromStr;

use candle_core::{D, DType, Result, Tensor, bail};
use wick_kernels::dot;

/// A loss of outputs `o` against targets `y`, both of shape `[batch, outputs]`. Cross entropy also takes the classes themselves,
/// whole numbers of shape `[batch]`, for the rows that are 1 there and 0 elsewhere.
///
/// | name | `L` |
/// |---|---|
/// | `squared` | `1/(2B) Σ_b ‖o_b - y_b‖²` |
/// | `cross_entropy` | `-1/B Σ_b Σ_k y_bk ln softmax(o_b)_k`, the rows of `y` being probabilities |
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
    /// Half the squared error.
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

    /// `L`, a scalar; of `bf16` and `f16`, whose sums would drown in their rounding, in `f32`.
    ///
    /// # Errors
    /// If the shapes differ or are not `[batch, outputs]`, or a class is not below `outputs`.
    pub fn forward(self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if self.takes_classes(targets) {
            let batch = batch_of_classes(outputs, targets)?;
            let log_softmax = candle_nn::ops::log_softmax(&widen(outputs)?, D::Minus1)?;
            return log_softmax.gather(&targets.unsqueeze(1)?, 1)?.sum_all()? * (-1.0 / batch);
        }
        let batch = batch(outputs, targets)?;
        let (outputs, targets) = (&widen(outputs)?, &widen(targets)?);
        match self {
            Self::Squared => {
                let difference = (outputs - targets)?;
                dot(&difference, &difference)? * (0.5 / batch)
            }
            Self::CrossEntropy => {
                let log_softmax = candle_nn::ops::log_softmax(outputs, D::Minus1)?;
                dot(targets, &log_softmax)? * (-1.0 / batch)
            }
        }
    }

    /// `∂L/∂o` by its formula, of the shape of `o`: `(o - y)/B` for squared error, and
    /// `(softmax(o)·Σ_k y_k - y)/B` for cross entropy.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn gradient(self, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        if self.takes_classes(targets) {
            let batch = batch_of_classes(outputs, targets)?;
            let classes = targets.unsqueeze(1)?;
            let ones = Tensor::ones(classes.shape(), outputs.dtype(), outputs.device())?;
            let softmax = candle_nn::ops::softmax(outputs, D::Minus1)?;
            return softmax.scatter_add(&classes, &ones.neg()?, 1)? / batch;
        }
        let batch = batch(outputs, targets)?;
        let difference = match self {
            Self::Squared => (outputs - targets)?,
            Self::CrossEntropy => {
                let softmax = candle_nn::ops::softmax(outputs, D::Minus1)?;
                (softmax.broadcast_mul(&targets.sum_keepdim(D::Minus1)?)? - targets)?
            }
        };
        difference / batch
    }

    fn takes_classes(self, targets: &Tensor) -> bool {
        self == Self::CrossEntropy && targets.rank() == 1 && targets.dtype().is_int()
    }
}

fn batch_of_classes(outputs: &Tensor, classes: &Tensor) -> Result<f64> {
    match (outputs.dims(), classes.dims()) {
        ([batch, _], [classes]) if batch == classes => Ok(*batch as f64),
        (outputs, classes) => {
            bail!(
                "a loss takes outputs [batch, outputs] and a class for each, not {outputs:?} and {classes:?}"
            )
        }
    }
}

fn batch(outputs: &Tensor, targets: &Tensor) -> Result<f64> {
    match outputs.dims() {
        [batch, _] if outputs.shape() == targets.shape() => Ok(*batch as f64),
        _ => bail!(
            "a loss takes outputs and targets of one shape [batch, outputs], not {:?} and {:?}",
            outputs.dims(),
            targets.dims()
        ),
    }
}

/// The tensor in a type that sums can be trusted in.
fn widen(xs: &Tensor) -> Result<Tensor> {
    match xs.dtype() {
        DType::BF16 | DType::F16 => xs.to_dtype(DType::F32),
        _ => Ok(xs.clone()),
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What was read is no loss's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown loss '{0}'; known: squared, cross_entropy")]
pub struct UnknownLoss(pub String);

impl FromStr for Loss {
    type Err = UnknownLoss;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownLoss> {
        Self::ALL.into_iter().find(|loss| loss.name() == text).ok_or_else(|| UnknownLoss(text.to_owned()))
    }
}

/// The L2 penalty `s = λ/2 Σ‖W‖_F²` over some weights, a scalar (in `f32` for `bf16` and `f16`). Its gradient
/// is `λW`. For `λ = 0` candle's backward pass ends at the factor: a weight that nothing else depends on then has no gradient in
/// the store, and not one of zeros.
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
        None => bail!("a penalty of no weights"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn gradients_are_those_of_the_backward_pass() {
        let o = Var::new(&[[0.3f64, -1.0, 2.0], [50.0, 0.1, -0.2]], &Device::Cpu).unwrap();
        let y = Tensor::new(&[[0.2f64, 0.5, 0.3], [0.0, 1.0, 0.0]], &Device::Cpu).unwrap();
        for loss in Loss::ALL {
            let gradients = loss.forward(&o, &y).unwrap().backward().unwrap();
            let difference = (gradients.get(&o).unwrap() - loss.gradient(&o, &y).unwrap()).unwrap();
            let largest = difference.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(largest < 1e-15, "{loss}: {largest}");
        }
    }

    /// Classes are rows that are 1 there: the same loss, and the gradient of the backward pass.
    #[test]
    fn classes_are_one_hot_rows() {
        let o = Var::new(&[[0.3f64, -1.0, 2.0], [5.0, 0.1, -0.2]], &Device::Cpu).unwrap();
        let rows = Tensor::new(&[[0.0f64, 0.0, 1.0], [0.0, 1.0, 0.0]], &Device::Cpu).unwrap();
        let classes = Tensor::new(&[2u32, 1], &Device::Cpu).unwrap();
        let loss = |targets| Loss::CrossEntropy.forward(&o, targets).unwrap();
        assert_eq!(loss(&classes).to_scalar::<f64>().unwrap(), loss(&rows).to_scalar::<f64>().unwrap());
        let formula = Loss::CrossEntropy.gradient(&o, &classes).unwrap();
        for other in [
            loss(&classes).backward().unwrap().get(&o).unwrap().clone(),
            Loss::CrossEntropy.gradient(&o, &rows).unwrap(),
        ] {
            let difference = (&formula - other).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-15);
        }
        let beyond = Tensor::new(&[2u32, 3], &Device::Cpu).unwrap();
        assert!(Loss::CrossEntropy.forward(&o, &beyond).is_err());
        let three = Tensor::new(&[2u32, 1, 0], &Device::Cpu).unwrap();
        let error = Loss::CrossEntropy.forward(&o, &three).unwrap_err().to_string();
        assert!(error.contains("not [2, 3] and [3]"), "{error}");
    }

    /// A thousand equal terms, which bf16 would stop adding up at 256.
    #[test]
    fn half_types_are_summed_in_f32() {
        let o = Var::from_tensor(&Tensor::ones((2000, 1), DType::BF16, &Device::Cpu).unwrap()).unwrap();
        let loss = Loss::Squared.forward(&o, &o.zeros_like().unwrap()).unwrap();
        assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.5);
        let penalty = l2_penalty([o.as_tensor()], 1.0).unwrap();
        assert_eq!(penalty.to_scalar::<f32>().unwrap(), 1000.0);
        let gradients = penalty.backward().unwrap();
        assert_eq!(gradients.get(&o).unwrap().dtype(), DType::BF16);
    }

    #[test]
    fn shapes_that_differ_are_named() {
        let (o, y) =
            (Tensor::new(&[[1.0f64]], &Device::Cpu).unwrap(), Tensor::new(&[1.0f64], &Device::Cpu).unwrap());
        let error = Loss::Squared.forward(&o, &y).unwrap_err().to_string();
        assert!(error.contains("not [1, 1] and [1]"), "{error}");
    }
}
