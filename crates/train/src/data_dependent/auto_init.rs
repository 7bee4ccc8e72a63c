//! Unit variance in expectation, from the moments of the inputs.

use candle_core::{Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::moments;

use super::changes::{Change, Changes};
use super::layers::{Layers, Target};
use super::signal::Signal;
use crate::Error;

/// Weights of the variance with which a layer's output has a mean square of one *in expectation over their draw*,
/// `Var W = aim² / (fan_in · E x²)`, from the measured second moment of the layer's input, padding counted (after
/// AutoInit, Bingham and Miikkulainen 2023, arXiv 2109.08958, whose `μ² + ν` is this moment). [`Lsuv`](super::Lsuv) in
/// its place makes the output of this very draw one, so that a draw's luck in a narrow layer is undone too.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Module, linear_no_bias, seq};
/// use wick_init::{InitMap, Initializer, KeyedV1};
/// use wick_train::data_dependent::AutoInit;
///
/// let map = InitMap::new(42).with_default_init("normal:std=.01".parse()?);
/// let vb = map.var_builder(DType::F32, &Device::Cpu);
/// let model = seq().add(linear_no_bias(64, 256, vb.pp("a"))?).add(linear_no_bias(256, 256, vb.pp("b"))?);
/// let key = KeyedV1::new(42).key("batch");
/// let xs = Initializer::normal(2.0).tensor(key, (100, 64), DType::F32, &Device::Cpu)?;
///
/// let changes = AutoInit::new().run(&map.named_vars(), &[&xs], || model.forward(&xs))?;
/// // 0.01 → 1 / √(64 · 4) = 0.0625: each weight is multiplied by about 6.25.
/// assert!((changes.layers[0].factor / 6.25 - 1.0).abs() < 0.05);
/// assert!(changes.layers.iter().all(|layer| (layer.std_after - 1.0).abs() < 0.1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AutoInit {
    aim: f64,
}

impl AutoInit {
    /// A mean square of one.
    pub fn new() -> Self {
        Self { aim: 1.0 }
    }

    /// The root mean square to reach, above 0.
    pub fn with_aim(self, aim: f64) -> Self {
        Self { aim }
    }

    /// Corrects the weights. `inputs` are the tensors that enter the model and are no variables, as the batch is;
    /// `forward` passes them through the model, the same each time.
    ///
    /// # Errors
    /// Those of [`Lsuv::run`](super::Lsuv::run).
    pub fn run(
        &self,
        vars: &[(String, Var)],
        inputs: &[&Tensor],
        forward: impl FnMut() -> Result<Tensor>,
    ) -> std::result::Result<Changes, Error> {
        super::lsuv::check("aim", self.aim)?;
        let method = format!("AutoInit, rms {}", self.aim);
        let layers = Layers::new(vars, forward)?;
        let correct = |layers: &mut _, target: &_| self.correct(layers, target, inputs);
        // What was asked for is an expectation.
        layers.correct(method, Signal::PreActivation, correct, |_, _, _| Ok(true))
    }

    fn correct<F: FnMut() -> Result<Tensor>>(
        &self,
        layers: &mut Layers<'_, F>,
        target: &Target,
        inputs: &[&Tensor],
    ) -> std::result::Result<Option<Change>, Error> {
        let before = layers.moments(target, Signal::PreActivation)?;
        let weight = layers.var(target.weight);
        let rms = moments(weight.as_tensor())?.rms();
        // What weights of N(0, 1) would make of the input.
        let mut laws = vec![(layers.name_of(target.weight).to_owned(), 1.0)];
        laws.extend(target.bias.map(|bias| (layers.name_of(bias).to_owned(), 0.0)));
        let parts = parts(weight, inputs)?;
        let inputs: Vec<&Tensor> = inputs.iter().copied().chain(&parts).collect();
        let band = layers.trace().bands(&laws, &inputs)?.into_iter().next();
        let Some(band) = band.filter(|_| rms > 0.0) else {
            let reason = if rms > 0.0 {
                "has an input that was not found: pass it (that of a transposed convolution, or in bf16, is never found)"
            } else {
                "has weights of zero"
            };
            layers.skip(target, reason);
            return Ok(None);
        };
        let factor = self.aim / band.band.middle / rms;
        if !factor.is_finite() {
            layers.skip(target, "has an input of zeros");
            return Ok(None);
        }
        let scaled = (weight.as_tensor() * factor)?;
        layers.set(target.weight, &scaled)?;
        layers.run()?;
        let after = layers.moments(target, Signal::PreActivation)?;
        Ok(Some(Change {
            layer: target.name.clone(),
            weight: layers.name_of(target.weight).to_owned(),
            factor,
            std_before: before.std(),
            std_after: after.std(),
            is_reached: true,
        }))
    }
}

/// The channels that each group of a convolution takes of the inputs, where its filters have fewer than these.
fn parts(weight: &Var, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut parts = Vec::new();
    for input in inputs.iter().filter(|input| weight.rank() >= 3 && input.rank() == weight.rank()) {
        let (all, own) = (input.dim(1)?, weight.dim(1)?);
        if own > 0 && own < all && all % own == 0 {
            parts.extend(input.chunk(all / own, 1)?);
        }
    }
    Ok(parts)
}

impl Default for AutoInit {
    fn default() -> Self {
        Self::new()
    }
}
