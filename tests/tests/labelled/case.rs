//! Nets with a fault in a known place.

use candle_core::{DType, Result, Shape, Tensor, Var};
use wick_init::{Initializer, KeyedV1};
use wick_model::{Activation, activate};
use wick_probe::{
    Baseline, Fault, LayerReport, ParameterGradient, Parameters, Probe, Units, Verdict, judge, judge_updates,
};
use wick_tests::{CPU, choose_index};
use wick_theory::LayerLaw;

/// The fault of a net, with its layer if it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Plant {
    Nothing,
    /// The weights of the layer are 1.5 times as large.
    HalfAgain(usize),
    /// The weights of the layer were drawn with the wrong fan.
    WrongFan(usize),
    /// The layer has no activation.
    NoActivation(usize),
    /// All units of the layer have the same weights.
    Tied(usize),
    /// Half of the layer's units never fire.
    Dead(usize),
    /// The layer's output has a NaN.
    NanForward(usize),
    /// The gradient of the layer's output has a NaN.
    NanBackward(usize),
    /// The learning rate is too large or too small by this factor.
    LearningRate(f64),
    /// All weights are too large or too small by this factor.
    Scale(f64),
}

/// A net, drawn from a seed, and its fault.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) plant: Plant,
    pub(crate) widths: Vec<usize>,
    pub(crate) phi: Activation,
    pub(crate) bias: bool,
    pub(crate) cross_entropy: bool,
}

const SAMPLES: usize = 64;

impl Case {
    pub(crate) fn new(seed: u64) -> Self {
        let choice = |name: &str, count: usize| choose_index(seed, name, count);
        let depth = 4 + choice("depth", 9);
        let hidden = 64 << choice("width", 3);
        let kind = seed % 20;
        // A wrong fan shows only if the fans differ.
        let widths: Vec<usize> = (0..=depth)
            .map(|layer| match layer {
                0 => 32 << choice("features", 3),
                layer if layer == depth => 10,
                layer if kind == 10 => hidden << (layer % 2 * 2),
                _ => hidden,
            })
            .collect();
        let relu =
            [Activation::Relu, Activation::LeakyRelu { slope: 0.01 }, Activation::Gelu][choice("relu", 3)];
        let phi = match kind {
            13 | 14 => Activation::Relu,
            19 => Activation::Tanh,
            _ if choice("tanh", 2) == 0 => Activation::Tanh,
            _ => relu,
        };
        // The layer is neither the first nor the last.
        let at = 1 + choice("layer", depth - 2);
        let plant = match kind {
            9 => Plant::HalfAgain(at),
            // The layer goes from many units to few, so that the wrong fan is the smaller one.
            10 => {
                Plant::WrongFan(if widths[at] > widths[at + 1] { at } else { (at + 1).min(depth - 2).max(1) })
            }
            11 => Plant::NoActivation(at),
            12 => Plant::Tied(at),
            13 | 14 => Plant::Dead(at),
            15 => Plant::NanForward(at),
            16 => Plant::NanBackward(at),
            17 => Plant::LearningRate([1e3, 1e-4][choice("rate", 2)]),
            18 => Plant::Scale(0.1),
            19 => Plant::Scale(20.0),
            _ => Plant::Nothing,
        };
        Self { seed, plant, widths, phi, bias: choice("bias", 2) == 0, cross_entropy: choice("loss", 2) == 0 }
    }

    fn depth(&self) -> usize {
        self.widths.len() - 1
    }

    pub(crate) fn name(layer: usize) -> String {
        format!("layer_{layer}")
    }

    fn normal(&self, name: &str, shape: impl Into<Shape>, std: f64) -> Result<Tensor> {
        let key = KeyedV1::new(self.seed).key(name);
        Initializer::normal(std).tensor(key, shape, DType::F32, &CPU).map_err(candle_core::Error::wrap)
    }

    /// The law of the layer's weights without a fault; the last layer is linear.
    fn law(&self, layer: usize) -> LayerLaw<Activation> {
        let (fan_in, fan_out) = (self.widths[layer], self.widths[layer + 1]);
        let phi = if layer + 1 == self.depth() { Activation::Identity } else { self.phi };
        let gain = if self.phi == Activation::Tanh { 1.0 } else { self.phi.gain() };
        LayerLaw {
            fan_in,
            fan_out,
            weight_variance: gain * gain / fan_in as f64,
            bias_variance: 0.0,
            orthogonal: false,
            phi,
        }
    }

    /// The variables, with the fault.
    fn vars(&self) -> Result<Vec<(String, Var)>> {
        let mut vars = Vec::new();
        for layer in 0..self.depth() {
            let law = self.law(layer);
            let mut std = law.weight_variance.sqrt();
            match self.plant {
                Plant::HalfAgain(at) if at == layer => std *= 1.5,
                Plant::WrongFan(at) if at == layer => {
                    std *= (law.fan_in as f64 / law.fan_out as f64).sqrt();
                }
                Plant::Scale(by) => std *= by,
                _ => {}
            }
            let mut weight = self.normal(&format!("weight_{layer}"), (law.fan_out, law.fan_in), std)?;
            if self.plant == Plant::Tied(layer) {
                weight = weight.narrow(0, 0, 1)?.broadcast_as((law.fan_out, law.fan_in))?.contiguous()?;
            }
            vars.push((format!("{}.weight", Self::name(layer)), Var::from_tensor(&weight)?));
            let dead = self.plant == Plant::Dead(layer);
            if self.bias || dead {
                let bias: Vec<f32> =
                    (0..law.fan_out).map(|unit| if dead && unit % 2 == 0 { -50.0 } else { 0.0 }).collect();
                vars.push((
                    format!("{}.bias", Self::name(layer)),
                    Var::from_slice(&bias, law.fan_out, &CPU)?,
                ));
            }
        }
        Ok(vars)
    }

