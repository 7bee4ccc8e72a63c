//! The forward and backward pass of a small net with an L2 penalty, with every gradient computed in three
//! ways.

mod differences;
mod net;
mod picture;
mod report;
mod rounding;

use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use rand::RngExt;
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float, Spec, Target};
use wick_bins::cli::usage;
use wick_bins::data::numbers;
use wick_bins::limits::epsilon;
use wick_bins::values::{number, whole};
use wick_bins::{cli, memory, output};
use wick_init::{Initializer, KeyedV1};
use wick_model::Activation;
use wick_model::loss::Loss;
use wick_theory::write_number;

use net::Net;
use report::{Check, ForwardBackward, Network, Value};

/// The lecture's net without biases: z = W1 x, h = φ(z), o = W2 h, L = l(o, y), s = λ/2 (‖W1‖² + ‖W2‖²),
/// J = L + s. Prints every intermediate value, and every gradient three ways: by the lecture's formulas, by
/// candle's backward pass, and by central differences in f64. Fails if they differ by more than rounding
/// explains.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// Inputs
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>)]
    features: usize,
    /// Hidden units
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole::<usize>)]
    hidden: usize,
    /// Outputs
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<usize>)]
    outputs: usize,
    /// Samples, over which the loss is a mean
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = whole::<usize>)]
    batch: usize,
    /// φ (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "tanh")]
    activation: Activation,
    /// l: squared or cross_entropy
    #[arg(long, value_name = "NAME", default_value = "squared")]
    loss: Loss,
    /// λ, the weight of the penalty
    #[arg(long, value_name = "LAMBDA", default_value_t = 0.1, value_parser = number, allow_hyphen_values = true)]
    lambda: f64,
    /// The initializer of the weights, `name` or `name:key=value,…` (an unknown name lists them)
    #[arg(long, value_name = "SPEC", default_value = "xavier_normal")]
    init: Spec,
    /// The most entries of each gradient to check by central differences, evenly spaced; 0 for none
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = whole::<usize>)]
    max_differences: usize,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  forward-backward
  forward-backward --activation relu --loss cross_entropy --lambda 0.5
  forward-backward --features 100 --hidden 50 --batch 32 --dtype f32 --format json";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(forward_backward)
}

fn forward_backward(args: Args) -> Result<()> {
    if [args.features, args.hidden, args.outputs, args.batch].contains(&0) {
        return Err(usage("a size is zero: --features, --hidden, --outputs and --batch are 1 or more"));
    }
    if !(args.lambda >= 0.0 && args.lambda.is_finite()) {
        return Err(usage(format!(
            "--lambda is {}, and must be finite and not negative",
            write_number(args.lambda)
        )));
    }
    let [features, hidden, outputs, batch] =
        [args.features, args.hidden, args.outputs, args.batch].map(|n| n as f64);
    let weights = hidden * (features + outputs);
    let activations = batch * (features + 2.0 * hidden + 2.0 * outputs);
    memory::check(8.0 * (weights + activations), 8, "ask for a smaller net or --batch")?;
    // The checks compare digits, so the most precise type is the default.
    let target = args.common.target(Float::F64)?;
    args.common.check_out()?;

    let net = net(&args, &target)?;
    let forward = net.forward()?;
    let formulas = net.by_formulas(&forward)?;
    let autograd = net.by_backward_pass()?;
    let differences = differences::all(&net, &forward, args.max_differences)?;

    let terms = rounding::terms(&net, &forward, &formulas, target.dtype)?;

    let objective = numbers(&forward.objective)?[0];
    let mut checks = Vec::new();
    for (((gradient, by_pass), by_difference), terms) in
        formulas.iter().zip(&autograd).zip(&differences).zip(terms)
    {
        let (formula, by_pass) = (numbers(&gradient.value)?, numbers(&by_pass.value)?);
        let largest = formula.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let from_pass = apart(formula.iter().copied().zip(by_pass));
        let from_differences = apart(by_difference.iter().map(|&(index, slope)| (formula[index], slope)));
        let relative = |apart: f64| if apart == 0.0 { 0.0 } else { apart / largest };
        // A quotient of differences that are rounding errors says nothing of a gradient that is smaller.
        let is_taken = !by_difference.is_empty() && (largest == 0.0 || largest > 100.0 * blur(objective));
        checks.push(Check {
            name: gradient.name,
            shape: gradient.value.dims().to_vec(),
            autograd: relative(from_pass),
            finite_difference: is_taken.then(|| relative(from_differences)),
            compared: if is_taken { by_difference.len() } else { 0 },
            is_too_small: !by_difference.is_empty() && !is_taken,
            apart: [from_pass, from_differences],
            largest,
            terms,
        });
    }
    let values = forward.named(&net).into_iter().map(|(name, formula, tensor)| {
        Ok(Value { name, formula, shape: tensor.dims().to_vec(), values: numbers(tensor)? })
    });
    let report = ForwardBackward {
        network: Network {
            features: args.features,
            hidden: args.hidden,
            outputs: args.outputs,
            batch: args.batch,
            activation: args.activation,
            loss: args.loss.name(),
            lambda: args.lambda,
            init: args.init.text.clone(),
            dtype: target.dtype.as_str(),
            device: target.name.clone(),
            seed: args.common.seed,
        },
        values: values.collect::<Result<_>>()?,
        checks,
        loss: numbers(&forward.loss)?[0],
        penalty: numbers(&forward.penalty)?[0],
        objective,
    };
    args.common.finish("forward-backward", &report, || picture::render(&report.network))?;
    judge(&report, target.dtype)
}

