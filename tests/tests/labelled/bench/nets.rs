//! Nets of all kinds of candle's own operations, with a tap behind each layer and a place for a fault in each.

use std::cell::{Cell, RefCell};

use candle_core::{DType, Module, Result, Tensor, Var};
use candle_nn::ops::softmax;
use candle_nn::{BatchNorm, ModuleT};
use wick_init::{Initializer, KeyedV1};
use wick_model::{Activation, activate};
use wick_probe::Probe;
use wick_tests::{CPU, normal};
use wick_theory::LayerLaw;

use super::case::{Fault, Kind, Setting};

/// A net: its variables, which the first pass makes.
pub(crate) struct Net {
    pub(crate) setting: Setting,
    /// What the input is multiplied by.
    pub(crate) input: f64,
    /// The step of the training; `None` where the net is evaluated.
    pub(crate) step: Cell<Option<usize>>,
    vars: RefCell<Vec<(String, Var)>>,
    norms: RefCell<Vec<(String, BatchNorm)>>,
}

impl Net {
    pub(crate) fn new(setting: Setting) -> Self {
        let (vars, norms) = Default::default();
        Self { setting, input: 1.0, step: Cell::new(Some(0)), vars, norms }
    }

    /// The variables in the order of the layers.
    pub(crate) fn vars(&self) -> Vec<(String, Var)> {
        self.vars.borrow().clone()
    }

    fn has(&self, fault: Fault, name: &str) -> bool {
        self.setting.fault == fault && self.setting.layer == name
    }

    fn var(&self, name: &str, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        if let Some((_, var)) = self.vars.borrow().iter().find(|(known, _)| known == name) {
            return Ok(var.as_tensor().clone());
        }
        let var = Var::from_tensor(&make()?)?;
        self.vars.borrow_mut().push((name.to_owned(), var.clone()));
        Ok(var.as_tensor().clone())
    }

    /// A weight of the layer, drawn with the std, with the layer's fault.
    fn weight(&self, layer: &str, shape: &[usize], std: f64) -> Result<Tensor> {
        let name = format!("{layer}.weight");
        self.var(&name, || {
            let std = match self.setting.fault {
                Fault::Scale(by) if self.setting.layer == layer => std * by,
                Fault::Zero if self.setting.layer == layer => 0.0,
                _ => std,
            };
            let key = KeyedV1::new(self.setting.seed).key(&name);
            let weight = match std > 0.0 {
                true if self.setting.torch_weights => {
                    let bound = std * 3f64.sqrt();
                    let uniform = Initializer::Uniform { low: -bound, high: bound };
                    uniform.tensor(key, shape, DType::F32, &CPU).unwrap()
                }
                true => Initializer::normal(std).tensor(key, shape, DType::F32, &CPU).unwrap(),
                false => Tensor::zeros(shape, DType::F32, &CPU)?,
            };
            if self.has(Fault::Tied, layer) {
                return weight.narrow(0, 0, 1)?.broadcast_as(shape)?.contiguous();
            }
            Ok(weight)
        })
    }

    fn bias(&self, layer: &str, units: usize, fan_in: usize) -> Result<Tensor> {
        let name = format!("{layer}.bias");
        self.var(&name, || {
            if self.has(Fault::Dead, layer) {
                return Tensor::full(-60f32, units, &CPU);
            }
            if !self.setting.torch_biases {
                return Tensor::zeros(units, DType::F32, &CPU);
            }
            let bound = 1.0 / (fan_in as f64).sqrt();
            let key = KeyedV1::new(self.setting.seed).key(&name);
            let uniform = Initializer::Uniform { low: -bound, high: bound };
            Ok(uniform.tensor(key, units, DType::F32, &CPU).unwrap())
        })
    }

    /// The output of a layer, from its pre-activation, with its fault and its tap.
    fn output(&self, probe: &Probe, name: &str, phi: Option<Activation>, z: &Tensor) -> Result<Tensor> {
        let output = match phi {
            Some(phi) if !self.has(Fault::NoActivation, name) => activate(phi, z)?,
            _ => z.clone(),
        };
        let output = match self.setting.kind {
            Kind::Half => output.to_dtype(DType::BF16)?,
            _ => output,
        };
        let output = if self.has(Fault::Nan, name) { (&output * f64::NAN)? } else { output };
        let tapped = match phi {
            Some(phi) => probe.tap_activation(name, phi, z, &output)?,
            None => probe.tap(name, &output)?,
        };
        let tapped = if self.has(Fault::Detach, name) { tapped.detach() } else { tapped };
        if self.setting.kind == Kind::Dropout && phi.is_some() {
            return probe.tap(&format!("{name}.drop"), &self.dropped(name, &tapped)?);
        }
        tapped.to_dtype(DType::F32)
    }

