//! The net on tensors: the forward pass, the gradients by the lecture's formulas, and those by candle's
//! backward pass.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use wick_model::loss::{Loss, l2_penalty};
use wick_model::{Activation, activate, activation_gradient};

/// The weights, the data and the functions of the net. Samples are rows, so that `z = x W1ᵀ`.
pub(crate) struct Net {
    pub(crate) x: Tensor,
    pub(crate) y: Tensor,
    pub(crate) w1: Tensor,
    pub(crate) w2: Tensor,
    pub(crate) activation: Activation,
    pub(crate) loss: Loss,
    pub(crate) lambda: f64,
}

/// The intermediate values.
pub(crate) struct Forward {
    pub(crate) z: Tensor,
    pub(crate) h: Tensor,
    pub(crate) o: Tensor,
    pub(crate) loss: Tensor,
    pub(crate) penalty: Tensor,
    pub(crate) objective: Tensor,
}

/// One gradient by its name.
pub(crate) struct Gradient {
    pub(crate) name: &'static str,
    pub(crate) value: Tensor,
}

/// The gradients' names, in the lecture's order.
pub(crate) const NAMES: [&str; 7] = ["dJ/do", "ds/dW1", "ds/dW2", "dJ/dW2", "dJ/dh", "dJ/dz", "dJ/dW1"];

fn named(values: [Tensor; 7]) -> Vec<Gradient> {
    NAMES.into_iter().zip(values).map(|(name, value)| Gradient { name, value }).collect()
}

impl Net {
    pub(crate) fn forward(&self) -> Result<Forward> {
        self.forward_with(&self.w1, &self.w2, |_, value| Ok(value))
    }

    /// Computes the forward pass with these weights, and passes z, h and o through `callback`.
    fn forward_with(
        &self,
        w1: &Tensor,
        w2: &Tensor,
        callback: impl Fn(&'static str, Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Forward> {
        let z = callback("dJ/dz", self.x.matmul(&w1.t()?)?)?;
        let h = callback("dJ/dh", activate(self.activation, &z)?)?;
        let o = callback("dJ/do", h.matmul(&w2.t()?)?)?;
        let loss = self.loss.forward(&o, &self.y)?;
        let penalty = l2_penalty([w1, w2], self.lambda)?;
        let objective = (&loss + &penalty)?;
        Ok(Forward { z, h, o, loss, penalty, objective })
    }

    /// Computes the gradients by the lecture's formulas on plain tensors, with samples as rows.
    pub(crate) fn by_formulas(&self, forward: &Forward) -> Result<Vec<Gradient>> {
        let o = self.loss.gradient(&forward.o, &self.y)?;
        let (s_w1, s_w2) = ((&self.w1 * self.lambda)?, (&self.w2 * self.lambda)?);
        let w2 = (o.t()?.matmul(&forward.h)? + &s_w2)?;
        let h = o.matmul(&self.w2)?;
        let z = activation_gradient(self.activation, &forward.z, &h)?;
        let w1 = (z.t()?.matmul(&self.x)? + &s_w1)?;
        Ok(named([o, s_w1, s_w2, w2, h, z, w1]))
    }

    /// Computes the gradients by candle's backward pass from J and from s, with taps at z, h and o.
    pub(crate) fn by_backward_pass(&self) -> Result<Vec<Gradient>> {
        let (w1, w2) = (Var::from_tensor(&self.w1)?, Var::from_tensor(&self.w2)?);
        let tapped = Arc::new(Mutex::new(Vec::new()));
        let forward = self.forward_with(&w1, &w2, |name, value| {
            let tapped = tapped.clone();
            wick_probe::tap(&value, move |gradient| {
                tapped.lock().unwrap_or_else(PoisonError::into_inner).push((name, gradient.clone()));
                Ok(())
            })
        })?;
        let from_j = forward.objective.backward()?;
        let from_s = forward.penalty.backward()?;
        let tapped = tapped.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tap = |name| {
            let gradient = tapped.iter().find(|(tap, _)| *tap == name).map(|(_, gradient)| gradient.clone());
            gradient.with_context(|| format!("no gradient came back for {name}"))
        };
        let of = |store: &GradStore, var: &Var| {
            store.get(var).cloned().context("no gradient came back for a weight")
        };
        // With λ = 0 candle's backward pass does not reach the weights.
        let of_s = |var: &Var| if self.lambda == 0.0 { Ok(var.zeros_like()?) } else { of(&from_s, var) };
        Ok(named([
            of_tap("dJ/do")?,
            of_s(&w1)?,
            of_s(&w2)?,
            of(&from_j, &w2)?,
            of_tap("dJ/dh")?,
            of_tap("dJ/dz")?,
            of(&from_j, &w1)?,
        ]))
    }
}

impl Forward {
    /// Returns every value with its name and formula, in the order of the computation.
    pub(crate) fn named<'a>(&'a self, net: &'a Net) -> Vec<(&'static str, &'static str, &'a Tensor)> {
        vec![
            ("x", "", &net.x),
            ("y", "", &net.y),
            ("W1", "", &net.w1),
            ("W2", "", &net.w2),
            ("z", "x W1ᵀ", &self.z),
            ("h", "φ(z)", &self.h),
            ("o", "h W2ᵀ", &self.o),
            ("L", "l(o, y)", &self.loss),
            ("s", "λ/2 (‖W1‖² + ‖W2‖²)", &self.penalty),
            ("J", "L + s", &self.objective),
        ]
    }
}
