//! The jobs of the benchmark on a GPU: reads `JOB` from stdin, line by line, runs it once, and answers with its milliseconds
//! on stdout, the device waited for before and after; `benches/gpu.py` drives this and PyTorch in turn. `list` names the jobs,
//! `version` says what this is built with.
//! An argument divides the sizes of the large ones, for a try on a small device.

use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use candle_nn::{Module, Optimizer, ParamsAdamW};
use wick_bins::device::DeviceChoice;
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_kernels::{AdamW, CudaGraph, dot, summarize};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;

const FEATURES: usize = 800;
const WIDTHS: [usize; 10] = [750, 700, 650, 600, 550, 500, 450, 400, 350, 300];
const JOBS: [&str; 8] = [
    "forward",
    "forward_statistics",
    "forward_graph",
    "training",
    "training_graph",
    "normals",
    "statistics",
    "copy",
];
/// Numbers that are drawn, and those of a tensor of 1 GiB.
const DRAWN: usize = 100_000_000;
const LARGE: usize = 1 << 28;

/// A job that has been made ready.
type Ready<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

struct Bench {
    device: Device,
    input: Tensor,
    cotangent: Tensor,
    mlp: Mlp,
    map: InitMap,
    divide: usize,
}

impl Bench {
    fn new(device: Device, divide: usize) -> Result<Self> {
        let map = InitMap::new(42).with_default_init(Initializer::xavier_normal());
        let config = MlpConfig::new(FEATURES, WIDTHS, Activation::Tanh);
        let samples = (2000 / divide).max(1);
        Ok(Self {
            input: normal("input", (samples, FEATURES), &device)?,
            cotangent: normal("cotangent", (samples, 300), &device)?,
            mlp: Mlp::new(&config, map.var_builder(DType::F32, &device))?,
            map,
            device,
            divide,
        })
    }

    /// A training step with AdamW. So small a rate that the net stays the one that it is.
    fn step(&self) -> Result<impl FnMut() -> Result<Tensor> + '_> {
        let mut adamw = AdamW::new(self.map.vars(), ParamsAdamW { lr: 1e-9, ..ParamsAdamW::default() })?;
        Ok(move || {
            let pass = self.mlp.tape(&self.input, |_| None)?;
            let loss = dot(pass.output(), &self.cotangent)?;
            adamw.step(&pass.backward(&loss)?)?;
            Ok(loss)
        })
    }

    fn ready(&self, job: &str) -> Result<Ready<'_>> {
        let large = || normal("large", LARGE / self.divide, &self.device);
        Ok(match job {
            "forward" => Box::new(|| self.mlp.forward(&self.input).map(drop)),
            "forward_statistics" => Box::new(|| {
                let probe = Probe::new();
                self.mlp.forward_observed(&self.input, |layer| Some(probe.observer(layer))).map(drop)
            }),
            "forward_graph" => {
                let mut pass = CudaGraph::new(&self.device, || self.mlp.forward(&self.input))?;
                Box::new(move || pass.replay())
            }
            "training" => {
                let mut step = self.step()?;
                Box::new(move || step().map(drop))
            }
            "training_graph" => {
                let mut step = CudaGraph::new(&self.device, self.step()?)?;
                Box::new(move || step.replay())
            }
            "normals" => Box::new(|| normal("drawn", DRAWN / self.divide, &self.device).map(drop)),
            "statistics" => {
                let xs = large()?;
                Box::new(move || summarize(&xs, Some((-1.0, 1.0)), 30).map(drop))
            }
            "copy" => {
                let xs = large()?;
                Box::new(move || xs.copy().map(drop))
            }
            other => bail!("unknown job '{other}'; known: {}", JOBS.join(" ")),
        })
    }
}

fn normal(name: &str, shape: impl Into<candle_core::Shape>, device: &Device) -> Result<Tensor> {
    Ok(Initializer::normal(1.0).tensor(KeyedV1::new(42).key(name), shape, DType::F32, device)?)
}

/// Wick's version, and that of the cuBLAS that was found.
fn version(device: &Device) -> Result<String> {
    let wick = format!("wick {}", env!("CARGO_PKG_VERSION"));
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::cublas::sys;

        let mut cublas = 0;
        // SAFETY: the handle is that of an open device, and the number is written before it is read.
        unsafe { sys::cublasGetVersion_v2(*device.cublas_handle().handle(), &raw mut cublas) }
            .result()
            .w()?;
        return Ok(format!("{wick} (cuBLAS {}.{}.{})", cublas / 10_000, cublas / 100 % 100, cublas % 100));
    }
    let _ = device;
    Ok(wick)
}

fn main() -> Result<()> {
    let divide = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
    let (device, _) = DeviceChoice::Cuda(0).open().map_err(Error::wrap)?;
    let bench = Bench::new(device, divide)?;
    let (mut name, mut ready): (String, Option<Ready>) = Default::default();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.trim() {
            "" => continue,
            "list" => JOBS.join(" "),
            "version" => version(&bench.device)?,
            job => {
                if name != job || ready.is_none() {
                    // What the job before held goes first.
                    drop(ready.take());
                    ready = Some(bench.ready(job)?);
                    job.clone_into(&mut name);
                }
                let Some(run) = &mut ready else { continue };
                bench.device.synchronize()?;
                let start = Instant::now();
                run()?;
                bench.device.synchronize()?;
                format!("{}", start.elapsed().as_secs_f64() * 1e3)
            }
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
