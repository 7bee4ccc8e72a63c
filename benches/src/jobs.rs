//! The jobs of the benchmark. The program reads a job from stdin, line by line, runs it once, and answers
//! with its milliseconds on stdout; `benches/run.py` drives this program and the peers in turn. `list` names
//! the jobs, `simd` the level; `peak` and `sweep` answer with the machine's GFLOP/s and GB/s, `memory` and `memory_peak` with
//! the process's MB, now and at most.

use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var, bail};
use candle_nn::{Module, Optimizer};
use wick_kernels::{ParamsSgd, SimdLevel, dot};
use wick_layers as layers;
use wick_model::{Activation, Mlp, MlpConfig, activate};
use wick_probe::Probe;

mod attention;
mod epochs;
#[path = "../../crates/wick/examples/gpt/mod.rs"]
mod gpt;
mod images;
mod net;
mod norms;
mod serve;
mod step;
mod stock_gpt;

use attention::Attention;
use epochs::Epochs;
use images::Images;
use net::{Net, SAMPLES, adamw_params, milliseconds, mlp, normal};
use step::Steps;

const JOBS: [&str; 22] = [
    "product",
    "tanh",
    "forward",
    "forward_statistics",
    "training",
    "training_statistics",
    "training_adamw",
    "adamw",
    "sgd",
    "batch_1",
    "batch_32",
    "candle_forward",
    "candle_training",
    "candle_training_adamw",
    "candle_training_probed",
    "candle_training_probed_closely",
    "candle_tanh",
    "candle_product",
    "candle_adamw",
    "candle_sgd",
    "deep",
    "wide",
];

/// The nets, the optimizers and the other tensors of the jobs.
struct Bench {
    net: Net,
    vars: Vec<Var>,
    adamw: wick_kernels::AdamW,
    candle_adamw: candle_nn::AdamW,
    sgd: wick_kernels::Sgd,
    candle_sgd: candle_nn::SGD,
    /// The input of `tanh`.
    pre_activation: Tensor,
    /// The gradients of one backward pass, for the optimizers' own jobs.
    gradients: Option<GradStore>,
    /// A net ten times as deep, and its input.
    deep: Option<(Mlp, Tensor)>,
    /// A net ten times as wide, and its input.
    wide: Option<(Mlp, Tensor)>,
    /// The training steps that have been asked for.
    steps: Vec<Steps>,
    epochs: Option<Epochs>,
    norms: Vec<norms::Job>,
    attention: Option<Attention>,
    images: Images,
}

/// A hundred layers.
fn deep() -> Result<(Mlp, Tensor)> {
    let config = MlpConfig::new(500, [500; 100], Activation::Tanh);
    Ok((mlp(&config, &Device::Cpu)?.0, normal("deep", (2000, 500), &Device::Cpu)?))
}

/// Two layers, ten times as wide as the first two.
fn wide() -> Result<(Mlp, Tensor)> {
    let config = MlpConfig::new(8000, [7500, 7000], Activation::Tanh);
    Ok((mlp(&config, &Device::Cpu)?.0, normal("wider", (500, 8000), &Device::Cpu)?))
}

/// The process's memory in MB: `VmRSS` now, or `VmHWM` at most.
fn memory(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix(field)?.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()
    });
    kilobytes.map_or_else(|| bail!("no {field} in /proc/self/status"), |kilobytes| Ok(kilobytes / 1e3))
}

impl Bench {
    fn new() -> Result<Self> {
        let net = Net::new(SAMPLES, &Device::Cpu)?;
        let vars = net.map.vars();
        Ok(Self {
            adamw: wick_kernels::AdamW::new(vars.clone(), adamw_params())?,
            candle_adamw: candle_nn::AdamW::new(vars.clone(), adamw_params())?,
            sgd: wick_kernels::Sgd::new(vars.clone(), ParamsSgd { lr: 1e-9, ..ParamsSgd::default() })?,
            candle_sgd: candle_nn::SGD::new(vars.clone(), 1e-9)?,
            pre_activation: normal("wide", (2000, 750), &Device::Cpu)?,
            net,
            vars,
            gradients: None,
            deep: None,
            wide: None,
            steps: Vec::new(),
            epochs: None,
            norms: Vec::new(),
            attention: None,
            images: Images::default(),
        })
    }

    /// The forward pass by candle's own ops.
    fn stock(&self, xs: &Tensor) -> Result<Tensor> {
        self.net.mlp.layers().try_fold(xs.clone(), |h, layer| layer.forward(&h)?.tanh())
    }

    /// A forward and a backward pass by candle's own ops, with a tap behind each layer.
    fn probed(&self, probe: &Probe) -> Result<()> {
        let output =
            self.net.mlp.layers().enumerate().try_fold(self.net.input.clone(), |h, (layer, linear)| {
                probe.tap(&format!("layer_{layer}"), &linear.forward(&h)?.tanh()?)
            })?;
        self.loss(&output)?.backward().map(drop)
    }

    /// The loss by candle's own ops.
    fn loss(&self, output: &Tensor) -> Result<Tensor> {
        (output * &self.net.cotangent)?.sum_all()
    }

    fn gradients(&self, probe: &Probe, observed: bool) -> Result<GradStore> {
        let tape = self.net.mlp.tape(&self.net.input, |layer| observed.then(|| probe.observer(layer)))?;
        tape.backward(&dot(tape.output(), &self.net.cotangent)?)
    }