    /// The forward pass, with a tap behind each layer.
    fn forward(&self, vars: &[(String, Var)], input: &Tensor, probe: &Probe) -> Result<Tensor> {
        let var = |name: String| vars.iter().find(|(var, _)| *var == name).map(|(_, var)| var);
        let mut h = input.clone();
        for layer in 0..self.depth() {
            let name = Self::name(layer);
            let weight = var(format!("{name}.weight")).unwrap();
            let mut z = h.matmul(&weight.t()?)?;
            if let Some(bias) = var(format!("{name}.bias")) {
                z = z.broadcast_add(bias)?;
            }
            let phi = match self.plant {
                Plant::NoActivation(at) if at == layer => Activation::Identity,
                _ => self.law(layer).phi,
            };
            let mut output = activate(phi, &z)?;
            if self.plant == Plant::NanForward(layer) {
                let mut bad = vec![0f32; output.elem_count()];
                bad[5 * self.widths[layer + 1] + 3] = f32::NAN;
                output = (&output + Tensor::from_vec(bad, output.shape(), &CPU)?)?;
            }
            h = probe.tap_activation(&name, phi, &z, &output)?;
            if self.plant == Plant::NanBackward(layer) {
                // √0 is 0 forward, and its slope is infinite.
                let zeros = h.zeros_like()?;
                h = (&h + (&h * &zeros)?.sqrt()? * &zeros)?;
            }
        }
        Ok(h)
    }

    /// The reports on a forward and a backward pass and the input, with or without statistics of units and
    /// the layers' laws.
    pub(crate) fn reports(&self, units: bool, laws: bool) -> Result<(Vec<LayerReport>, Tensor)> {
        let vars = self.vars()?;
        let input = self.normal("input", (SAMPLES, self.widths[0]), 1.0)?;
        let probe = if units { Probe::new().with_units() } else { Probe::new() };
        let output = self.forward(&vars, &input, &probe)?;
        candle_nn::loss::mse(&output, &self.normal("target", output.dims2()?, 1.0)?)?.backward()?;
        let report = |(layer, record)| {
            let report = LayerReport::of(record);
            if laws { report.with_law(self.law(layer)) } else { report }
        };
        Ok((probe.records().iter().enumerate().map(report).collect(), input))
    }

    /// Wick's verdicts on one training step, and those of each baseline.
    pub(crate) fn verdicts(&self, loss_scale: f64) -> Result<[Vec<Verdict>; 4]> {
        let vars = self.vars()?;
        let input = self.normal("input", (SAMPLES, self.widths[0]), 1.0)?;
        let probe = Probe::new().with_units();
        let output = self.forward(&vars, &input, &probe)?;
        let loss = if self.cross_entropy {
            let classes: Vec<u32> = (0..SAMPLES as u32).map(|i| i * 7 % 10).collect();
            candle_nn::loss::cross_entropy(&output, &Tensor::from_vec(classes, SAMPLES, &CPU)?)?
        } else {
            candle_nn::loss::mse(&output, &self.normal("target", (SAMPLES, 10), 1.0)?)?
        };
        let gradients = (loss * loss_scale)?.backward()?;
        let parameter_gradients = ParameterGradient::of(&vars, &gradients)?;
        let before = Parameters::of(&vars)?;
        let rate = if let Plant::LearningRate(by) = self.plant { 1e-3 * by } else { 1e-3 };
        // The steps have one length, as Adam's first steps do, but without its ε, which is an absolute
        // threshold.
        for ((_, var), gradient) in vars.iter().zip(&parameter_gradients) {
            let rms = gradient.norm / (var.elem_count() as f64).sqrt();
            var.set(&(var.as_tensor() - (gradients.get(var).unwrap() * (rate / rms))?)?)?;
        }
        let updates = before.updates(&vars)?;

        let reports: Vec<LayerReport> = probe
            .records()
            .iter()
            .enumerate()
            .map(|(layer, record)| LayerReport::of(record).with_law(self.law(layer)))
            .collect();
        let mut ours = judge(&reports, &Units::of(&input)?.unwrap().batch);
        ours.extend(judge_updates(&updates));
        let [a, b, c] =
            Baseline::ALL.map(|baseline| baseline.judge(&reports, &parameter_gradients, &updates));
        Ok([ours, a, b, c])
    }

    /// The verdicts' faults that are right, and the layer that they should name.
    pub(crate) fn label(&self) -> (&'static [Fault], Option<String>) {
        use Fault::*;
        match self.plant {
            Plant::Nothing => (&[], None),
            Plant::HalfAgain(at) | Plant::WrongFan(at) | Plant::NoActivation(at) => {
                (&[OutsideBand], Some(Self::name(at)))
            }
            Plant::Tied(at) => (&[SymmetricUnits], Some(Self::name(at))),
            Plant::Dead(at) => (&[DeadUnits], Some(Self::name(at))),
            Plant::NanForward(at) | Plant::NanBackward(at) => (&[NonFinite], Some(Self::name(at))),
            Plant::LearningRate(_) => (&[UpdateRatio], None),
            Plant::Scale(by) if by < 1.0 => (&[OutsideBand, DiesOut, VanishingGradient], None),
            Plant::Scale(_) => (&[OutsideBand, Saturated, BlowsUp, ExplodingGradient], None),
        }
    }
}
