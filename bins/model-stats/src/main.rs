//! Shows the layers of an unmodified model of candle-transformers, and what its loss cannot train.

mod advice;
mod data;
mod guarded;
mod input;
mod layers;
mod look;
mod objective;
mod options;
mod picture;
mod preflight;
mod recorder;
mod report;

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;
use wick_bins::allocator::Allocator;
use wick_bins::args::Float;
use wick_bins::cli;
use wick_bins::cli::usage;
use wick_model_stats::{Architecture, ConfigError, architecture, architecture_of};

use options::Args;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(model_stats)
}

fn model_stats(args: Args) -> Result<()> {
    args.start.check()?;
    args.data.check()?;
    let row = architecture(args.model).ok_or_else(|| usage(format!("no row for --model {}", args.model)))?;
    let (config, name) = config(&args, &row)?;
    let net = row.read(&config).map_err(|error| usage(format!("'{name}': {error}{}", meant(&error))))?;
    input::check(&args, &row, net.takes)?;
    let target = args.common.target(Float::F32)?;
    args.common.check_out()?;
    let report = look::look(&args, &row, &net, &name, &target)?;
    args.common.finish("model-stats", &report, || picture::render(&report))
}

/// The config and its name.
fn config(args: &Args, row: &Architecture) -> Result<(Value, String)> {
    let Some(path) = &args.config else {
        return Ok((row.small().context("the built-in config")?, "small".to_owned()));
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read '{name}'"))?;
    let config =
        serde_json::from_str(&text).map_err(|error| usage(format!("'{name}' is no JSON: {error}")))?;
    Ok((config, name))
}

/// The row that reads a config of another architecture.
fn meant(error: &ConfigError) -> String {
    let ConfigError::Other { found, .. } = error else { return String::new() };
    architecture_of(found).map(|row| format!(": use --model {}", row.name)).unwrap_or_default()
}
