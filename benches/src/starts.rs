//! The start of a big model: four tensors of 8192×8192 normals by `InitMap`, in the type that a line of stdin
//! names (`f32`, `bf16`), with the manifest. Answers with the milliseconds of both and of the manifest alone, on
//! one line of stdout; `benches/starts.py` runs this and PyTorch in turn. The tensors are freed after the
//! clock has stopped.

use std::time::Instant;

use candle_core::{DType, Device, Result, bail};
use wick_init::{InitMap, Initializer};

mod serve;

const SIDE: usize = 8192;
const TENSORS: usize = 4;

fn start(dtype: DType) -> Result<String> {
    let begin = Instant::now();
    let map = InitMap::new(42).with_default_init(Initializer::normal(0.02));
    let vb = map.var_builder(dtype, &Device::Cpu);
    for layer in 0..TENSORS {
        vb.get((SIDE, SIDE), &format!("layers.{layer}.weight"))?;
    }
    let drawn = begin.elapsed().as_secs_f64();
    let manifest = map.manifest()?;
    let all = begin.elapsed().as_secs_f64();
    for tensor in manifest.tensors {
        if !tensor.std.is_some_and(|std| (std / 0.02 - 1.0).abs() < 1e-3) {
            bail!("{} has the standard deviation {:?}", tensor.name, tensor.std);
        }
    }
    Ok(format!("{} {}", all * 1e3, (all - drawn) * 1e3))
}

fn main() -> Result<()> {
    wick_kernels::limit_idle_spinning();
    wick_kernels::retain_freed_memory();
    serve::serve(|line| match line {
        "f32" => start(DType::F32),
        "bf16" => start(DType::BF16),
        other => bail!("unknown type '{other}'"),
    })
}
