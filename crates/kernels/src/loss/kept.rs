//! The gradient that a forward pass leaves for the backward pass.

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Result, Tensor, bail};

/// The gradient of a loss by its outputs, which the forward pass computes in passing.
#[derive(Default)]
pub(super) struct KeptGradient(Mutex<Option<Tensor>>);

impl KeptGradient {
    pub(super) fn keep(&self, gradient: Tensor) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
    }

    pub(super) fn taken(self) -> Option<Tensor> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gradient, times that of the loss.
    pub(super) fn times(&self, of_loss: &Tensor) -> Result<Tensor> {
        let gradient = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(gradient) = gradient else { bail!("the loss has not gone forward") };
        let scale = of_loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if scale == 1.0 { Ok(gradient) } else { gradient.affine(scale, 0.0) }
    }
}