/// Fails if the ways differ by more than rounding explains. For the backward pass that is some units in the
/// last place of the gradient's largest entry and of the terms whose difference it is, and more in longer
/// sums. For central differences it is 1e-7 of the largest entry more, and the rounding error of J in a
/// difference quotient.
fn judge(report: &ForwardBackward, dtype: DType) -> Result<()> {
    let name = dtype.as_str();
    if !report.objective.is_finite() {
        bail!(
            "J is {}: {name} overflowed; start from smaller weights, or take a wider --dtype",
            report.objective
        );
    }
    let n = &report.network;
    let longest = [n.features, n.hidden, n.outputs, n.batch].into_iter().max().unwrap_or(1) as f64;
    let rounding = 16.0 * epsilon(dtype) * longest.sqrt();
    let blur = blur(report.objective);
    for check in &report.checks {
        let explained = rounding * (check.largest + check.terms.size) + 16.0 * check.terms.step;
        let of_slopes = explained + 1e-7 * check.largest + 1e-9 * check.terms.size + blur;
        let ways = [("the backward pass", explained), ("central differences", of_slopes)];
        for ((way, bound), apart) in ways.into_iter().zip(check.apart) {
            if apart.is_nan() {
                bail!("{}: a gradient is no number: {name} overflowed; take a wider --dtype", check.name);
            }
            if apart > bound {
                let [apart, bound] = output::apart([apart, bound]);
                bail!(
                    "{}: the formula and {way} differ by {apart}, and rounding explains {bound}",
                    check.name
                );
            }
        }
    }
    Ok(())
}

/// The rounding error of J in a difference quotient.
fn blur(objective: f64) -> f64 {
    4.0 * f64::EPSILON * objective.abs() / differences::STEP
}

/// Draws the weights, inputs and targets of the net, each from the stream of its name.
fn net(args: &Args, target: &Target) -> Result<Net> {
    let stream = KeyedV1::new(args.common.seed);
    let draw = |init: Initializer, name: &str, shape: (usize, usize)| {
        init.tensor(stream.key(&format!("forward-backward/{name}")), shape, target.dtype, &target.device)
    };
    let normal = Initializer::normal(1.0);
    let y = match args.loss {
        Loss::Squared => draw(normal.clone(), "y", (args.batch, args.outputs))?,
        Loss::CrossEntropy => {
            // Each sample has a random class, one-hot.
            let mut rng = stream.key("forward-backward/classes").rng();
            let mut rows = vec![0f64; args.batch * args.outputs];
            for row in rows.chunks_mut(args.outputs) {
                row[rng.random_range(0..args.outputs)] = 1.0;
            }
            let rows = Tensor::from_vec(rows, (args.batch, args.outputs), &Device::Cpu)?;
            rows.to_dtype(target.dtype)?.to_device(&target.device)?
        }
    };
    Ok(Net {
        x: draw(normal, "x", (args.batch, args.features))?,
        y,
        w1: draw(args.init.initializer.clone(), "W1", (args.hidden, args.features))?,
        w2: draw(args.init.initializer.clone(), "W2", (args.outputs, args.hidden))?,
        activation: args.activation,
        loss: args.loss,
        lambda: args.lambda,
    })
}

/// Returns the largest difference of the pairs.
fn apart(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    // `f64::max` would ignore a NaN.
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, |m: f64, d| if d.is_nan() { d } else { m.max(d) })
}
