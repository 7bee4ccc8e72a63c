//! Layer-sequential unit variance.

use candle_core::{Result, Tensor, Var};
use serde::Serialize;
use wick_kernels::{Moments, moments};

use super::changes::{Change, Changes, digits};
use super::layers::{Layers, Target};
use super::signal::Signal;
use crate::Error;

/// The least fraction of the variance that a weight has to make: with a smaller one, the factor would be above 100 times
/// that of the output, for a weight whose part is little more than rounding.
const LEAST_FRACTION: f64 = 1e-4;

/// Layer-sequential unit variance (Mishkin and Matas 2015, arXiv 1511.06422): in the order of execution, each weight is
/// multiplied by `aim / std` of its layer's output over a batch, until the standard deviation is within the tolerance,
/// at most `tries` times. The paper begins with orthogonal weights and biases of zero, for which one try is exact
/// before an activation.
///
/// A layer whose weight makes less than 1e-4 of the variance of its output, as with a batch of zeros beside a bias, is
/// left as it was, and so is a weight that is also the table of an embedding; [`Changes::skipped`] says why. All layers
/// are measured again after the last correction.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Module, linear_no_bias, seq};
/// use wick_init::{InitMap, Initializer, KeyedV1};
/// use wick_train::data_dependent::Lsuv;
///
/// let map = InitMap::new(42).with_default_init("orthogonal".parse()?);
/// let vb = map.var_builder(DType::F32, &Device::Cpu);
/// let mut model = seq();
/// for layer in 0..6 {
///     let linear = linear_no_bias(64, 64, vb.pp(format!("fc{layer}")))?;
///     model = model.add(linear).add(candle_nn::Activation::Relu);
/// }
/// let key = KeyedV1::new(42).key("batch");
/// let xs = Initializer::normal(3.0).tensor(key, (100, 64), DType::F32, &Device::Cpu)?;
///
/// let changes = Lsuv::new().run(&map.named_vars(), || model.forward(&xs))?;
/// assert_eq!(changes.layers.len(), 6);
/// assert!(changes.layers.iter().all(|layer| (layer.std_after - 1.0).abs() < 1e-5));
/// // A pass for each layer, and the first.
/// assert_eq!(changes.forwards, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lsuv {
    aim: f64,
    tolerance: f64,
    tries: usize,
    signal: Signal,
    centers: bool,
}

impl Lsuv {
    /// Standard deviation 1 before the activation, within 0.05, in at most 10 tries; biases stay as they are.
    pub fn new() -> Self {
        Self { aim: 1.0, tolerance: 0.05, tries: 10, signal: Signal::PreActivation, centers: false }
    }

    /// The standard deviation to reach, above 0.
    pub fn with_aim(self, aim: f64) -> Self {
        Self { aim, ..self }
    }

    /// How far from the aim a standard deviation may stay, above 0. The paper has 0.1. A layer that is as close from
    /// the start is not changed.
    pub fn with_tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// The most corrections of a layer, at least 1.
    pub fn with_tries(self, tries: usize) -> Self {
        Self { tries, ..self }
    }

    /// Measures the signal behind the activation: the activation-wise variant. A bounded activation may not reach the
    /// aim; [`Change::is_reached`] says so.
    pub fn at(self, signal: Signal) -> Self {
        Self { signal, ..self }
    }

    /// Takes the mean of the signal off by the layer's bias, where it has one; a layer is then corrected until its mean
    /// is as close to 0 as its standard deviation is to the aim.
    pub fn with_zero_mean(self) -> Self {
        Self { centers: true, ..self }
    }

    /// Corrects the weights. `forward` passes one batch through the model and returns its output or a loss; it must
    /// pass the same batch each time, without dropout.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range; [`Error::Settings`] if no layer is found or an output is not
    /// finite; those of the pass. All variables that were passed then have the values that they had.
    pub fn run(
        &self,
        vars: &[(String, Var)],
        forward: impl FnMut() -> Result<Tensor>,
    ) -> std::result::Result<Changes, Error> {
        check("aim", self.aim)?;
        check("tolerance", self.tolerance)?;
        check("tries", self.tries as f64)?;
        let at = if self.signal == Signal::Activation { " behind the activation" } else { "" };
        let method = format!("LSUV, std {} ± {}{at}", self.aim, self.tolerance);
        let is_reached = |_: &_, target: &_, now: &_| Ok(self.is_reached(target, now));
        let layers = Layers::new(vars, forward)?;
        layers.correct(method, self.signal, |layers, target| self.correct(layers, target), is_reached)
    }

