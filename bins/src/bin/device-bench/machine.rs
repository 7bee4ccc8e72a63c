//! A device and a type, on which jobs are timed and checked against the CPU.

use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Optimizer, ParamsAdamW};
use serde::Serialize;
use wick_bins::data::numbers;
use wick_bins::output::apart;
use wick_init::{InitMap, Initializer, KeyedV1};
use wick_kernels::{AdamW, CudaGraph, dot};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::Probe;

use crate::jobs::{Job, Size};

/// How far a machine's results are from the CPU's.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) on: String,
    pub(crate) weights_equal: bool,
    pub(crate) largest_difference: f64,
    pub(crate) bound: f64,
}

/// A device and a type.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) device: Device,
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) tf32: bool,
    /// Whether training steps are replayed as CUDA graphs.
    pub(crate) graph: bool,
}

impl Machine {
    pub(crate) fn label(&self) -> String {
        let dtype = if self.tf32 { "tf32" } else { self.dtype.as_str() };
        format!("{} {dtype}{}", self.name, if self.graph { " graph" } else { "" })
    }

    /// Whether the machine times the job.
    pub(crate) fn does(&self, job: Job) -> bool {
        !self.graph || job == Job::Training
    }

    fn prepare(&self) {
        candle_core::cuda::set_gemm_reduced_precision_f32(self.tf32);
    }

    fn normal(&self, seed: u64, name: &str, shape: (usize, usize)) -> Result<Tensor> {
        let key = KeyedV1::new(seed).key(name);
        Ok(Initializer::normal(1.0).tensor(key, shape, self.dtype, &self.device)?)
    }

    fn mlp(&self, size: &Size, seed: u64) -> Result<(Mlp, InitMap)> {
        let map = InitMap::new(seed).with_default_init(Initializer::lecun_normal());
        let config = MlpConfig::new(size.width, vec![size.width; size.depth], Activation::Tanh);
        Ok((Mlp::new(&config, map.var_builder(self.dtype, &self.device))?, map))
    }

    /// The median milliseconds of a job, and of the transfer of its input from the CPU to the device.
    pub(crate) fn time(&self, size: &Size, runs: usize, seed: u64) -> Result<(f64, Option<f64>)> {
        self.prepare();
        let shape = (size.batch.max(1), size.width);
        let ms = match size.job {
            Job::Product => {
                let x = self.normal(seed, "x", shape)?;
                let w = self.normal(seed, "w", (size.width, size.width))?;
                self.median(runs, || {
                    wick_kernels::dense(&x, &w, None, Activation::Identity, None)?;
                    Ok(())
                })?
            }
            Job::Forward => {
                let (x, (mlp, _)) = (self.normal(seed, "x", shape)?, self.mlp(size, seed)?);
                self.median(runs, || {
                    let probe = Probe::new();
                    mlp.forward_observed(&x, |layer| Some(probe.observer(layer)))?;
                    Ok(())
                })?
            }
            Job::Training => {
                let (x, (mlp, map)) = (self.normal(seed, "x", shape)?, self.mlp(size, seed)?);
                // The rate is too small to change the net between the runs.
                let params = ParamsAdamW { lr: 1e-9, ..ParamsAdamW::default() };
                let mut optimizer = AdamW::new(map.vars(), params)?;
                let mut step = || -> candle_core::Result<Tensor> {
                    let pass = mlp.tape(&x, |_| None)?;
                    let count = pass.output().elem_count() as f64;
                    let loss = dot(pass.output(), pass.output())?.affine(1.0 / count, 0.0)?;
                    optimizer.step(&pass.backward(&loss)?)?;
                    Ok(loss)
                };
                if self.graph {
                    let mut graph = CudaGraph::new(&self.device, step)?;
                    self.median(runs, || Ok(graph.replay()?))?
                } else {
                    self.median(runs, || Ok(step().map(drop)?))?
                }
            }
            Job::Draw => self.median(runs, || self.normal(seed, "w", (size.width, size.width)).map(drop))?,
        };
        let transfer = match (&self.device, size.batch) {
            (Device::Cpu, _) | (_, 0) => None,
            (device, _) => {
                let x = self.normal(seed, "x", shape)?.to_device(&Device::Cpu)?;
                Some(self.median(runs, || {
                    x.to_device(device)?;
                    Ok(())
                })?)
            }
        };
        Ok((ms, transfer))
    }

