//! Order and chaos: where signals and gradients survive depth, by theory and in random nets.

mod measure;
mod merge;
mod options;
mod picture;
mod plane;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float};
use wick_bins::cli::usage;
use wick_bins::values::whole;
use wick_bins::{cli, progress};
use wick_model::Activation;

use options::{Grid, Range, Shard};
use plane::Experiment;
use report::PhaseDiagram;

/// Maps the plane of weight and bias variances for an activation: the critical line, the depth that a signal
/// and a gradient reach, and the same measured in random nets on a grid. Parts of the grid can be computed
/// separately (--shard) and joined (--merge).
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// The activation of each layer: tanh, relu, gelu, … (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "tanh")]
    activation: Activation,
    /// The range of σ_w, the standard deviation of a weight times √fan_in
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, default_value = "0.5,3")]
    sigma_w: Range,
    /// The range of σ_b, the standard deviation of a bias
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, default_value = "0,1")]
    sigma_b: Range,
    /// The number of σ_w and of σ_b to measure
    #[arg(long, value_name = "NxN", default_value = "16x11")]
    grid: Grid,
    /// Units of each layer
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = whole::<usize>)]
    width: usize,
    /// Layers
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = whole::<usize>)]
    depth: usize,
    /// Samples of the random input
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole::<usize>)]
    samples: usize,
    /// Compute part K of N; its cells are those of the whole
    #[arg(long, value_name = "K/N", conflicts_with = "merge")]
    shard: Option<Shard>,
    /// Join the JSON of all parts instead of measuring. Only --format, --out and --no-pictures can be given
    /// with it
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["activation", "sigma_w", "sigma_b", "grid", "width", "depth", "samples", "device", "seed", "dtype"])]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  phase-diagram
  phase-diagram --activation gelu --sigma-w 1,2 --sigma-b 0,0.8
  phase-diagram --shard 1/8 --format json --no-pictures > part-1.json
  phase-diagram --merge part-*.json";

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(phase_diagram)
}

fn phase_diagram(args: Args) -> Result<()> {
    let report = if args.merge.is_empty() {
        measured(&args)?
    } else {
        args.common.check_out()?;
        let (experiment, cells) = merge::merge(&args.merge)?;
        PhaseDiagram::new(experiment, cells, false)?
    };
    args.common.finish("phase-diagram", &report, || picture::render(&report))
}

fn measured(args: &Args) -> Result<PhaseDiagram> {
    if args.width == 0 || args.depth < 4 || args.samples < 2 {
        return Err(usage("too small: --width is 1 or more, --depth 4, and --samples 2"));
    }
    let target = args.common.target(Float::F32)?;
    let (width, depth) = (args.width as f64, args.depth as f64);
    let numbers = depth * (2.0 * width * width + 4.0 * width * args.samples as f64);
    target.check_memory(numbers, "ask for a smaller --width, --depth or --samples")?;
    let experiment = Experiment {
        activation: args.activation.to_string(),
        sigma_w: args.sigma_w.0,
        sigma_b: args.sigma_b.0,
        grid: args.grid.0,
        width: args.width,
        depth: args.depth,
        samples: args.samples,
        dtype: target.dtype.as_str().to_owned(),
        device: target.name.clone(),
        seed: args.common.seed,
    };
    args.common.check_out()?;
    let Shard { index, of } = args.shard.unwrap_or(Shard { index: 0, of: 1 });
    let part: Vec<[usize; 2]> = experiment.cells().skip(index).step_by(of).collect();
    let bar = progress::bar(part.len(), "phase-diagram");
    let mut cells = Vec::with_capacity(part.len());
    for at in part {
        cells.push(measure::cell(&experiment, at, args.activation, &target)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    PhaseDiagram::new(experiment, cells, args.shard.is_some())
}
