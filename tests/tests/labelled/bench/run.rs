//! A case is trained as its state says, and looked at.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use wick_kernels::{ParamsSgd, Sgd};
use wick_probe::{
    Baseline, Diagnosis, ParameterGradient, Parameters, Probe, Trace, Units, Verdict, judge, judge_updates,
};

use super::advice::{After, Changes};
use super::case::{Case, Fault, Kind, Setting, State};
use super::data::{Data, images, one_output};
use super::nets::Net;

/// The ways to judge a case: `judge`, `judge_updates` behind it, and `Diagnosis`, which has `judge_loss` and `judge_drift`
/// too; the rules of other tools.
pub(crate) const WAYS: [&str; 6] = [
    "`judge`",
    "and `judge_updates`",
    "`Diagnosis`: all four",
    "SageMaker Debugger",
    "AutoTrainer",
    "DeepChecker",
];

/// The way that the README shows.
pub(crate) const ALL: usize = 2;

/// The verdicts of each way.
pub(crate) type Said = [Vec<Verdict>; 6];

/// What became of a case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) said: Said,
    /// The looks in mid-training.
    pub(crate) looks: Vec<Said>,
    /// What became of the net by what was advised.
    pub(crate) advice: Option<(&'static str, After)>,
    /// The accuracy, or R², after training.
    pub(crate) score: f64,
    /// The mean loss of training.
    pub(crate) loss: f64,
}

pub(crate) const STEPS: usize = 160;

/// The steps of a spike of the learning rate.
pub(crate) const SPIKE: std::ops::Range<usize> = 60..63;

/// Looks in mid-training are at these steps.
const LOOKS: [usize; 2] = [30, 90];

pub(crate) fn data(setting: &Setting) -> Result<Data> {
    let mut data = match setting.kind {
        Kind::OneOutput => one_output(setting.seed, setting.mean)?,
        _ => images(setting.pixels)?,
    };
    if setting.fault == Fault::Shuffled {
        let n = data.ys.dim(0)? as u32;
        let rows: Vec<u32> = (0..n).map(|row| (row * 769 + 331) % n).collect();
        data.ys = data.ys.index_select(&Tensor::from_vec(rows, n as usize, &Device::Cpu)?, 0)?;
    }
    if let Fault::Shift(by) = setting.fault {
        let centred = data.xs.broadcast_sub(&data.xs.mean_keepdim(0)?)?;
        let deviation = centred.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt();
        let by = by * f64::from(deviation);
        (data.xs, data.test_xs) = ((&data.xs + by)?, (&data.test_xs + by)?);
    }
    Ok(data)
}

fn is_autoencoder(kind: Kind) -> bool {
    matches!(kind, Kind::Autoencoder | Kind::SharedWeights)
}

fn targets(setting: &Setting, xs: &Tensor, ys: &Tensor) -> Tensor {
    if is_autoencoder(setting.kind) { xs.clone() } else { ys.clone() }
}

fn loss(setting: &Setting, output: &Tensor, target: &Tensor) -> Result<Tensor> {
    match setting.kind {
        Kind::Autoencoder | Kind::SharedWeights | Kind::OneOutput => candle_nn::loss::mse(output, target),
        _ if setting.fault == Fault::SoftmaxTwice => {
            candle_nn::loss::cross_entropy(&candle_nn::ops::softmax(output, D::Minus1)?, target)
        }
        _ => candle_nn::loss::cross_entropy(output, target),
    }
}

/// The accuracy, or the fraction of the variance that is explained.
pub(crate) fn score(net: &Net, data: &Data) -> Result<f64> {
    let silent = Probe::new();
    let step = net.step.replace(None);
    let output = net.forward(&data.test_xs, &silent)?;
    net.step.set(step);
    let target = targets(&net.setting, &data.test_xs, &data.test_ys);
    let number = |xs: Tensor| xs.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>();
    match net.setting.kind {
        Kind::Autoencoder | Kind::SharedWeights | Kind::OneOutput => {
            let rest = number((&output - &target)?.sqr()?)?;
            let all = number(target.broadcast_sub(&target.mean_keepdim(0)?)?.sqr()?)?;
            Ok(1.0 - rest / all)
        }
        _ => number(output.argmax(D::Minus1)?.eq(&target)?),
    }
}