    /// The median time of `runs` runs, or of more if they are quick, after a warm-up. The device is idle
    /// before and after each run.
    fn median(&self, runs: usize, mut job: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut once = || -> Result<f64> {
            self.device.synchronize()?;
            let start = Instant::now();
            job()?;
            self.device.synchronize()?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        };
        once()?;
        let first = once()?;
        let count = runs.max((100.0 / first.max(0.01)) as usize).min(200.max(runs));
        let mut times = vec![first];
        for _ in 1..count {
            times.push(once()?);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// GFLOP/s of the largest product, as the device's peak. The width starts at 1024 and doubles up to 8192,
    /// as long as a run takes less than a tenth of a second.
    pub(crate) fn largest_product(&self) -> Result<f64> {
        let mut width = 1024;
        loop {
            let size = Size { job: Job::Product, batch: width, width, depth: 1 };
            let (ms, _) = self.time(&size, 5, 0)?;
            if ms > 100.0 || width == 8192 {
                return Ok(size.operations() / ms * 1e-6);
            }
            width *= 2;
        }
    }

    /// Checks this machine against another: the weights are equal to the bit, and the outputs of a net differ
    /// by no more than rounding explains.
    pub(crate) fn check(&self, other: &Self, seed: u64) -> Result<Check> {
        let size = Size { job: Job::Forward, batch: 64, width: 512, depth: 4 };
        self.prepare();
        let of = |machine: &Self, dtype: DType| -> Result<[Vec<f64>; 2]> {
            let machine = Self { dtype, ..machine.clone() };
            let (x, (mlp, map)) =
                (machine.normal(seed, "x", (size.batch, size.width))?, machine.mlp(&size, seed)?);
            let Some(first) = map.vars().into_iter().next() else { bail!("a net without weights") };
            Ok([numbers(first.as_tensor())?, numbers(&candle_nn::Module::forward(&mlp, &x)?)?])
        };
        let [ours, theirs] = [of(self, self.dtype)?, of(other, self.dtype)?];
        let weights_equal = ours[0].iter().zip(&theirs[0]).all(|(a, b)| a.to_bits() == b.to_bits());
        let off = ours[1].iter().zip(&theirs[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // The rounding error of a sum of n products is about √n roundings of its terms; no draw reaches ten
        // times that per layer.
        let epsilon: f64 = match (self.tf32, self.dtype) {
            (true, _) => 2f64.powi(-11),
            (_, DType::BF16) => 2f64.powi(-8),
            _ => f64::from(f32::EPSILON),
        };
        let bound = 10.0 * size.depth as f64 * epsilon * (size.width as f64).sqrt().log2();
        let check = Check { on: self.label(), weights_equal, largest_difference: off, bound };
        if !weights_equal || off.is_nan() || off > bound {
            let [off, bound] = apart([off, bound]);
            bail!(
                "{} does not compute what the CPU does: weights {}, outputs off by {off} where {bound} is allowed",
                self.label(),
                if weights_equal { "equal" } else { "differ" }
            );
        }
        Ok(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(dtype: DType) -> Machine {
        Machine { device: Device::Cpu, name: "cpu".into(), dtype, tf32: false, graph: false }
    }

    /// A machine agrees with itself in every type, and one of other weights does not pass.
    #[test]
    fn machines_are_compared() {
        for dtype in [DType::F32, DType::BF16] {
            let check = cpu(dtype).check(&cpu(DType::F32), 1).unwrap();
            assert!(check.weights_equal && check.largest_difference <= check.bound);
        }
    }

    #[test]
    fn every_job_runs() {
        for job in Job::ALL {
            let (ms, transfer) =
                cpu(DType::F32).time(&Size { job, batch: 3, width: 16, depth: 2 }, 1, 0).unwrap();
            assert!(ms > 0.0 && transfer.is_none(), "{job}");
        }
    }
}
