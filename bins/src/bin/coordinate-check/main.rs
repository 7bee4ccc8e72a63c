//! The coordinate check: whether what a few steps change grows with a net's width or depth.

mod nets;
mod picture;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float, Target};
use wick_bins::cli::{self, usage};
use wick_bins::threads::with_stack;
use wick_bins::values::{number, spec, whole, within};
use wick_train::{CoordinateCheck, CoordinateTable, OptimizerSpec};

use nets::{Data, Parametrization};
use report::{Checked, CoordinateReport, Experiment};

/// Trains nets of rising width or depth for a few steps, and fits the change of each layer's outputs as a power of it. Where
/// no change grows or fades, the best learning rate of a small net is that of a large one.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// What grows: the width of perceptrons of three hidden layers, or the number of blocks of residual perceptrons
    #[arg(long, value_name = "SIZE", default_value = "width", ignore_case = true)]
    over: Over,
    /// The widths or the numbers of blocks, rising [default: 64,128,256,512, or with --over depth 4,8,16,32,64]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = whole::<usize>)]
    sizes: Vec<usize>,
    /// How weights, learning rates and branches go by the size; repeat it for more. Over the width mup (that of Adam: for
    /// adamw and schedule_free) or standard, over the depth complete_p, root or standard [default: mup, or complete_p, and standard]
    #[arg(long, value_name = "NAME", ignore_case = true)]
    parametrization: Vec<Parametrization>,
    /// Units of a layer of residual nets
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>)]
    units: usize,
    /// The optimizer of the smallest net, `name` or `name:key=value,…`
    #[arg(long, value_name = "SPEC", default_value = "adamw:lr=0.0005,weight_decay=0")]
    optimizer: OptimizerSpec,
    /// Steps before the outputs are looked at again
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<u64>)]
    steps: u64,
    /// Nets of each size, over which the intervals are
    #[arg(long, value_name = "N", default_value = "5", value_parser = within(1, 100))]
    seeds: u16,
    /// An exponent is no growth if it is as near to 0 as this
    #[arg(long, value_name = "X", default_value_t = 0.1, value_parser = number)]
    tolerance: f64,
    #[command(flatten)]
    common: Common,
}

/// A net of more blocks than this is no net that anyone trains.
const MOST_BLOCKS: usize = 10_000;

/// What a net does in a few steps is asked for, and this is no few.
const MOST_STEPS: u64 = 100_000;

/// What grows from net to net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Over {
    /// The width
    Width,
    /// The number of blocks
    Depth,
}

const EXAMPLE: &str = "\
Examples:
  coordinate-check
  coordinate-check --sizes 128,256,512,1024 --seeds 3
  coordinate-check --over depth --parametrization complete_p --parametrization root --parametrization standard";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(coordinate_check)
}

fn coordinate_check(mut args: Args) -> Result<()> {
    if args.sizes.is_empty() {
        args.sizes = match args.over {
            Over::Width => vec![64, 128, 256, 512],
            Over::Depth => vec![4, 8, 16, 32, 64],
        };
    }
    if args.parametrization.is_empty() {
        let right = if args.over == Over::Width { Parametrization::Mup } else { Parametrization::CompleteP };
        args.parametrization = vec![right, Parametrization::Standard];
    }
    let mut known = Vec::new();
    args.parametrization.retain(|how| {
        let is_new = !known.contains(how);
        known.push(*how);
        is_new
    });
    check_options(&args)?;
    let target = args.common.target(Float::F32)?;
    target.check_memory(numbers(&args), "ask for smaller --sizes or fewer --units")?;
    args.common.check_out()?;
    let deepest = args.sizes.last().copied().filter(|_| args.over == Over::Depth).unwrap_or(0);
    let all = || args.parametrization.iter().map(|how| check(&args, *how, &target)).collect();
    let runs: Vec<Checked> = with_stack(deepest, all).and_then(|runs: Result<_>| runs)?;
    let experiment = Experiment {
        over: if args.over == Over::Width { "width" } else { "depth" },
        sizes: args.sizes.clone(),
        units: (args.over == Over::Depth).then_some(args.units),
        optimizer: spec(&args.optimizer),
        steps: args.steps,
        seeds: usize::from(args.seeds),
        tolerance: args.tolerance,
        dtype: target.dtype.as_str(),
        device: target.name.clone(),
        seed: args.common.seed,
    };
    let report = CoordinateReport { experiment, runs };
    args.common.finish("coordinate-check", &report, || picture::render(&report))
}

