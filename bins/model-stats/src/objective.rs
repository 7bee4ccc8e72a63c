//! What the outputs are compared with.

use anyhow::Result;
use candle_core::{D, DType, Tensor};
use wick_bins::args::Target;
use wick_bins::cli::usage;
use wick_bins::output;
use wick_init::{Initializer, KeyedV1};
use wick_model_stats::Takes;

/// What the outputs are compared with.
#[derive(Debug, Clone)]
pub(crate) enum Objective {
    /// Nothing: the loss is their mean square.
    MeanSquare,
    /// Classes of the outputs' rows, by cross entropy.
    Classes {
        /// One for each row of the outputs.
        classes: Tensor,
        /// How many there are.
        count: usize,
    },
    /// Numbers, by the mean squared error.
    Numbers(Tensor),
}

impl Objective {
    /// Targets for these outputs, drawn by the seed: classes, if the outputs are logits of tokens or of images, else
    /// standard normal numbers.
    pub(crate) fn drawn(outputs: &Tensor, takes: Takes, seed: u64, target: &Target) -> Result<Self> {
        let key = KeyedV1::new(seed).key("model-stats targets");
        let dims = outputs.dims();
        let (rows, count) =
            (dims[..dims.len().saturating_sub(1)].to_vec(), dims.last().copied().unwrap_or(0));
        let are_logits = match takes {
            Takes::Tokens { vocabulary, .. } => count >= vocabulary,
            Takes::Images { .. } => true,
        };
        if !are_logits || count < 2 || rows.is_empty() {
            return Ok(Self::Numbers(Initializer::normal(1.0).tensor(
                key,
                dims,
                target.dtype,
                &target.device,
            )?));
        }
        let cpu = candle_core::Device::Cpu;
        let drawn = Initializer::uniform(0.5).tensor(key, rows.as_slice(), DType::F64, &cpu)?;
        let class = |x: f64| (((x + 0.5) * count as f64) as usize).min(count - 1) as u32;
        let classes = drawn.flatten_all()?.to_vec1::<f64>()?.into_iter().map(class).collect::<Vec<_>>();
        Ok(Self::Classes { classes: Tensor::from_vec(classes, rows.as_slice(), &target.device)?, count })
    }

    /// Refuses outputs that cannot be compared.
    pub(crate) fn check(&self, outputs: &Tensor) -> Result<()> {
        let made = outputs.dims().last().copied().unwrap_or(0);
        match self {
            Self::Classes { count, .. } if outputs.rank() != 2 || made < *count => Err(usage(format!(
                "the data have {count} classes, and the model makes {}: give a --config with as many outputs",
                output::shape(outputs.dims())
            ))),
            Self::Numbers(numbers) if numbers.elem_count() != outputs.elem_count() => {
                let each = numbers.elem_count() / numbers.dims().first().copied().unwrap_or(1).max(1);
                let s = if each == 1 { "" } else { "s" };
                Err(usage(format!(
                    "the data have {each} target{s} for each sample, and the model makes {made} numbers: give a --config \
                     with as many outputs, or --task classify"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The loss of outputs.
    pub(crate) fn loss(&self, outputs: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::MeanSquare => outputs.sqr()?.mean_all(),
            Self::Classes { classes, .. } => compare(outputs, classes),
            Self::Numbers(numbers) => compare(outputs, &numbers.reshape(outputs.shape())?),
        }
    }

    /// What the outputs are compared with, if with anything.
    pub(crate) fn targets(&self) -> Option<&Tensor> {
        match self {
            Self::MeanSquare => None,
            Self::Classes { classes, .. } => Some(classes),
            Self::Numbers(numbers) => Some(numbers),
        }
    }

    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::MeanSquare => "mean square of the outputs",
            Self::Classes { .. } => "cross entropy",
            Self::Numbers(_) => "mean squared error",
        }
    }
}

/// The cross entropy of logits of any rank, if the targets are classes; else the mean squared error.
pub(crate) fn compare(outputs: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    if targets.dtype().is_int() {
        let count = outputs.dim(D::Minus1)?;
        let logits = outputs.reshape(((), count))?;
        return candle_nn::loss::cross_entropy(&logits.to_dtype(wide(&logits))?, &targets.flatten_all()?);
    }
    candle_nn::loss::mse(outputs, targets)
}

/// The type in which a loss is computed.
fn wide(xs: &Tensor) -> DType {
    match xs.dtype() {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    }
}
