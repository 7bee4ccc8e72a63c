//! A case is trained as its state says, and looked at.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use wick_probe::{Parameters, Probe, Units, Verdict, judge, judge_updates};

use super::case::{Case, Fault, Kind, Setting, State};
use super::data::{Data, images, one_output};
use super::nets::Net;

/// What became of a case.
#[derive(Debug)]
pub(crate) struct Found {
    /// The verdicts of `judge`, and with those of `judge_updates`.
    pub(crate) judged: Vec<Verdict>,
    pub(crate) all: Vec<Verdict>,
    /// The looks in mid-training, and those with a verdict.
    pub(crate) looks: (u32, u32),
    /// The accuracy, or R², after training.
    pub(crate) score: f64,
    /// The mean loss of training.
    pub(crate) loss: f64,
}

const STEPS: usize = 160;

/// Looks in mid-training are at these steps.
const LOOKS: [usize; 2] = [30, 90];

pub(crate) fn data(setting: &Setting) -> Result<Data> {
    if setting.kind == Kind::OneOutput {
        one_output(setting.seed, setting.mean)
    } else {
        images(setting.pixels)
    }
}

fn targets(setting: &Setting, xs: &Tensor, ys: &Tensor) -> Tensor {
    if setting.kind == Kind::Autoencoder { xs.clone() } else { ys.clone() }
}

fn loss(setting: &Setting, output: &Tensor, target: &Tensor) -> Result<Tensor> {
    match setting.kind {
        Kind::Autoencoder | Kind::OneOutput => candle_nn::loss::mse(output, target),
        _ => candle_nn::loss::cross_entropy(output, target),
    }
}

/// The accuracy, or the fraction of the variance that is explained.
fn score(net: &Net, data: &Data) -> Result<f64> {
    let silent = Probe::new();
    let output = net.forward(&data.test_xs, &silent)?;
    let target = targets(&net.setting, &data.test_xs, &data.test_ys);
    let number = |xs: Tensor| xs.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>();
    match net.setting.kind {
        Kind::Autoencoder | Kind::OneOutput => {
            let rest = number((&output - &target)?.sqr()?)?;
            let all = number(target.broadcast_sub(&target.mean_keepdim(0)?)?.sqr()?)?;
            Ok(1.0 - rest / all)
        }
        _ => number(output.argmax(D::Minus1)?.eq(&target)?),
    }
}

pub(crate) struct Training<'a> {
    net: &'a Net,
    data: &'a Data,
    optimizer: Option<AdamW>,
    step: usize,
    losses: Vec<f64>,
}

impl<'a> Training<'a> {
    pub(crate) fn new(net: &'a Net, data: &'a Data) -> Self {
        Self { net, data, optimizer: None, step: 0, losses: Vec::new() }
    }

    /// The learning rate and the weight decay, with their fault.
    fn parameters(&self) -> ParamsAdamW {
        let usual = if self.net.setting.kind == Kind::Recurrent { 5e-3 } else { 3e-3 };
        let (lr, weight_decay) = match self.net.setting.fault {
            Fault::RateHigh => (1.0, 0.0),
            Fault::RateLow => (1e-8, 0.0),
            Fault::Decay => (usual, 100.0),
            _ => (usual, 0.0),
        };
        ParamsAdamW { lr, weight_decay, ..ParamsAdamW::default() }
    }

    fn batch(&self) -> Result<(Tensor, Tensor)> {
        let (n, batch) = (self.data.xs.dim(0)?, self.net.setting.batch);
        let rows: Vec<u32> = (0..batch).map(|i| ((self.step * batch + i) * 601 % n) as u32).collect();
        let rows = Tensor::from_vec(rows, batch, &Device::Cpu)?;
        let (xs, ys) = (self.data.xs.index_select(&rows, 0)?, self.data.ys.index_select(&rows, 0)?);
        Ok((xs.clone(), targets(&self.net.setting, &xs, &ys)))
    }

    /// One step, seen by the probe.
    pub(crate) fn step(&mut self, probe: &Probe) -> Result<Tensor> {
        let (xs, ys) = self.batch()?;
        let loss = loss(&self.net.setting, &self.net.forward(&xs, probe)?, &ys)?;
        self.losses.push(f64::from(loss.to_scalar::<f32>()?));
        let gradients = loss.backward()?;
        if self.optimizer.is_none() {
            let frozen = format!("{}.weight", self.net.setting.layer);
            let is_frozen = |name: &String| self.net.setting.fault == Fault::Frozen && *name == frozen;
            let vars: Vec<Var> = self
                .net
                .vars()
                .into_iter()
                .filter(|(name, _)| !is_frozen(name))
                .map(|(_, var)| var)
                .collect();
            self.optimizer = Some(AdamW::new(vars, self.parameters())?);
        }
        self.optimizer.as_mut().unwrap().step(&gradients)?;
        self.step += 1;
        Ok(xs)
    }

    /// A step with a look at it: the verdicts of `judge`, and those of `judge_updates` behind them.
    fn look(&mut self, probe: &Probe) -> Result<(Vec<Verdict>, Vec<Verdict>)> {
        // The first pass makes the variables.
        let before = Parameters::of(&self.net.vars())?;
        let xs = self.step(probe)?;
        let updates = before.updates(&self.net.vars())?;
        let xs = if self.net.setting.fault == Fault::Input { (xs * 1000.0)? } else { xs };
        let judged = judge(&probe.layer_reports(), &Units::of(&xs)?.unwrap().batch);
        probe.next_step();
        let all = judged.iter().cloned().chain(judge_updates(&updates)).collect();
        Ok((judged, all))
    }
}

/// Trains and looks.
pub(crate) fn run(case: &Case, to_the_end: bool) -> Result<Found> {
    let setting = &case.setting;
    let data = data(setting)?;
    let net = Net::new(setting.clone());
    net.forward(&data.xs.narrow(0, 0, 2)?, &Probe::new())?;
    let mut training = Training::new(&net, &data);
    let mut probe = Probe::new().with_units();
    if setting.told && case.state == State::Start {
        probe = net.laws(64).into_iter().fold(probe, |probe, (name, law)| probe.with_law(name, law));
    }
    let is_start = case.state == State::Start;
    let mut found = (Vec::new(), Vec::new());
    if is_start {
        found = training.look(&probe)?;
    }
    let mut looks = (0, 0);
    // In the steps between, nothing is recorded.
    let silent = Probe::new().every(u64::MAX);
    silent.next_step();
    if !is_start || to_the_end {
        while training.step < STEPS {
            if LOOKS.contains(&training.step) && !is_start {
                let (_, all) = training.look(&probe)?;
                looks = (looks.0 + 1, looks.1 + u32::from(!all.is_empty()));
            } else {
                training.step(&silent)?;
            }
        }
    }
    if !is_start {
        found = training.look(&probe)?;
    }
    let (judged, all) = found;
    let loss = training.losses.iter().sum::<f64>() / training.losses.len() as f64;
    Ok(Found { judged, all, looks, score: score(&net, &data)?, loss })
}