    /// Dropout of .3, by numbers of the step.
    fn dropped(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        /// The normal distribution has .3 below it.
        const QUANTILE: f32 = -0.5244;
        let Some(step) = self.step.get() else { return Ok(x.clone()) };
        let numbers = normal(self.setting.seed, &format!("{name}.drop/{step}"), x.dims(), DType::F32);
        (x * numbers.ge(QUANTILE)?.to_dtype(DType::F32)?)? / 0.7
    }

    /// Candle's batch norm, with its variables.
    fn batch_norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let channels = x.dim(1)?;
        let zeros = || Tensor::zeros(channels, DType::F32, &CPU);
        let ones = || Tensor::ones(channels, DType::F32, &CPU);
        let (weight, bias) =
            (self.var(&format!("{name}.weight"), ones)?, self.var(&format!("{name}.bias"), zeros)?);
        let mut norms = self.norms.borrow_mut();
        if !norms.iter().any(|(known, _)| known == name) {
            norms.push((name.to_owned(), BatchNorm::new(channels, zeros()?, ones()?, weight, bias, 1e-5)?));
        }
        let norm = norms.iter().find(|(known, _)| known == name).map(|(_, norm)| norm).unwrap();
        norm.forward_t(x, self.step.get().is_some())
    }

    fn gain(phi: Option<Activation>) -> f64 {
        match phi {
            Some(Activation::Relu | Activation::Gelu | Activation::Silu | Activation::Mish) => 2f64.sqrt(),
            _ => 1.0,
        }
    }

    /// A dense layer on the last dimension.
    fn dense(
        &self,
        probe: &Probe,
        name: &str,
        x: &Tensor,
        units: usize,
        phi: Option<Activation>,
    ) -> Result<Tensor> {
        self.dense_of(probe, name, x, units, phi, 1.0)
    }

    fn dense_of(
        &self,
        probe: &Probe,
        name: &str,
        x: &Tensor,
        units: usize,
        phi: Option<Activation>,
        scale: f64,
    ) -> Result<Tensor> {
        let fan_in = x.dim(x.rank() - 1)?;
        let gain = if self.setting.torch_weights { 1.0 / 3f64.sqrt() } else { Self::gain(phi) };
        let std = scale * gain / (fan_in as f64).sqrt();
        let w = self.weight(name, &[units, fan_in], std)?;
        let b = self.bias(name, units, fan_in)?;
        let z = candle_nn::Linear::new(w, Some(b)).forward(x)?;
        self.output(probe, name, phi, &z)
    }

    /// A dense layer by the transposed weight of another.
    fn transposed(
        &self,
        probe: &Probe,
        name: &str,
        of: &str,
        x: &Tensor,
        phi: Option<Activation>,
    ) -> Result<Tensor> {
        let w = self.weight(of, &[], 0.0)?.t()?.contiguous()?;
        let b = self.bias(name, w.dim(0)?, w.dim(1)?)?;
        let z = candle_nn::Linear::new(w, Some(b)).forward(x)?;
        self.output(probe, name, phi, &z)
    }

    fn conv(
        &self,
        probe: &Probe,
        name: &str,
        x: &Tensor,
        channels: usize,
        phi: Activation,
    ) -> Result<Tensor> {
        let (rank, fan) = (x.rank(), x.dim(1)? * 3usize.pow(x.rank() as u32 - 2));
        let shape = [&[channels, x.dim(1)?][..], &vec![3; rank - 2]].concat();
        let w = self.weight(name, &shape, Self::gain(Some(phi)) / (fan as f64).sqrt())?;
        let b = self.bias(name, channels, fan)?;
        let z = if rank == 3 { x.conv1d(&w, 1, 1, 1, 1)? } else { x.conv2d(&w, 1, 1, 1, 1)? };
        let b = if rank == 3 { b.reshape((1, channels, 1))? } else { b.reshape((1, channels, 1, 1))? };
        let z = z.broadcast_add(&b)?;
        let z = match self.setting.kind {
            Kind::BatchNorm => self.batch_norm(&format!("{name}.norm"), &z)?,
            _ => z,
        };
        self.output(probe, name, Some(phi), &z)
    }

    fn norm(&self, x: &Tensor) -> Result<Tensor> {
        let last = x.rank() - 1;
        let centred = x.broadcast_sub(&x.mean_keepdim(last)?)?;
        centred.broadcast_div(&(centred.sqr()?.mean_keepdim(last)? + 1e-5)?.sqrt()?)
    }

    /// The head: a plain tap, and zero weights if the setting has a zero head.
    fn head(&self, probe: &Probe, x: &Tensor, units: usize) -> Result<Tensor> {
        self.dense_of(probe, "out", x, units, None, if self.setting.zero_init { 0.0 } else { 1.0 })
    }

    /// What the input is multiplied by, with its fault.
    pub(crate) fn input_factor(&self) -> f64 {
        if self.setting.fault == Fault::Input { 1000.0 * self.input } else { self.input }
    }

    /// The input as the first layers of each kind take it.
    pub(crate) fn inputs(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let (n, x) = (x.dim(0)?, (x * self.input_factor())?);
        if x.elem_count() != n * 64 {
            return Ok(vec![x]);
        }
        let rows = x.reshape((n, 8, 8))?;
        let mut inputs = vec![x.reshape((n, 1, 8, 8))?, x, rows.clone()];
        for step in 0..8 {
            inputs.push(rows.narrow(1, step, 1)?.squeeze(1)?);
        }
        Ok(inputs)
    }

    /// The forward pass.
    pub(crate) fn forward(&self, x: &Tensor, probe: &Probe) -> Result<Tensor> {
        let (phi, n) = (self.setting.phi, x.dim(0)?);
        let x = (x * self.input_factor())?;
        match self.setting.kind {
            Kind::Mlp
            | Kind::OneOutput
            | Kind::Dropout
            | Kind::Momentum
            | Kind::Half
            | Kind::TorchStart
            | Kind::TwoHeads => {
                let mut h = x;
                for layer in 0..self.setting.depth {
                    h = self.dense(probe, &format!("fc{layer}"), &h, self.setting.width, Some(phi))?;
                }
                let units = if self.setting.kind == Kind::OneOutput { 1 } else { 10 };
                // A second head before the one that is used, or behind it.
                let second = (self.setting.kind == Kind::TwoHeads).then_some(self.setting.seed % 20 < 10);
                if second == Some(true) {
                    self.dense(probe, "aux", &h, 5, None)?;
                }
                let output = self.head(probe, &h, units)?;
                if second == Some(false) {
                    self.dense(probe, "aux", &h, 10, None)?;
                }
                Ok(output)
            }
            Kind::Autoencoder => {
                let mut h = x;
                for (layer, units) in [self.setting.width, 16, self.setting.width].into_iter().enumerate() {
                    h = self.dense(probe, &format!("fc{layer}"), &h, units, Some(phi))?;
                }
                self.dense(probe, "out", &h, 64, None)
            }
            Kind::SharedWeights => {
                let h = self.dense(probe, "fc0", &x, self.setting.width, Some(phi))?;
                let h = self.dense(probe, "fc1", &h, 16, Some(phi))?;
                let h = self.transposed(probe, "fc2", "fc1", &h, Some(phi))?;
                self.transposed(probe, "out", "fc0", &h, None)
            }
            Kind::Conv2d | Kind::BatchNorm => {
                let h = self.conv(probe, "conv0", &x.reshape((n, 1, 8, 8))?, 12, phi)?;
                let h = self.conv(probe, "conv1", &h.max_pool2d(2)?, 24, phi)?;
                let h = self.conv(probe, "conv2", &h, 24, phi)?;
                let h = self.dense(probe, "fc", &h.flatten_from(1)?, self.setting.width, Some(phi))?;
                self.head(probe, &h, 10)
            }
            Kind::Conv1d => {
                let mut h = x.reshape((n, 8, 8))?;
                for layer in 0..3 {
                    h = self.conv(probe, &format!("conv{layer}"), &h, 24, phi)?;
                }
                let h = self.dense(probe, "fc", &h.flatten_from(1)?, self.setting.width, Some(phi))?;
                self.head(probe, &h, 10)
            }
            Kind::Residual | Kind::ResidualNorm => {
                let mut h = self.dense(probe, "stem", &x, self.setting.width, None)?;
                for block in 0..4 {
                    let inner =
                        if self.setting.kind == Kind::ResidualNorm { self.norm(&h)? } else { h.clone() };
                    let inner = self.dense(
                        probe,
                        &format!("block{block}.fc1"),
                        &inner,
                        self.setting.width,
                        Some(phi),
                    )?;
                    let scale = if self.setting.zero_init { 0.0 } else { 0.5 };
                    let inner = self.dense_of(
                        probe,
                        &format!("block{block}.fc2"),
                        &inner,
                        self.setting.width,
                        None,
                        scale,
                    )?;
                    h = probe.tap(&format!("block{block}"), &(h + inner)?)?;
                }
                let h = if self.setting.kind == Kind::ResidualNorm { self.norm(&h)? } else { h };
                self.dense(probe, "out", &h, 10, None)
            }
            Kind::Attention => self.attention(&x, probe),
            Kind::Recurrent => self.recurrent(&x, probe),
        }
    }

    /// Two pre-norm blocks on the rows of an image.
    fn attention(&self, x: &Tensor, probe: &Probe) -> Result<Tensor> {
        let (n, d) = (x.dim(0)?, self.setting.width);
        let h = self.dense(probe, "emb", &x.reshape((n, 8, 8))?, d, None)?;
        let key = KeyedV1::new(self.setting.seed).key("pos");
        let pos =
            self.var("pos", || Ok(Initializer::normal(0.1).tensor(key, (8, d), DType::F32, &CPU).unwrap()))?;
        let mut h = h.broadcast_add(&pos)?;
        for block in 0..2 {
            let name = |part: &str| format!("block{block}.{part}");
            let inner = self.norm(&h)?;
            let qkv = self.dense(probe, &name("qkv"), &inner, 3 * d, None)?;
            let part = |index: usize| qkv.narrow(2, index * d, d)?.contiguous();
            let scores = (part(0)?.matmul(&part(1)?.t()?.contiguous()?)? / (d as f64).sqrt())?;
            let probs = probe.tap(&name("probs"), &softmax(&scores, 2)?)?;
            let mixed = probs.matmul(&part(2)?)?;
            let scale = if self.setting.zero_init { 0.0 } else { 0.5 };
            h = (h + self.dense_of(probe, &name("proj"), &mixed, d, None, scale)?)?;
            let inner = self.dense(probe, &name("fc1"), &self.norm(&h)?, 2 * d, Some(self.setting.phi))?;
            h = (h + self.dense_of(probe, &name("fc2"), &inner, d, None, scale)?)?;
            h = probe.tap(&format!("block{block}"), &h)?;
        }
        self.dense(probe, "out", &self.norm(&h)?.mean(1)?, 10, None)
    }

    /// A net of eight steps on the rows of an image.
    fn recurrent(&self, x: &Tensor, probe: &Probe) -> Result<Tensor> {
        let (n, d) = (x.dim(0)?, self.setting.width);
        let rows = x.reshape((n, 8, 8))?;
        let w = self.weight("input", &[d, 8], 1.0 / 8f64.sqrt())?;
        let u = self.weight("recurrence", &[d, d], 1.0 / (d as f64).sqrt())?;
        let b = self.bias("recurrence", d, d)?;
        let mut h = Tensor::zeros((n, d), DType::F32, &CPU)?;
        for step in 0..8 {
            let row = rows.narrow(1, step, 1)?.squeeze(1)?;
            let z = (row.matmul(&w.t()?)? + h.matmul(&u.t()?)?)?.broadcast_add(&b)?;
            h = self.output(probe, &format!("h.{step}"), Some(Activation::Tanh), &z)?;
        }
        self.head(probe, &h, 10)
    }

    /// The laws of a told net's dense layers, as meant.
    pub(crate) fn laws(&self, features: usize) -> Vec<(String, LayerLaw<Activation>)> {
        let mut fan_in = features;
        let mut laws = Vec::new();
        for layer in 0..=self.setting.depth {
            let is_last = layer == self.setting.depth;
            let phi = if is_last { Activation::Identity } else { self.setting.phi };
            let fan_out = if is_last { 10 } else { self.setting.width };
            let gain = if is_last { 1.0 } else { Self::gain(Some(phi)) };
            let bias = if self.setting.torch_biases { 1.0 / (3.0 * fan_in as f64) } else { 0.0 };
            let variance = if is_last && self.setting.zero_init { 0.0 } else { gain * gain / fan_in as f64 };
            let law = LayerLaw {
                fan_in,
                fan_out,
                weight_variance: variance,
                bias_variance: bias,
                orthogonal: false,
                phi,
            };
            let name = if is_last { "out".to_owned() } else { format!("fc{layer}") };
            // A head of zeros has no law of numbers.
            if variance > 0.0 {
                laws.push((name, law));
            }
            fan_in = fan_out;
        }
        laws
    }
}