    /// Creates what a job needs, outside of its time.
    fn prepare(&mut self, job: &str) -> Result<()> {
        match job {
            "adamw" | "sgd" | "candle_adamw" | "candle_sgd" if self.gradients.is_none() => {
                self.gradients = Some(self.gradients(&Probe::new(), false)?);
            }
            "deep" if self.deep.is_none() => self.deep = Some(deep()?),
            "wide" if self.wide.is_none() => self.wide = Some(wide()?),
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self, job: &str) -> Result<()> {
        let first = self.vars[0].as_tensor();
        match job {
            "product" => drop(wick_kernels::dense(&self.net.input, first, None, Activation::Identity, None)?),
            "tanh" => drop(activate(Activation::Tanh, &self.pre_activation)?),
            "forward" => drop(self.net.mlp.forward(&self.net.input)?),
            "forward_statistics" => {
                let probe = Probe::new();
                drop(self.net.mlp.forward_observed(&self.net.input, |layer| Some(probe.observer(layer)))?);
            }
            "training" => drop(self.gradients(&Probe::new(), false)?),
            "training_statistics" => {
                let probe = Probe::new();
                drop(self.gradients(&probe, true)?);
            }
            "training_adamw" => {
                let gradients = self.gradients(&Probe::new(), false)?;
                self.adamw.step(&gradients)?;
            }
            "adamw" => self.gradients.iter().try_for_each(|gradients| self.adamw.step(gradients))?,
            "sgd" => self.gradients.iter().try_for_each(|gradients| self.sgd.step(gradients))?,
            "candle_adamw" => {
                self.gradients.iter().try_for_each(|gradients| self.candle_adamw.step(gradients))?;
            }
            "candle_sgd" => {
                self.gradients.iter().try_for_each(|gradients| self.candle_sgd.step(gradients))?;
            }
            "deep" => self.deep.iter().try_for_each(|(mlp, xs)| mlp.forward(xs).map(drop))?,
            "wide" => self.wide.iter().try_for_each(|(mlp, xs)| mlp.forward(xs).map(drop))?,
            "batch_1" => drop(self.net.mlp.forward(&self.net.input.narrow(0, 0, 1)?)?),
            "batch_32" => drop(self.net.mlp.forward(&self.net.input.narrow(0, 0, 32)?)?),
            "candle_forward" => drop(self.stock(&self.net.input)?),
            "candle_training" => drop(self.loss(&self.stock(&self.net.input)?)?.backward()?),
            "candle_training_adamw" => {
                let gradients = self.loss(&self.stock(&self.net.input)?)?.backward()?;
                self.candle_adamw.step(&gradients)?;
            }
            "candle_training_probed" => self.probed(&Probe::new())?,
            "candle_training_probed_closely" => self.probed(&Probe::new().with_units().with_totals())?,
            "candle_tanh" => drop(self.pre_activation.tanh()?),
            "candle_product" => drop(self.net.input.matmul(&first.t()?)?),
            other => bail!("unknown job '{other}'"),
        }
        Ok(())
    }

    /// The milliseconds of one of a job's training steps.
    fn steps(&mut self, job: &str) -> Result<String> {
        if !self.steps.iter().any(|steps| steps.is(job)) {
            let Some(steps) = Steps::named(job)? else { bail!("unknown job '{job}'") };
            self.steps.push(steps);
        }
        let Some(steps) = self.steps.iter_mut().find(|steps| steps.is(job)) else {
            bail!("unknown job '{job}'")
        };
        let start = Instant::now();
        steps.run(job)?;
        Ok((start.elapsed().as_secs_f64() * 1e3 / steps.count() as f64).to_string())
    }

    fn answer(&mut self, line: &str) -> Result<String> {
        Ok(match line {
            "list" => {
                let epochs = epochs::NAMES.map(str::to_owned);
                JOBS.map(str::to_owned)
                    .into_iter()
                    .chain(step::names())
                    .chain(norms::names())
                    .chain(epochs)
                    .chain(attention::NAMES.map(str::to_owned))
                    .chain(images::names())
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            "simd" => SimdLevel::best().to_string(),
            "peak" => wick_bins::peak::flops(SimdLevel::best()).to_string(),
            "sweep" => wick_bins::peak::bandwidth(&vec![1.0; 64 << 20]).to_string(),
            "memory" => memory("VmRSS")?.to_string(),
            "memory_peak" => memory("VmHWM")?.to_string(),
            job if attention::NAMES.contains(&job) => {
                let made = self.attention.take().map_or_else(Attention::new, Ok)?;
                self.attention.insert(made).run(job)?.to_string()
            }
            job if images::names().any(|name| name == job) => self.images.run(job)?.to_string(),
            job if job.contains("step_") => self.steps(job)?,
            job if norms::names().any(|name| name == job) => {
                if !self.norms.iter().any(|known| known.is(job)) {
                    self.norms.extend(norms::Job::named(job)?);
                }
                let Some(job) = self.norms.iter().find(|known| known.is(job)) else {
                    bail!("unknown job '{job}'")
                };
                job.run()?.to_string()
            }
            job if epochs::NAMES.contains(&job) => {
                let made = self.epochs.take().map_or_else(Epochs::new, Ok)?;
                self.epochs.insert(made).run(job)?.to_string()
            }
            job => {
                self.prepare(job)?;
                milliseconds(|| self.run(job))?
            }
        })
    }
}

fn main() -> Result<()> {
    wick_kernels::limit_idle_spinning();
    wick_kernels::retain_freed_memory();
    let mut bench = Bench::new()?;
    serve::serve(|line| bench.answer(line))
}
