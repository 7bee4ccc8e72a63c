//! Times the same jobs on the CPU and on a GPU, over a range of sizes.

mod jobs;
mod machine;
mod picture;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use clap::Parser;
use wick_bins::allocator::Allocator;
use wick_bins::args::Common;
use wick_bins::cli::usage;
use wick_bins::device::{self, DeviceChoice};
use wick_bins::values::{number, whole};
use wick_bins::{cli, memory, peak, progress};
use wick_kernels::SimdLevel;

use jobs::{Job, Size};
use machine::Machine;
use report::{DeviceBench, Measured, Peak};

/// Times matrix products, forward passes with statistics, training steps and the drawing of weights on the
/// CPU and on a GPU (--device): from which size on the GPU is faster, and what the transfer costs. Without a
/// GPU only the CPU is measured.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// The jobs to time
    #[arg(long, value_name = "JOB,JOB,…", value_delimiter = ',', default_values_t = Job::ALL, ignore_case = true)]
    jobs: Vec<Job>,
    /// Samples
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1, 16, 256, 4096, 65536], value_parser = whole::<usize>)]
    batch: Vec<usize>,
    /// Units of each layer
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [64, 256, 1024, 4096, 8192], value_parser = whole::<usize>)]
    width: Vec<usize>,
    /// Layers of the forward pass and of the training step
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>)]
    depth: usize,
    /// Leave out sizes of more than this many billion operations on the CPU
    #[arg(long, value_name = "GFLOP", default_value_t = 40.0, value_parser = number, allow_hyphen_values = true)]
    cpu_limit: f64,
    /// Timed runs of each job, of which the median counts; quick jobs are run more often
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole::<usize>)]
    runs: usize,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  device-bench
  device-bench --jobs training --width 512 --batch 1,32,1024 --format json
  device-bench --device cuda:1 --cpu-limit 1000";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(device_bench)
}

fn device_bench(args: Args) -> Result<()> {
    if args.batch.contains(&0) || args.width.contains(&0) || args.depth == 0 || args.runs == 0 {
        return Err(usage("a size is zero: --batch, --width, --depth and --runs are 1 or more"));
    }
    if args.common.dtype.is_some() {
        return Err(usage("--dtype is not for this program: it times f32 and, on a GPU, TF32 and bf16"));
    }
    let (device, name) = args.common.device.open()?;
    args.common.check_out()?;

    let cpu =
        Machine { device: Device::Cpu, name: "cpu".into(), dtype: DType::F32, tf32: false, graph: false };
    let mut machines = vec![cpu];
    let mut missing = None;
    if device.is_cpu() {
        missing = Some(why_no_gpu(args.common.device));
    } else {
        let with = |dtype, tf32, graph| {
            let (device, name) = (device.clone(), name.clone());
            Machine { device, name, dtype, tf32, graph }
        };
        machines.push(with(DType::F32, false, false));
        if device.is_cuda() {
            machines.push(with(DType::F32, true, false));
            machines.push(with(DType::F32, false, true));
        }
        machines.push(with(DType::BF16, false, false));
    }

    let checks = machines[1..]
        .iter()
        .map(|machine| machine.check(&machines[0], args.common.seed))
        .collect::<Result<Vec<_>>>()?;
    let sizes: Vec<Size> = sizes(&args);
    let bar = progress::bar(machines.len() * sizes.len(), "device-bench");
    let (mut peaks, mut rows, mut left_out) = (Vec::new(), Vec::new(), 0);
    for machine in &machines {
        let label = machine.label();
        bar.set_message(label.clone());
        let gflops = match machine.device {
            Device::Cpu => peak::flops(SimdLevel::best()),
            _ => machine.largest_product().with_context(|| label.clone())?,
        };
        peaks.push(Peak { on: label.clone(), gflops });
        for size in &sizes {
            if !machine.does(size.job) {
                bar.inc(1);
                continue;
            }
            let too_long = machine.device.is_cpu() && size.operations() > args.cpu_limit * 1e9;
            // Memory that the last size left in pieces does not fit this one.
            device::trim(&machine.device)?;
            // The margin of a tenth is for memory that the formula leaves out.
            let numbers = 1.1 * size.numbers();
            let fits = memory::check_on(&machine.device, numbers, machine.dtype.size_in_bytes(), "").is_ok();
            match (!too_long && fits).then(|| machine.time(size, args.runs, args.common.seed)) {
                Some(Ok((ms, transfer_ms))) => {
                    rows.push(Measured::new(&label, size, ms, transfer_ms, gflops));
                }
                // A size that exceeds the device's memory is left out, and the smaller ones still count.
                Some(Err(error)) if !machine.device.is_cpu() && is_out_of_memory(&error) => left_out += 1,
                Some(Err(error)) => return Err(error.context(format!("{label}: {size}"))),
                None => left_out += 1,
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let report = DeviceBench::new(missing, args.depth, args.common.seed, peaks, checks, rows, left_out);
    args.common.finish("device-bench", &report, || picture::render(&report))
}

fn sizes(args: &Args) -> Vec<Size> {
    let mut sizes = Vec::new();
    for &job in &args.jobs {
        for &width in &args.width {
            // The weights do not depend on the batch.
            let batches: &[usize] = if job == Job::Draw { &[0] } else { &args.batch };
            sizes.extend(batches.iter().map(|&batch| Size { job, batch, width, depth: args.depth }));
        }
    }
    sizes
}

/// Whether the driver or cuBLAS ran out of memory, by the words or the names of their errors.
fn is_out_of_memory(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_ascii_lowercase();
    ["out of memory", "out_of_memory", "cublas_status_alloc_failed"].iter().any(|words| text.contains(words))
}

fn why_no_gpu(asked: DeviceChoice) -> String {
    let built = cfg!(feature = "cuda") || cfg!(feature = "metal");
    match asked {
        DeviceChoice::Cpu => "only the CPU was asked for".into(),
        _ if built => "no GPU answers on this machine".into(),
        _ => "this build has no GPU: build it with `--features cuda` or `--features metal`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_memory_is_recognized() {
        let error = |text: &str| anyhow::anyhow!("{text}").context("cuda:0 f32: product of 8 × 8");
        assert!(is_out_of_memory(&error("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")));
        assert!(is_out_of_memory(&error("CublasError(CUBLAS_STATUS_ALLOC_FAILED)")));
        assert!(!is_out_of_memory(&error("CublasError(CUBLAS_STATUS_NOT_SUPPORTED)")));
    }
}
