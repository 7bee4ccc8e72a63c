//! Mean 0 and standard deviation 1 of each channel.

use candle_core::{D, DType, Result, Tensor, Var};
use serde::Serialize;
use wick_probe::TracedLayer;

use super::changes::{Change, Changes};
use super::layers::{Layers, Target};
use super::signal::Signal;
use crate::Error;

/// Mean 0 and standard deviation 1 of each channel of each layer's output over a batch, before the activation: row `c`
/// of a weight is divided by `σ_c`, and the bias becomes `(b_c − μ_c) / σ_c` (Salimans and Kingma 2016, arXiv
/// 1602.07868, section 3; ActNorm of Kingma and Dhariwal 2018 does the same with a layer of its own). A layer without a
/// bias keeps its means.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Module, linear, seq};
/// use wick_init::{InitMap, Initializer, KeyedV1};
/// use wick_train::data_dependent::PerChannel;
///
/// let map = InitMap::new(42);
/// let vb = map.var_builder(DType::F32, &Device::Cpu);
/// let model = seq()
///     .add(linear(20, 30, vb.pp("a"))?)
///     .add(candle_nn::Activation::Relu)
///     .add(linear(30, 5, vb.pp("b"))?);
/// let key = KeyedV1::new(42).key("batch");
/// let xs = Initializer::normal(2.0).tensor(key, (100, 20), DType::F32, &Device::Cpu)?;
///
/// PerChannel::new().run(&map.named_vars(), || model.forward(&xs))?;
/// let output = model.forward(&xs)?;
/// assert!(output.mean(0)?.abs()?.max(0)?.to_scalar::<f32>()? < 1e-5);
/// assert!((output.sqr()?.mean(0)? - 1.0)?.abs()?.max(0)?.to_scalar::<f32>()? < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PerChannel {}

impl PerChannel {
    /// Mean 0 and standard deviation 1.
    pub fn new() -> Self {
        Self {}
    }

    /// Corrects weights and biases. `forward` passes one batch through the model, the same each time, without dropout.
    ///
    /// # Errors
    /// Those of [`Lsuv::run`](super::Lsuv::run).
    pub fn run(
        &self,
        vars: &[(String, Var)],
        forward: impl FnMut() -> Result<Tensor>,
    ) -> std::result::Result<Changes, Error> {
        let method = "mean 0 and std 1 of each channel".to_owned();
        let is_reached = |layers: &Layers<'_, _>, target: &Target, _: &_| is_reached(layers, target);
        Layers::new(vars, forward)?.correct(method, Signal::PreActivation, correct, is_reached)
    }
}

/// How far from 1 a channel's standard deviation may be; rounding of `bf16` is less.
const TOLERANCE: f64 = 0.05;

fn correct<F: FnMut() -> Result<Tensor>>(
    layers: &mut Layers<'_, F>,
    target: &Target,
) -> std::result::Result<Option<Change>, Error> {
    let before = layers.moments(target, Signal::PreActivation)?;
    let weight = layers.var(target.weight);
    let channels = weight.dim(0)?;
    let calls = layers.calls(target);
    let [only] = calls.as_slice() else {
        layers.skip(target, "is used in parts");
        return Ok(None);
    };
    let Some([mean, std]) = of_channels(only, weight.rank(), channels)? else {
        let is_alone =
            by_channel(&only.output, weight.rank())?.is_some_and(|output| output.dims() == [1, channels]);
        let reason = if is_alone {
            "has one number for each channel, as with one sample, and a standard deviation needs several: pass a larger \
             batch"
        } else {
            "has no output with one row of the weight for each channel"
        };
        layers.skip(target, reason);
        return Ok(None);
    };
    let stds = std.flatten_all()?.to_vec1::<f64>()?;
    if stds.iter().any(|&std| std <= 1e-6 * before.rms()) {
        layers.skip(target, "has a channel with the same output everywhere");
        return Ok(None);
    }
    let spread = vec![1; weight.rank() - 1];
    let divisors = std.reshape([&[channels], spread.as_slice()].concat())?;
    let scaled = weight.as_tensor().to_dtype(DType::F64)?.broadcast_div(&divisors)?;
    let shifted = match target.bias {
        Some(bias) => {
            let moved = (layers.var(bias).as_tensor().to_dtype(DType::F64)? - mean.flatten_all()?)?;
            Some((bias, (moved / std.flatten_all()?)?))
        }
        None => None,
    };
    let (weight_before, bias_before) =
        (weight.copy()?, target.bias.map(|bias| layers.var(bias).copy()).transpose()?);
    layers.set(target.weight, &scaled)?;
    if let Some((bias, shifted)) = shifted {
        layers.set(bias, &shifted)?;
    }
    layers.run()?;
    let after = layers.moments(target, Signal::PreActivation)?;
    // A square weight that is stored [in, out] has other rows than those of the channels.
    if !is_reached(layers, target)? {
        layers.set(target.weight, &weight_before)?;
        if let (Some(bias), Some(before)) = (target.bias, bias_before) {
            layers.set(bias, &before)?;
        }
        layers.run()?;
        layers.skip(
            target,
            "has outputs that do not follow the rows of its weight, as one that is stored [in, out]",
        );
        return Ok(None);
    }
    let logs = stds.iter().map(|std| -std.ln()).sum::<f64>();
    Ok(Some(Change {
        layer: target.name.clone(),
        weight: layers.name_of(target.weight).to_owned(),
        factor: (logs / channels as f64).exp(),
        std_before: before.std(),
        std_after: after.std(),
        is_reached: true,
    }))
}

/// Whether each channel has the standard deviation 1.
fn is_reached<F: FnMut() -> Result<Tensor>>(
    layers: &Layers<'_, F>,
    target: &Target,
) -> std::result::Result<bool, Error> {
    let weight = layers.var(target.weight);
    let calls = layers.calls(target);
    let [only] = calls.as_slice() else { return Ok(false) };
    Ok(match of_channels(only, weight.rank(), weight.dim(0)?)? {
        Some([_, std]) => (std - 1.0)?.abs()?.max_all()?.to_scalar::<f64>()? < TOLERANCE,
        None => false,
    })
}

/// The mean and the standard deviation of each channel, `[1, channels]`, if there are as many as the weight has rows and
/// more than one number of each.
fn of_channels(layer: &TracedLayer, rank: usize, channels: usize) -> Result<Option<[Tensor; 2]>> {
    let output = by_channel(&layer.output, rank)?;
    let Some(output) = output.filter(|output| output.dims()[1] == channels && output.dims()[0] > 1) else {
        return Ok(None);
    };
    let output = output.to_dtype(DType::F64)?;
    let mean = output.mean_keepdim(0)?;
    let std = output.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?.sqrt()?;
    Ok(Some([mean, std]))
}

/// The output with a row for each sample and position: the channels of a convolution are axis 1, of a linear layer the
/// last.
fn by_channel(output: &Tensor, rank: usize) -> Result<Option<Tensor>> {
    let output = output.detach();
    if output.rank() < 2 {
        return Ok(None);
    }
    let last = if rank > 2 { output.transpose(1, D::Minus1)? } else { output };
    let channels = last.dim(D::Minus1)?;
    Ok(Some(last.contiguous()?.reshape(((), channels))?))
}
