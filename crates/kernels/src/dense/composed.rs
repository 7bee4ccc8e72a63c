//! A dense layer of candle's own ops, for devices and types without an op of this crate.

use candle_core::{Result, Tensor};
use wick_theory::Activation;

use crate::activation::activate;
use crate::dense::observer::Observation;
use crate::tap::tap;

/// The layer, composed of candle's own ops.
pub(super) fn composed(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    observation: Option<Observation>,
) -> Result<Tensor> {
    let linear = candle_nn::Linear::new(weight.clone(), bias.cloned());
    let z = candle_nn::Module::forward(&linear, xs)?;
    let h = activate(activation, &z)?;
    let Some(observation) = observation else { return Ok(h) };
    observation.forward_of(activation, &z, &h)?;
    tap(&h, move |gradient| {
        observation.backward_of(gradient)?;
        observation.end_backward()
    })
}