enum AnyOptimizer {
    Adam(AdamW),
    Sgd(Sgd),
}

pub(crate) struct Training<'a> {
    net: &'a Net,
    data: &'a Data,
    changes: &'a Changes,
    /// The parameters at the start.
    first: Parameters,
    optimizer: Option<AnyOptimizer>,
    step: usize,
    pub(crate) losses: Vec<f64>,
    /// What a trace says of what the loss does not reach.
    unreached: Option<Verdict>,
}

impl<'a> Training<'a> {
    pub(crate) fn new(net: &'a Net, data: &'a Data, changes: &'a Changes) -> Result<Self> {
        let first = Parameters::of(&net.vars())?;
        Ok(Self { net, data, changes, first, optimizer: None, step: 0, losses: Vec::new(), unreached: None })
    }

    /// The learning rate and the weight decay, with their fault and what advice changes.
    fn parameters(&self) -> (f64, f64) {
        let usual = match self.net.setting.kind {
            Kind::Recurrent => 5e-3,
            Kind::Momentum => 0.05,
            _ => 3e-3,
        };
        let (lr, weight_decay) = match self.net.setting.fault {
            Fault::RateHigh => (1.0, 0.0),
            Fault::RateLow => (1e-8, 0.0),
            Fault::SgdHigh => (5.0, 0.0),
            Fault::Decay => (usual, 100.0),
            Fault::Decay20 => (usual, 20.0),
            _ => (usual, 0.0),
        };
        (lr * self.changes.rate, weight_decay * self.changes.decay)
    }

    fn optimizer(&self) -> Result<AnyOptimizer> {
        let frozen = format!("{}.weight", self.net.setting.layer);
        let is_frozen = |name: &String| self.net.setting.fault == Fault::Frozen && *name == frozen;
        let vars: Vec<Var> =
            self.net.vars().into_iter().filter(|(name, _)| !is_frozen(name)).map(|(_, var)| var).collect();
        let (lr, weight_decay) = self.parameters();
        let momentum = if self.net.setting.kind == Kind::Momentum { 0.9 } else { 0.0 };
        if momentum > 0.0 || self.net.setting.fault == Fault::SgdHigh {
            let params = ParamsSgd { lr, momentum, ..ParamsSgd::default() };
            return Ok(AnyOptimizer::Sgd(Sgd::new(vars, params)?));
        }
        let params = ParamsAdamW { lr, weight_decay, ..ParamsAdamW::default() };
        Ok(AnyOptimizer::Adam(AdamW::new(vars, params)?))
    }

    /// The optimizer's step, with a spike of its learning rate.
    fn update(&mut self, gradients: &GradStore) -> Result<()> {
        if self.optimizer.is_none() {
            self.optimizer = Some(self.optimizer()?);
        }
        let (mut lr, _) = self.parameters();
        if self.net.setting.fault == Fault::Spike && SPIKE.contains(&self.step) {
            lr = self.changes.rate;
        }
        match &mut self.optimizer {
            Some(AnyOptimizer::Adam(adam)) => {
                adam.set_learning_rate(lr);
                adam.step(gradients)
            }
            Some(AnyOptimizer::Sgd(sgd)) => sgd.step(gradients),
            None => Ok(()),
        }
    }

    fn batch(&self) -> Result<(Tensor, Tensor)> {
        let (n, batch) = (self.data.xs.dim(0)?, self.net.setting.batch);
        let rows: Vec<u32> = (0..batch).map(|i| ((self.step * batch + i) * 601 % n) as u32).collect();
        let rows = Tensor::from_vec(rows, batch, &Device::Cpu)?;
        let (xs, ys) = (self.data.xs.index_select(&rows, 0)?, self.data.ys.index_select(&rows, 0)?);
        Ok((xs.clone(), targets(&self.net.setting, &xs, &ys)))
    }

    /// One step, seen by the probe.
    pub(crate) fn step(&mut self, probe: &Probe) -> Result<(Tensor, Vec<ParameterGradient>)> {
        let (xs, gradients) = self.passes(probe)?;
        let of_parameters = match probe.is_recording() {
            true => ParameterGradient::of(&self.net.vars(), &gradients)?,
            false => Vec::new(),
        };
        self.finish(&gradients)?;
        Ok((xs, of_parameters))
    }