    fn is_reached(&self, target: &Target, now: &Moments) -> bool {
        let is_centred = !self.centers || target.bias.is_none() || now.mean().abs() <= self.tolerance;
        (now.std() - self.aim).abs() <= self.tolerance && is_centred
    }

    fn correct<F: FnMut() -> Result<Tensor>>(
        &self,
        layers: &mut Layers<'_, F>,
        target: &Target,
    ) -> std::result::Result<Option<Change>, Error> {
        let before = layers.moments(target, self.signal)?;
        // Rounding leaves a little of a constant.
        if before.std() <= 1e-6 * before.rms() || before.std() == 0.0 {
            layers.skip(target, "has the same output everywhere, as a layer whose weights are zero");
            return Ok(None);
        }
        let (mut now, mut factor) = (before, 1.0);
        let bias = target.bias.filter(|_| self.centers);
        let kept = [Some(target.weight), bias]
            .into_iter()
            .flatten()
            .map(|index| Ok((index, layers.var(index).copy()?)));
        let kept: Vec<(usize, Tensor)> = kept.collect::<Result<_>>()?;
        let mut tries = 0;
        while tries < self.tries && !self.is_reached(target, &now) {
            let step = self.aim / now.std();
            if !(step.is_finite() && step > 0.0) {
                break;
            }
            if let Some(bias) = bias {
                let moved = self.centred(layers.var(bias), now.mean(), step)?;
                layers.set(bias, &moved)?;
            }
            let scaled = (layers.var(target.weight).as_tensor() * step)?;
            layers.set(target.weight, &scaled)?;
            layers.run()?;
            (factor, tries) = (factor * step, tries + 1);
            now = layers.moments(target, self.signal)?;
            if tries == 1 && fraction(before.std(), now.std(), step) < LEAST_FRACTION {
                for (index, value) in &kept {
                    layers.set(*index, value)?;
                }
                layers.run()?;
                let reason = format!(
                    "has an output that its weight hardly moves: with the weight × {}, its std went from {} to {}, and \
                     the rest is its bias or the bound of its activation; the weight is as it was",
                    digits(step),
                    digits(before.std()),
                    digits(now.std())
                );
                layers.skip(target, reason);
                return Ok(None);
            }
        }
        Ok(Some(Change {
            layer: target.name.clone(),
            weight: layers.name_of(target.weight).to_owned(),
            factor,
            std_before: before.std(),
            std_after: now.std(),
            is_reached: self.is_reached(target, &now),
        }))
    }

    /// The bias with which the mean of the signal is 0 once the weight has been multiplied by `step`: exact before an
    /// activation, where the mean is the bias's and that of the product.
    fn centred(&self, bias: &Var, mean: f64, step: f64) -> Result<Tensor> {
        let own = moments(bias.as_tensor())?.mean();
        let expected = match self.signal {
            Signal::PreActivation => step * (mean - own) + own,
            Signal::Activation => mean,
        };
        bias.as_tensor() - expected
    }
}

impl Default for Lsuv {
    fn default() -> Self {
        Self::new()
    }
}

/// The fraction of the variance that the weight made, if the rest is a bias that stayed: from
/// `s² = W + B` to `t² = step² W + B`, it is `W / s² = (t² / s² − 1) / (step² − 1)`. 1 where the step is too small to tell.
fn fraction(before: f64, after: f64, step: f64) -> f64 {
    let by = step * step - 1.0;
    if by.abs() < 0.01 { 1.0 } else { ((after / before).powi(2) - 1.0) / by }
}

/// Refuses a setting that is not finite and above 0.
pub(super) fn check(parameter: &'static str, value: f64) -> std::result::Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Parameter { parameter, value, range: "above 0" })
}
