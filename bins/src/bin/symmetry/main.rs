//! Trains a net with equal weights beside one with random weights.

mod picture;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::{D, DType, Tensor, bail};
use candle_nn::{Module, Optimizer, SGD};
use clap::Parser;
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float, Spec, Target};
use wick_bins::cli::usage;
use wick_bins::data::{digits, tensor};
use wick_bins::values::{number, whole};
use wick_bins::{cli, memory, progress};
use wick_init::{InitMap, Initializer};
use wick_model::loss::Loss;
use wick_model::{Activation, Mlp, MlpConfig, fit};

use report::{Experiment, Run, Symmetry};

/// Trains a net whose weights are all equal beside one with random weights, on 1797 handwritten digits. The
/// hidden units of the first stay equal to the bit, step after step: it is a net of one hidden unit.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// Hidden units
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = whole::<usize>)]
    hidden: usize,
    /// The activation of the hidden layer (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "tanh")]
    activation: Activation,
    /// Steps of gradient descent over all digits
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = whole::<usize>)]
    steps: usize,
    /// The learning rate
    #[arg(long, value_name = "RATE", default_value_t = 0.5, value_parser = number, allow_hyphen_values = true)]
    learning_rate: f64,
    /// The value of every weight of the net with equal weights
    #[arg(long, value_name = "W", default_value_t = 0.01, value_parser = number, allow_hyphen_values = true)]
    equal: f64,
    /// The initializer of the other net, `name` or `name:key=value,…` (an unknown name lists them)
    #[arg(long, value_name = "SPEC", default_value = "xavier_normal")]
    init: Spec,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  symmetry
  symmetry --hidden 64 --steps 500 --activation relu --init kaiming_normal
  symmetry --equal 0 --format json";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(symmetry)
}

fn symmetry(args: Args) -> Result<()> {
    if args.hidden == 0 {
        return Err(usage("--hidden is 0, and must be 1 or more"));
    }
    for (name, value) in [("--learning-rate", args.learning_rate), ("--equal", args.equal)] {
        if !value.is_finite() {
            return Err(usage(format!("{name} is {value}, and must be finite")));
        }
    }
    let target = args.common.target(Float::F32)?;
    let (inputs, one_hot) = task(&target)?;
    let (samples, features) = inputs.dims2()?;
    let outputs = one_hot.dim(D::Minus1)?;
    let numbers = args.hidden as f64 * (4.0 * samples as f64 + 3.0 * (features + outputs) as f64);
    target.check_memory(numbers, "ask for fewer --hidden units")?;
    memory::check(4.0 * args.steps as f64, 8, "ask for fewer --steps")?;
    args.common.check_out()?;

    let config = MlpConfig::new(features, [args.hidden, outputs], args.activation)
        .with_output_activation(Activation::Identity);
    let bar = progress::bar(2 * args.steps, "symmetry");
    let equal = Initializer::Constant(args.equal);
    let equal = Spec { text: equal.to_string(), initializer: equal };
    let train = |init: &Spec| {
        run(init, &config, &inputs, &one_hot, &args, &target, &bar).with_context(|| init.text.clone())
    };
    let runs = vec![train(&equal)?, train(&args.init)?];
    bar.finish_and_clear();

    let experiment = Experiment {
        samples,
        features,
        hidden: args.hidden,
        outputs,
        activation: args.activation,
        steps: args.steps,
        learning_rate: args.learning_rate,
        dtype: target.dtype.as_str(),
        device: target.name.clone(),
        seed: args.common.seed,
    };
    let report = Symmetry { experiment, runs };
    args.common.finish("symmetry", &report, || picture::render(&report))
}

/// Returns the digits with pixels in [0, 1], and their classes, one-hot.
fn task(target: &Target) -> Result<(Tensor, Tensor)> {
    let (pixels, labels) = digits()?;
    let one_hot: Vec<f32> = labels
        .iter()
        .flat_map(|&label| (0..10).map(move |digit| f32::from(u8::from(digit == label))))
        .collect();
    let one_hot = Tensor::from_vec(one_hot, (labels.len(), 10), &candle_core::Device::Cpu)?;
    let inputs = (tensor(&pixels, target)? * (1.0 / 16.0))?;
    Ok((inputs, one_hot.to_dtype(target.dtype)?.to_device(&target.device)?))
}

fn run(
    init: &Spec,
    config: &MlpConfig,
    inputs: &Tensor,
    one_hot: &Tensor,
    args: &Args,
    target: &Target,
    bar: &indicatif::ProgressBar,
) -> Result<Run> {
    let map = InitMap::new(args.common.seed).with_default_init(init.initializer.clone());
    let mlp = Mlp::new(config, map.var_builder(target.dtype, &target.device))?;
    let mut run = Run { init: init.text.clone(), loss: Vec::new(), spread: Vec::new(), accuracy: 0.0 };
    let objective = || Loss::CrossEntropy.forward(&mlp.forward(inputs)?, one_hot);
    let mut optimizer = SGD::new(map.vars(), args.learning_rate)?;
    fit(&mut optimizer, args.steps, objective, |step, loss| {
        if !loss.is_finite() {
            bail!("the training diverged: the loss is {loss} at step {step}; take a smaller --learning-rate");
        }
        run.loss.push(loss);
        run.spread.push(spread(&mlp)?);
        bar.inc(1);
        Ok(())
    })?;
    let right = mlp.forward(inputs)?.argmax(D::Minus1)?.eq(&one_hot.argmax(D::Minus1)?)?;
    run.accuracy = right.to_dtype(DType::F64)?.mean_all()?.to_scalar()?;
    Ok(run)
}

/// Returns how much the hidden units differ: the largest difference of a weight into or out of any unit from
/// the first unit's. Zero means that all units are equal to the bit.
fn spread(mlp: &Mlp) -> candle_core::Result<f64> {
    let mut largest: f64 = 0.0;
    for (layer, dim) in mlp.layers().zip([0, 1]) {
        let weight = layer.weight();
        let difference = weight.broadcast_sub(&weight.narrow(dim, 0, 1)?)?;
        largest = largest.max(difference.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar()?);
    }
    Ok(largest)
}
