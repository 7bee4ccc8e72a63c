//! The jobs of the benchmark on a GPU. The program reads a job from stdin, line by line, runs it once, and
//! answers with its milliseconds on stdout; the device is synchronized before and after. `benches/gpu.py`
//! drives this program and PyTorch in turn. `list` names the jobs, and `version` answers with the versions of
//! Wick and cuBLAS. An argument divides the large sizes, to try the program on a small device.

use candle_core::{Device, Error, Result, Tensor, bail};
use candle_nn::{Module, Optimizer};
use wick_bins::device::DeviceChoice;
use wick_kernels::{AdamW, CudaGraph, dot, summarize};
use wick_probe::Probe;

mod net;
mod serve;

use net::{Net, SAMPLES, adamw_params, milliseconds, normal};

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
/// The number of elements that `normals` draws.
const DRAWN: usize = 100_000_000;
/// The number of elements of a tensor of 1 GiB.
const LARGE: usize = 1 << 28;

/// A job that is ready to run.
type Ready<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

struct Bench {
    device: Device,
    net: Net,
    divide: usize,
}

impl Bench {
    fn new(device: Device, divide: usize) -> Result<Self> {
        Ok(Self { net: Net::new((SAMPLES / divide).max(1), &device)?, device, divide })
    }

    /// A training step with AdamW.
    fn step(&self) -> Result<impl FnMut() -> Result<Tensor> + '_> {
        let mut adamw = AdamW::new(self.net.map.vars(), adamw_params())?;
        Ok(move || {
            let tape = self.net.mlp.tape(&self.net.input, |_| None)?;
            let loss = dot(tape.output(), &self.net.cotangent)?;
            adamw.step(&tape.backward(&loss)?)?;
            Ok(loss)
        })
    }

    /// Creates what a job needs, outside of its time.
    fn ready(&self, job: &str) -> Result<Ready<'_>> {
        let large = || normal("large", LARGE / self.divide, &self.device);
        Ok(match job {
            "forward" => Box::new(|| self.net.mlp.forward(&self.net.input).map(drop)),
            "forward_statistics" => Box::new(|| {
                let probe = Probe::new();
                self.net.mlp.forward_observed(&self.net.input, |layer| Some(probe.observer(layer))).map(drop)
            }),
            "forward_graph" => {
                let mut forward = CudaGraph::new(&self.device, || self.net.mlp.forward(&self.net.input))?;
                Box::new(move || forward.replay())
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

/// The versions of Wick and of the cuBLAS library that was found.
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
    serve::serve(|line| {
        Ok(match line {
            "list" => JOBS.join(" "),
            "version" => version(&bench.device)?,
            job => {
                if name != job || ready.is_none() {
                    // The memory of the job before is freed first.
                    drop(ready.take());
                    ready = Some(bench.ready(job)?);
                    job.clone_into(&mut name);
                }
                let Some(run) = &mut ready else { bail!("job '{job}' is not ready") };
                bench.device.synchronize()?;
                milliseconds(|| {
                    run()?;
                    bench.device.synchronize()
                })?
            }
        })
    })
}
