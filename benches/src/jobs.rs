//! The jobs of the benchmark. Reads `JOB` from stdin, line by line, runs it once, and answers with its milliseconds on
//! stdout; `benches/run.py` drives this and the peers in turn. `list` names the jobs; `peak` and `sweep` answer with the
//! machine's GFLOP/s and GB/s.

mod peak;

use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var, bail};
use candle_nn::{Module, Optimizer, ParamsAdamW};
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_model::{Activation, Mlp, MlpConfig, activate};
use wick_probe::Probe;

const FEATURES: usize = 800;
const WIDTHS: [usize; 10] = [750, 700, 650, 600, 550, 500, 450, 400, 350, 300];
const JOBS: [&str; 14] = [
    "product",
    "tanh",
    "forward",
    "forward_statistics",
    "training",
    "training_statistics",
    "training_adamw",
    "batch_1",
    "batch_32",
    "candle_forward",
    "candle_training",
    "candle_training_adamw",
    "candle_tanh",
    "candle_product",
];

/// The net of the layer-stats job, and what goes through it.
struct Bench {
    input: Tensor,
    cotangent: Tensor,
    mlp: Mlp,
    vars: Vec<Var>,
    ours: wick_kernels::AdamW,
    theirs: candle_nn::AdamW,
    wide: Tensor,
    buffer: Vec<f32>,
}

fn normal(name: &str, shape: (usize, usize)) -> Result<Tensor> {
    let key = KeyedV1::new(42).key(name);
    Ok(Initializer::normal(1.0).tensor(key, shape, DType::F32, &Device::Cpu)?)
}

impl Bench {
    fn new() -> Result<Self> {
        let config = MlpConfig::new(FEATURES, WIDTHS, Activation::Tanh);
        let map = InitMap::new(42).with_weights(Initializer::xavier_normal());
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
            wide: normal("wide", (2000, 750))?,
            buffer: vec![1.0; 64 << 20],
        })
    }

    /// The net of candle's own ops.
    fn stock(&self, xs: &Tensor) -> Result<Tensor> {
        self.mlp.layers().try_fold(xs.clone(), |h, layer| layer.forward(&h)?.tanh())
    }

    fn loss(&self, output: &Tensor) -> Result<Tensor> {
        (output * &self.cotangent)?.sum_all()
    }

    fn gradients(&self, probe: &Probe, heard: bool) -> Result<GradStore> {
        let pass = self.mlp.pass(&self.input, |layer| heard.then(|| probe.listener(layer)))?;
        let loss = self.loss(pass.output())?;
        pass.backward(&loss)
    }

    fn run(&mut self, job: &str) -> Result<()> {
        let first = self.vars[0].as_tensor();
        match job {
            "product" => drop(wick_kernels::dense(&self.input, first, None, Activation::Identity, None)?),
            "tanh" => drop(activate(Activation::Tanh, &self.wide)?),
            "forward" => drop(self.mlp.forward(&self.input)?),
            "forward_statistics" => {
                let probe = Probe::new();
                drop(self.mlp.forward_heard(&self.input, |layer| Some(probe.listener(layer)))?);
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
            "batch_1" => drop(self.mlp.forward(&self.input.narrow(0, 0, 1)?)?),
            "batch_32" => drop(self.mlp.forward(&self.input.narrow(0, 0, 32)?)?),
            "candle_forward" => drop(self.stock(&self.input)?),
            "candle_training" => drop(self.loss(&self.stock(&self.input)?)?.backward()?),
            "candle_training_adamw" => {
                let gradients = self.loss(&self.stock(&self.input)?)?.backward()?;
                self.theirs.step(&gradients)?;
            }
            "candle_tanh" => drop(self.wide.tanh()?),
            "candle_product" => drop(self.input.matmul(&first.t()?)?),
            other => bail!("unknown job '{other}'"),
        }
        Ok(())
    }

    fn answer(&mut self, line: &str) -> Result<String> {
        Ok(match line {
            "list" => JOBS.join(" "),
            "peak" => peak::flops().to_string(),
            "sweep" => peak::bandwidth(&self.buffer).to_string(),
            job => {
                let start = Instant::now();
                self.run(job)?;
                (start.elapsed().as_secs_f64() * 1e3).to_string()
            }
        })
    }
}

fn main() -> Result<()> {
    wick_kernels::keep_freed_memory();
    let mut bench = Bench::new()?;
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = bench.answer(line?.trim())?;
        writeln!(out, "{answer}").and_then(|()| out.flush())?;
    }
    Ok(())
}
