//! The product of many random matrices, whose norm explodes or dies.

mod picture;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use wick::args::{Common, Float, Place};
use wick::failure::usage;
use wick::{failure, files, memory, output, progress};
use wick_init::{Initializer, KeyedV1};

use report::{MatrixProduct, Scaled, Trial};

/// Multiplies a Gaussian matrix with many more and follows the norm of the product. The default is the
/// lecture's: a 4×4 matrix with entries N(0, 1) times 100 more.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// Rows and columns of each matrix
    #[arg(long, value_name = "N", default_value_t = 4)]
    n: usize,
    /// How many matrices the first one is multiplied with
    #[arg(long, value_name = "N", default_value_t = 100)]
    factors: usize,
    /// Standard deviation of the entries
    #[arg(long, value_name = "SIGMA", default_value_t = 1.0)]
    sigma: f64,
    /// How many products, each of matrices of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    trials: usize,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  matrix-product
  matrix-product --factors 500 --trials 100
  matrix-product --n 100 --sigma 0.1 --format json";

fn main() -> ExitCode {
    failure::run(matrix_product)
}

fn matrix_product(args: Args) -> Result<()> {
    if args.n == 0 || args.trials == 0 {
        return Err(usage("a size is zero: --n and --trials are 1 or more"));
    }
    if !(args.sigma > 0.0 && args.sigma.is_finite()) {
        return Err(usage(format!("--sigma is {}, and must be above 0 and finite", args.sigma)));
    }
    let matrices = args.trials as f64 * args.n as f64 * args.n as f64;
    let norms = args.trials as f64 * (args.factors as f64 + 1.0);
    memory::check(6.0 * matrices + 2.0 * norms, 8, "ask for a smaller --n or fewer --trials or --factors")?;
    let place = args.common.place(Float::F32)?;
    if let Some(folder) = args.common.pictures() {
        files::check_folder(folder)?;
    }
    let report = multiply(&args, &place)?;
    if let Some(folder) = args.common.pictures() {
        picture::draw(&report)?.save(folder, "matrix-product")?;
    }
    output::print(&report, args.common.format)
}

/// Multiplies all trials at once, a factor at a time. After each, every product is scaled by a power of two,
/// which is exact, to entries below 1; the exponents are carried beside, so that nothing overflows.
fn multiply(args: &Args, place: &Place) -> Result<MatrixProduct> {
    let (n, trials) = (args.n, args.trials);
    let first = factor(args, place, 0)?;
    let mut product = first.clone();
    let mut exponents = vec![0i64; trials];
    let mut all = vec![Trial { log10_norm: Vec::with_capacity(args.factors + 1), overflow_at: None }; trials];
    let largest_power = largest(place.dtype).log2();
    let bar = progress::bar(args.factors + 1, "matrix-product");
    for index in 0..=args.factors {
        if index > 0 {
            product = product.matmul(&factor(args, place, index)?)?;
        }
        let entries = to_vec(&product)?;
        let mut scales = Vec::with_capacity(trials);
        for ((trial, exponent), matrix) in all.iter_mut().zip(&mut exponents).zip(entries.chunks(n * n)) {
            let largest = matrix.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let carried = *exponent as f64;
            let norm = matrix.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt();
            trial.log10_norm.push(norm.log10() + largest.log10() + carried * 2f64.log10());
            if trial.overflow_at.is_none() && largest.log2() + carried > largest_power {
                trial.overflow_at = Some(index);
            }
            // A product that is exactly zero stays what it is.
            let shift = if largest > 0.0 { largest.log2().ceil() as i32 } else { 0 };
            scales.push(2f64.powi(-shift));
            *exponent += i64::from(shift);
        }
        let scales = Tensor::from_vec(scales, (trials, 1, 1), &Device::Cpu)?;
        product = product.broadcast_mul(&scales.to_dtype(place.dtype)?.to_device(&place.device)?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(MatrixProduct {
        n,
        factors: args.factors,
        sigma: args.sigma,
        dtype: place.dtype.as_str(),
        device: place.name.clone(),
        seed: args.common.seed,
        first: Scaled::of(&to_vec(&first)?, n, 0),
        product: Scaled::of(&to_vec(&product)?, n, exponents[0]),
        overflow_at: all.iter().filter_map(|trial| trial.overflow_at).min(),
        largest_log10: largest_power * 2f64.log10(),
        trials: all,
    })
}

/// The factor of this number for every trial, `[trials, n, n]`. A trial's matrices depend on the seed, the
/// trial and the factor alone.
fn factor(args: &Args, place: &Place, index: usize) -> Result<Tensor> {
    let (stream, normal) = (KeyedV1::new(args.common.seed), Initializer::normal(args.sigma));
    let matrices = (0..args.trials)
        .map(|trial| {
            let key = stream.key(&format!("matrix-product/trial_{trial}/factor_{index}"));
            normal.tensor(&key, (args.n, args.n), place.dtype, &place.device)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::stack(&matrices, 0)?)
}

fn to_vec(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The largest finite number of a type.
fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => 3.389_531_389_251_535_5e38,
        _ => f64::from(f32::MAX),
    }
}
