//! Compares every activation and its derivative in `f32` with `f64`, on all four billion numbers or on every
//! n-th one, and prints the largest error in units in the last place (of the rounded `f64`) and its number.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use clap::Parser;
use rayon::prelude::*;
use wick_bins::cli;
use wick_kernels::{activate, activation_gradient};
use wick_theory::Activation;

/// Compares activations in f32 with f64, number by number; ends with code 1 if one is off by more than
/// --max-ulps.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The activations; all of them if none is named
    activations: Vec<Activation>,
    /// Only every n-th number. 1 is all of them, and takes some minutes for each activation
    #[arg(long, value_name = "N", default_value_t = 257, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// The largest allowed error, in units in the last place
    #[arg(long, value_name = "ULPS", default_value_t = 2)]
    max_ulps: u64,
}

/// The number of elements that are computed at once.
const BLOCK: usize = 1 << 18;

/// An error in units in the last place, and the number at which it occurs.
type Error = (u64, f32);

fn main() -> ExitCode {
    cli::run(accuracy)
}

fn accuracy(args: Args) -> Result<()> {
    let activations = if args.activations.is_empty() { Activation::ALL.to_vec() } else { args.activations };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<12} {:>12}   {:<24} {:<24}",
        "activation", "numbers", "value: ulps at", "derivative: ulps at"
    )?;
    let mut worst = 0;
    for activation in activations {
        let (value, derivative, count) = sweep(activation, args.every)?;
        let show = |(ulps, x): Error| format!("{ulps} {x:e}");
        writeln!(
            out,
            "{:<12} {count:>12}   {:<24} {:<24}",
            activation.name(),
            show(value),
            show(derivative)
        )?;
        out.flush()?;
        worst = worst.max(value.0).max(derivative.0);
    }
    if worst > args.max_ulps {
        bail!("an error of {worst} units in the last place, and {} are allowed", args.max_ulps);
    }
    Ok(())
}

/// The largest errors of the value and of the derivative, and the number of elements.
fn sweep(activation: Activation, every: u32) -> Result<(Error, Error, u64)> {
    let count = u64::from(u32::MAX / every) + 1;
    let blocks = count.div_ceil(BLOCK as u64);
    let of_block = |block: u64| -> Result<(Error, Error)> {
        let numbers = block * BLOCK as u64..count.min((block + 1) * BLOCK as u64);
        let xs: Vec<f32> = numbers.map(|n| f32::from_bits(n as u32 * every)).collect();
        let tensor = Tensor::new(xs.as_slice(), &Device::Cpu)?;
        let values = activate(activation, &tensor)?.to_vec1::<f32>()?;
        let slopes = activation_gradient(activation, &tensor, &tensor.ones_like()?)?.to_vec1::<f32>()?;
        let mut worst = ((0, 0.0), (0, 0.0));
        for ((&x, value), slope) in xs.iter().zip(values).zip(slopes) {
            let wide = f64::from(x);
            worst.0 = larger(worst.0, (ulps(value, activation.value(wide)), x));
            // The identity's derivative is 1 even at NaN.
            if !x.is_nan() {
                worst.1 = larger(worst.1, (ulps(slope, activation.derivative(wide)), x));
            }
        }
        Ok(worst)
    };
    let none = || ((0, 0.0), (0, 0.0));
    let both = |a: (Error, Error), b: (Error, Error)| Ok((larger(a.0, b.0), larger(a.1, b.1)));
    let (value, derivative) = (0..blocks).into_par_iter().map(of_block).try_reduce(none, both)?;
    Ok((value, derivative, count))
}

fn larger(a: Error, b: Error) -> Error {
    if b.0 > a.0 { b } else { a }
}

/// The number of `f32` between a computed value and the right one.
fn ulps(got: f32, right: f64) -> u64 {
    let right = right as f32;
    if got.is_nan() && right.is_nan() || got == right {
        return 0;
    }
    let place = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits } else { bits }
    };
    if got.is_nan() || right.is_nan() { u64::MAX } else { place(got).abs_diff(place(right)) }
}
