//! Times the drawing of tensors: for each name of a job that it reads from stdin, it runs the job once and
//! writes the milliseconds to stdout. `benches/init.py` runs this and PyTorch in turn. By hand:
//!
//! ```sh
//! echo normal | cargo bench -q -p wick-init --bench draw
//! ```

#![allow(missing_docs)] // A benchmark has no users but the script.

use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use wick_init::torch::TorchRng;
use wick_init::{Initializer, KeyedV1};

const COUNT: usize = 3_225_000;

fn run(job: &str, round: u64) -> Option<Tensor> {
    let key = KeyedV1::new(round).key(job);
    let keyed = |initializer: Initializer| initializer.tensor(key, COUNT, DType::F32, &Device::Cpu).ok();
    match job {
        "normal" => keyed(Initializer::normal(1.0)),
        "uniform" => keyed(Initializer::uniform(1.0)),
        "truncated_normal" => keyed(Initializer::truncated_normal(1.0)),
        "write" => keyed(Initializer::zeros()),
        "torch_stream_normal" => {
            Initializer::normal(1.0).tensor(&mut TorchRng::new(round), COUNT, DType::F32, &Device::Cpu).ok()
        }
        "orthogonal" => Initializer::orthogonal(1.0).tensor(key, (800, 800), DType::F32, &Device::Cpu).ok(),
        "candle_randn" => Tensor::randn(0f32, 1.0, COUNT, &Device::Cpu).ok(),
        _ => None,
    }
}

fn main() {
    wick_kernels::limit_idle_spinning();
    wick_kernels::retain_freed_memory();
    let mut out = std::io::stdout().lock();
    for (round, line) in (0..).zip(std::io::stdin().lock().lines().map_while(Result::ok)) {
        let start = Instant::now();
        let drawn = run(line.trim(), round);
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let answer = if drawn.is_some() { format!("{milliseconds}") } else { "unknown".into() };
        let written = writeln!(out, "{answer}").and_then(|()| out.flush());
        if written.is_err() {
            return;
        }
    }
}
