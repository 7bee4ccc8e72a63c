//! The jobs of the benchmark. Reads `JOB` from stdin, line by line, runs it once, and answers with its milliseconds on
//! stdout; `benches/run.py` drives this and the peers in turn. `list` names the jobs; `peak` and `sweep` answer with the
//! machine's GFLOP/s and GB/s, `memory` and `memory_peak` with the process's MB now and at its largest.

use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var, bail};
use candle_nn::{Module, Optimizer, ParamsAdamW};
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_kernels::{ParamsSgd, dot};
use wick_model::{Activation, Mlp, MlpConfig, activate};
use wick_probe::Probe;

const FEATURES: usize = 800;
const WIDTHS: [usize; 10] = [750, 700, 650, 600, 550, 500, 450, 400, 350, 300];
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

/// The net of the layer-stats job, and what goes through it.
struct Bench {
    input: Tensor,
    cotangent: Tensor,
    mlp: Mlp,
    vars: Vec<Var>,
    ours: wick_kernels::AdamW,
    theirs: candle_nn::AdamW,
    sgd: wick_kernels::Sgd,
    candle_sgd: candle_nn::SGD,
    wide: Tensor,
    /// Of one backward pass, for the optimizers by themselves.
    gradients: Option<GradStore>,
    /// Ten times as deep, and ten times as wide, with its input.
    deep: Option<(Mlp, Tensor)>,
    wider: Option<(Mlp, Tensor)>,
}

/// A hundred layers.
fn deep() -> Result<(Mlp, Tensor)> {
    let config = MlpConfig::new(500, [500; 100], Activation::Tanh);
    Ok((mlp(&config)?, normal("deep", (2000, 500))?))
}

/// Two layers, ten times as wide as the first two.
fn wide() -> Result<(Mlp, Tensor)> {
    let config = MlpConfig::new(8000, [7500, 7000], Activation::Tanh);
    Ok((mlp(&config)?, normal("wider", (500, 8000))?))
}

fn mlp(config: &MlpConfig) -> Result<Mlp> {
    let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
    Mlp::new(config, map.var_builder(DType::F32, &Device::Cpu))
}

/// MB that the process holds: `VmRSS` now, or `VmHWM` at its largest.
fn memory(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|line| {
        line.strip_prefix(field)?.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok()
    });
    kilobytes.map_or_else(|| bail!("no {field} in /proc/self/status"), |kilobytes| Ok(kilobytes / 1e3))
}

fn normal(name: &str, shape: (usize, usize)) -> Result<Tensor> {
    let key = KeyedV1::new(42).key(name);
    Ok(Initializer::normal(1.0).tensor(key, shape, DType::F32, &Device::Cpu)?)
}

impl Bench {
    fn new() -> Result<Self> {
        let config = MlpConfig::new(FEATURES, WIDTHS, Activation::Tanh);
        let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
        let mlp = Mlp::new(&config, map.var_builder(DType::F32, &Device::Cpu))?;
        // So small a rate that the net stays the one that it is.
        let params = ParamsAdamW { lr: 1e-9, ..ParamsAdamW::default() };
        Ok(Self {
            input: normal("input", (2000, FEATURES))?,
            cotangent: normal("cotangent", (2000, 300))?,
            mlp,
            vars: map.vars(),
            ours: wick_kernels::AdamW::new(map.vars(), params.clone())?,
            theirs: candle_nn::AdamW::new(map.vars(), params)?,
            sgd: wick_kernels::Sgd::new(map.vars(), ParamsSgd { lr: 1e-9, ..ParamsSgd::default() })?,
            candle_sgd: candle_nn::SGD::new(map.vars(), 1e-9)?,
            wide: normal("wide", (2000, 750))?,
            gradients: None,
            deep: None,
            wider: None,
        })
    }

    /// The net of candle's own ops.
    fn stock(&self, xs: &Tensor) -> Result<Tensor> {
        self.mlp.layers().try_fold(xs.clone(), |h, layer| layer.forward(&h)?.tanh())
    }

    /// The same with a tap behind each layer, forward and backward.
    fn probed(&self, probe: &Probe) -> Result<()> {
        let output = self.mlp.layers().enumerate().try_fold(self.input.clone(), |h, (layer, linear)| {
            probe.tap(&format!("layer_{layer}"), &linear.forward(&h)?.tanh()?)
        })?;
        self.loss(&output)?.backward().map(drop)
    }