    /// The forward and the backward pass of a step: the input and the gradients.
    pub(crate) fn passes(&mut self, probe: &Probe) -> Result<(Tensor, GradStore)> {
        let (xs, ys) = self.batch()?;
        self.net.step.set(Some(self.step));
        // Without taps: the graph behind the loss has the layers.
        let by_trace = probe.is_recording() && std::env::var_os("WICK_BENCH_TRACE").is_some();
        let taps = if by_trace { &silent() } else { probe };
        let loss = loss(&self.net.setting, &self.net.forward(&xs, taps)?, &ys)?;
        self.losses.push(f64::from(loss.to_scalar::<f32>()?));
        let gradients = loss.backward()?;
        if by_trace {
            let mut trace = Trace::of(None, &loss, &self.net.vars())?;
            trace.add_gradients(&gradients, &self.net.inputs(&xs)?.iter().collect::<Vec<_>>())?;
            trace.record(probe)?;
            self.unreached = trace.reach().verdict();
        }
        Ok((xs, gradients))
    }

    /// The end of a step: the update.
    pub(crate) fn finish(&mut self, gradients: &GradStore) -> Result<()> {
        self.update(gradients)?;
        self.step += 1;
        Ok(())
    }

    /// A step with a look at it.
    fn look(&mut self, probe: &Probe) -> Result<Said> {
        // The first pass makes the variables.
        let before = Parameters::of(&self.net.vars())?;
        let (xs, gradients) = self.step(probe)?;
        let updates = before.updates(&self.net.vars())?;
        let xs = (xs * self.net.input_factor())?;
        let reports = probe.layer_reports();
        let input = Units::of(&xs)?.unwrap().batch;
        let mut judged = judge(&reports, &input);
        let since_start = self.first.updates(&self.net.vars())?;
        let mut all = Diagnosis::of(&reports, &input, &updates, &since_start, &self.losses).verdicts;
        if let Some(unreached) = self.unreached.take() {
            judged.push(unreached.clone());
            all.push(unreached);
        }
        probe.next_step();
        let with_updates: Vec<Verdict> = judged.iter().cloned().chain(judge_updates(&updates)).collect();
        let [a, b, c] = Baseline::ALL.map(|baseline| baseline.judge(&reports, &gradients, &updates));
        Ok([judged, with_updates, all, a, b, c])
    }
}

/// A probe that records nothing.
pub(crate) fn silent() -> Probe {
    let silent = Probe::new().every(u64::MAX);
    silent.next_step();
    silent
}

/// The net of a case with changes, and its data.
pub(crate) fn start(case: &Case, changes: &Changes) -> Result<(Net, Data)> {
    let mut data = data(&case.setting)?;
    if changes.standardizes {
        let (mean, xs) = (data.xs.mean_keepdim(0)?, data.xs.clone());
        let std = (xs.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?.sqrt()? + 1e-6)?;
        data.xs = xs.broadcast_sub(&mean)?.broadcast_div(&std)?;
        data.test_xs = data.test_xs.broadcast_sub(&mean)?.broadcast_div(&std)?;
    }
    let net = changes.net(&case.setting, &data)?;
    Ok((net, data))
}

/// Trains and looks.
pub(crate) fn run(case: &Case, to_the_end: bool, changes: &Changes) -> Result<Found> {
    let setting = &case.setting;
    let (net, data) = start(case, changes)?;
    let mut training = Training::new(&net, &data, changes)?;
    let mut probe = Probe::new().with_units();
    if setting.told && case.state == State::Start {
        probe = net.laws(64).into_iter().fold(probe, |probe, (name, law)| probe.with_law(name, law));
    }
    let is_start = case.state == State::Start;
    let mut found = Found::default();
    if is_start {
        found.said = training.look(&probe)?;
    }
    // In the steps between, nothing is recorded.
    let silent = silent();
    if !is_start || to_the_end {
        while training.step < STEPS {
            if LOOKS.contains(&training.step) && !is_start {
                found.looks.push(training.look(&probe)?);
            } else {
                training.step(&silent)?;
            }
        }
    }
    if !is_start {
        found.said = training.look(&probe)?;
    }
    found.loss = training.losses.iter().sum::<f64>() / training.losses.len() as f64;
    found.score = score(&net, &data)?;
    Ok(found)
}
