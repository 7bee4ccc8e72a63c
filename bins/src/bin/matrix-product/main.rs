//! The product of many random matrices, whose norm explodes or vanishes.

mod picture;
mod report;

use std::process::ExitCode;

use std::f64::consts::LOG10_2;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use clap::Parser;
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float, Target};
use wick_bins::cli::usage;
use wick_bins::data::numbers;
use wick_bins::limits::largest;
use wick_bins::values::{number, whole};
use wick_bins::{cli, memory, progress};
use wick_init::{Initializer, KeyedV1};
use wick_theory::write_number;

use report::{MatrixProduct, Predicted, Scaled, Trial};

/// Multiplies many Gaussian matrices and follows the norm of their product. The default is the lecture's: a
/// 4×4 matrix with entries N(0, 1) times 100 more.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// Rows and columns of each matrix
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>)]
    n: usize,
    /// The number of matrices that the first one is multiplied by
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole::<usize>)]
    factors: usize,
    /// Standard deviation of the entries
    #[arg(long, value_name = "SIGMA", default_value_t = 1.0, value_parser = number, allow_hyphen_values = true)]
    sigma: f64,
    /// The number of products, each of its own matrices
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<usize>)]
    trials: usize,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  matrix-product
  matrix-product --factors 500 --trials 100
  matrix-product --n 100 --sigma 0.1 --format json";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(matrix_product)
}

fn matrix_product(args: Args) -> Result<()> {
    if args.n == 0 || args.trials == 0 {
        return Err(usage("a size is zero: --n and --trials are 1 or more"));
    }
    if !(args.sigma > 0.0 && args.sigma.is_finite()) {
        return Err(usage(format!(
            "--sigma is {}, and must be above 0 and finite",
            write_number(args.sigma)
        )));
    }
    let matrices = args.trials as f64 * args.n as f64 * args.n as f64;
    let norms = args.trials as f64 * (args.factors as f64 + 1.0);
    memory::check(6.0 * matrices + 2.0 * norms, 8, "ask for a smaller --n or fewer --trials or --factors")?;
    let target = args.common.target(Float::F32)?;
    args.common.check_out()?;
    let report = multiply(&args, &target)?;
    args.common.finish("matrix-product", &report, || picture::render(&report))
}

/// Multiplies all trials at once, a factor at a time. The matrices are drawn with σ = 1, and every product is
/// scaled by a power of two, which is exact, to entries of at most 1. σ and the exponents are kept apart, so
/// that nothing overflows for any σ.
fn multiply(args: &Args, target: &Target) -> Result<MatrixProduct> {
    let (n, trials) = (args.n, args.trials);
    let log2_sigma = args.sigma.log2();
    let first = numbers(&factor(args, target, 0)?)?;
    let mut entries = first.clone();
    let mut exponents = vec![0i64; trials];
    let norms = || Vec::with_capacity(args.factors + 1);
    let nothing = Trial { log10_norm: norms(), log10_row_norm: norms(), overflow_at: None };
    let mut all = vec![nothing; trials];
    let log2_limit = largest(target.dtype).log2();
    let bar = progress::bar(args.factors + 1, "matrix-product");
    for index in 0..=args.factors {
        if index > 0 {
            let product = Tensor::from_slice(&entries, (trials, n, n), &Device::Cpu)?;
            let product = product.to_dtype(target.dtype)?.to_device(&target.device)?;
            entries = numbers(&product.matmul(&factor(args, target, index)?)?)?;
        }
        let sigmas = (index + 1) as f64 * log2_sigma;
        for ((trial, exponent), matrix) in all.iter_mut().zip(&mut exponents).zip(entries.chunks_mut(n * n)) {
            let largest = matrix.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let carried = *exponent as f64 + sigmas;
            let squares = |entries: &[f64]| entries.iter().map(|x| (x / largest).powi(2)).sum::<f64>();
            let log10 = |squares: f64| 0.5 * squares.log10() + (largest.log2() + carried) * LOG10_2;
            let log10_norm = log10(squares(matrix));
            if !log10_norm.is_finite() {
                bail!("after {index} factors the norm is no number: {} is too narrow", target.dtype.as_str());
            }
            trial.log10_norm.push(log10_norm);
            trial.log10_row_norm.push(log10(squares(&matrix[..n])));
            if trial.overflow_at.is_none() && largest.log2() + carried > log2_limit {
                trial.overflow_at = Some(index);
            }
            let shift = largest.log2().ceil() as i32;
            matrix.iter_mut().for_each(|x| *x *= 2f64.powi(-shift));
            *exponent += i64::from(shift);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let carried = exponents[0] as f64 + (args.factors + 1) as f64 * log2_sigma;
    Ok(MatrixProduct {
        n,
        factors: args.factors,
        sigma: args.sigma,
        dtype: target.dtype.as_str(),
        device: target.name.clone(),
        seed: args.common.seed,
        first: Scaled::of(&first, n, log2_sigma),
        product: Scaled::of(&entries, n, carried),
        predicted: Predicted::new(n, args.factors, args.sigma),
        overflow_at: all.iter().filter_map(|trial| trial.overflow_at).min(),
        largest_log10: log2_limit * LOG10_2,
        trials: all,
    })
}

/// Draws the factor of this number for every trial, `[trials, n, n]`, with σ = 1. The first trials do not
/// depend on the number of trials.
fn factor(args: &Args, target: &Target, index: usize) -> Result<Tensor> {
    let key = KeyedV1::new(args.common.seed).key(&format!("matrix-product/factor_{index}"));
    let shape = (args.trials, args.n, args.n);
    Ok(Initializer::normal(1.0).tensor(key, shape, target.dtype, &target.device)?)
}