/// Refuses what has no meaning.
fn check_options(args: &Args) -> Result<()> {
    let is_rising = args.sizes.windows(2).all(|pair| pair[0] < pair[1]);
    if args.sizes.len() < 2 || !is_rising || args.sizes[0] == 0 {
        return Err(usage("--sizes are two or more numbers above 0 in rising order, as 64,128,256"));
    }
    if args.over == Over::Depth && args.sizes.iter().any(|depth| !(2..=MOST_BLOCKS).contains(depth)) {
        return Err(usage(format!(
            "--sizes over the depth are 2 to {MOST_BLOCKS} blocks: a net of one has no branch in front of a norm"
        )));
    }
    if args.units == 0 || args.steps == 0 {
        return Err(usage("--units and --steps are 1 or more"));
    }
    if args.steps > MOST_STEPS {
        return Err(usage(format!("--steps is {}, and a net takes {MOST_STEPS} at most", args.steps)));
    }
    if !(args.tolerance > 0.0 && args.tolerance.is_finite()) {
        return Err(usage("--tolerance is an exponent above 0, as 0.1"));
    }
    if let Some(wrong) = args.parametrization.iter().find(|how| !how.is_for(args.over == Over::Depth)) {
        let (over, known) = match args.over {
            Over::Width => ("width", "mup or standard"),
            Over::Depth => ("depth", "complete_p, root or standard"),
        };
        return Err(usage(format!(
            "--parametrization {} is not one over the {over}: take {known}",
            wrong.name()
        )));
    }
    let is_adam = matches!(args.optimizer, OptimizerSpec::AdamW(_) | OptimizerSpec::ScheduleFree(_));
    if !is_adam && args.parametrization.contains(&Parametrization::Mup) {
        return Err(usage(format!(
            "--parametrization mup has the learning rates of Adam's muP, and --optimizer is {}, whose muP is another: take \
             adamw or schedule_free, or --parametrization standard alone",
            args.optimizer.name()
        )));
    }
    Ok(())
}

/// The numbers that exist at once for the largest net: weights, gradients and the optimizer's state, and signals.
fn numbers(args: &Args) -> f64 {
    let largest = args.sizes.last().copied().unwrap_or(1) as f64;
    match args.over {
        Over::Width => 8.0 * (2.0 * largest * largest + 12.0 * largest),
        Over::Depth => largest * args.units as f64 * (16.0 * args.units as f64 + 200.0),
    }
}

/// Checks one parametrization.
fn check(args: &Args, how: Parametrization, target: &Target) -> Result<Checked> {
    let check = CoordinateCheck::new(args.optimizer.clone()).with_steps(args.steps);
    let seeds: Vec<u64> = (0..u64::from(args.seeds)).map(|run| args.common.seed.wrapping_add(run)).collect();
    let data = Data::new(args.common.seed, target)?;
    let table: CoordinateTable = match args.over {
        Over::Width => {
            let base = args.sizes[0];
            check.run(&args.sizes, &seeds, |width, seed| nets::wide(&data, how, width, base, seed))?
        }
        Over::Depth => {
            let check = check.over_depths();
            check.run(&args.sizes, &seeds, |depth, seed| nets::deep(&data, how, depth, args.units, seed))?
        }
    };
    Ok(Checked::new(how, table, args.tolerance))
}