    /// The loss of candle's own ops.
    fn loss(&self, output: &Tensor) -> Result<Tensor> {
        (output * &self.cotangent)?.sum_all()
    }

    fn gradients(&self, probe: &Probe, heard: bool) -> Result<GradStore> {
        let pass = self.mlp.tape(&self.input, |layer| heard.then(|| probe.observer(layer)))?;
        pass.backward(&dot(pass.output(), &self.cotangent)?)
    }

    /// Makes what a job needs, before its time runs.
    fn prepare(&mut self, job: &str) -> Result<()> {
        match job {
            "adamw" | "sgd" | "candle_adamw" | "candle_sgd" if self.gradients.is_none() => {
                self.gradients = Some(self.gradients(&Probe::new(), false)?);
            }
            "deep" if self.deep.is_none() => self.deep = Some(deep()?),
            "wide" if self.wider.is_none() => self.wider = Some(wide()?),
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self, job: &str) -> Result<()> {
        let first = self.vars[0].as_tensor();
        match job {
            "product" => drop(wick_kernels::dense(&self.input, first, None, Activation::Identity, None)?),
            "tanh" => drop(activate(Activation::Tanh, &self.wide)?),
            "forward" => drop(self.mlp.forward(&self.input)?),
            "forward_statistics" => {
                let probe = Probe::new();
                drop(self.mlp.forward_observed(&self.input, |layer| Some(probe.observer(layer)))?);
            }
            "training" => drop(self.gradients(&Probe::new(), false)?),
            "training_statistics" => {
                let probe = Probe::new();
                drop(self.gradients(&probe, true)?);
            }
            "training_adamw" => {
                let gradients = self.gradients(&Probe::new(), false)?;
                self.ours.step(&gradients)?;
            }
            "adamw" => self.gradients.iter().try_for_each(|gradients| self.ours.step(gradients))?,
            "sgd" => self.gradients.iter().try_for_each(|gradients| self.sgd.step(gradients))?,
            "candle_adamw" => self.gradients.iter().try_for_each(|gradients| self.theirs.step(gradients))?,
            "candle_sgd" => {
                self.gradients.iter().try_for_each(|gradients| self.candle_sgd.step(gradients))?;
            }
            "deep" => self.deep.iter().try_for_each(|(mlp, xs)| mlp.forward(xs).map(drop))?,
            "wide" => self.wider.iter().try_for_each(|(mlp, xs)| mlp.forward(xs).map(drop))?,
            "batch_1" => drop(self.mlp.forward(&self.input.narrow(0, 0, 1)?)?),
            "batch_32" => drop(self.mlp.forward(&self.input.narrow(0, 0, 32)?)?),
            "candle_forward" => drop(self.stock(&self.input)?),
            "candle_training" => drop(self.loss(&self.stock(&self.input)?)?.backward()?),
            "candle_training_adamw" => {
                let gradients = self.loss(&self.stock(&self.input)?)?.backward()?;
                self.theirs.step(&gradients)?;
            }
            "candle_training_probed" => self.probed(&Probe::new())?,
            "candle_training_probed_closely" => self.probed(&Probe::new().with_units().with_totals())?,
            "candle_tanh" => drop(self.wide.tanh()?),
            "candle_product" => drop(self.input.matmul(&first.t()?)?),
            other => bail!("unknown job '{other}'"),
        }
        Ok(())
    }

    fn answer(&mut self, line: &str) -> Result<String> {
        Ok(match line {
            "list" => JOBS.join(" "),
            "peak" => wick_bins::peak::flops().to_string(),
            "sweep" => wick_bins::peak::bandwidth(&vec![1.0; 64 << 20]).to_string(),
            "memory" => memory("VmRSS")?.to_string(),
            "memory_peak" => memory("VmHWM")?.to_string(),
            job => {
                self.prepare(job)?;
                let start = Instant::now();
                self.run(job)?;
                (start.elapsed().as_secs_f64() * 1e3).to_string()
            }
        })
    }
}

fn main() -> Result<()> {
    wick_kernels::retain_freed_memory();
    let mut bench = Bench::new()?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = bench.answer(line?.trim())?;
        writeln!(out, "{answer}").and_then(|()| out.flush())?;
    }
    Ok(())
}
