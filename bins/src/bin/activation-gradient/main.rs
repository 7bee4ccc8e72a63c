//! An activation and its gradient, from candle's backward pass, checked against the closed form.

mod picture;
mod report;

use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use clap::Parser;
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float, Target};
use wick_bins::cli::usage;
use wick_bins::data::numbers;
use wick_bins::output::short;
use wick_bins::values::number;
use wick_bins::{cli, memory};
use wick_model::{Activation, activate};

use report::{ActivationGradient, Curve};

/// Draws activations and their gradients from candle's backward pass, checked against the closed form. The
/// default is the lecture's figure: sigmoid on [-8, 8) in steps of 0.1.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// The activation; repeat it for more in one picture (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "sigmoid")]
    activation: Vec<Activation>,
    /// The first x
    #[arg(long, value_name = "X", default_value_t = -8.0, value_parser = number, allow_hyphen_values = true)]
    low: f64,
    /// The end of the range, which is not included
    #[arg(long, value_name = "X", default_value_t = 8.0, value_parser = number, allow_hyphen_values = true)]
    high: f64,
    /// The distance from one x to the next
    #[arg(long, value_name = "DX", default_value_t = 0.1, value_parser = number, allow_hyphen_values = true)]
    step: f64,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  activation-gradient
  activation-gradient --activation tanh --activation relu --activation gelu
  activation-gradient --activation leaky_relu:0.2 --low -2 --high 2 --format csv";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(activation_gradient)
}

fn activation_gradient(args: Args) -> Result<()> {
    let steps = ((args.high - args.low) / args.step - 1e-9).ceil();
    if !(steps >= 1.0 && args.step > 0.0 && steps.is_finite()) {
        return Err(usage(
            "--low, --high and --step give no points: --low must be below --high, and --step above 0",
        ));
    }
    memory::check(steps * 12.0, 8, "take a larger --step")?;
    let target = args.common.target(Float::F32)?;
    args.common.check_out()?;
    let x: Vec<f64> = (0..steps as usize).map(|i| args.low + i as f64 * args.step).collect();
    let curves =
        args.activation.iter().map(|&activation| curve(activation, &x, &target)).collect::<Result<_>>()?;
    let report = ActivationGradient { dtype: target.dtype.as_str(), device: target.name.clone(), curves };
    args.common.finish("activation-gradient", &report, || picture::render(&report))?;

    // Rounding explains some units in the last place of the largest number. candle's erf, which replaces ours
    // on a GPU, is accurate to 1e-6 only.
    let unit = match target.dtype {
        DType::F64 if target.device.is_cpu() => 1e-15,
        DType::F64 | DType::F32 => 2e-6,
        DType::F16 => 4e-3,
        _ => 3e-2,
    };
    for curve in &report.curves {
        let largest = curve.value.iter().chain(&curve.gradient).fold(1.0, |m: f64, v| m.max(v.abs()));
        if curve.max_difference.is_nan() || curve.max_difference > unit * largest {
            bail!("{}: {} from the closed form", curve.activation, short(curve.max_difference));
        }
    }
    Ok(())
}

/// Computes the values and gradients at all x, and their largest difference from the closed form.
fn curve(activation: Activation, x: &[f64], target: &Target) -> Result<Curve> {
    let input = Tensor::new(x, &Device::Cpu)?.to_dtype(target.dtype)?.to_device(&target.device)?;
    let input = Var::from_tensor(&input)?;
    let output = activate(activation, &input)?;
    let gradients = output.sum_all()?.backward()?;
    let gradient = gradients.get(&input).cloned().unwrap_or(input.zeros_like()?);
    let (x, value, gradient) = (numbers(&input)?, numbers(&output)?, numbers(&gradient)?);
    let max_difference = x
        .iter()
        .zip(value.iter().zip(&gradient))
        .map(|(&x, (v, g))| (v - activation.value(x)).abs().max((g - activation.derivative(x)).abs()))
        // `f64::max` would ignore a NaN.
        .fold(0.0, |largest: f64, d| if d.is_nan() { d } else { largest.max(d) });
    Ok(Curve { activation, x, value, gradient, max_difference })
}
