//! Draws the initial weights of a model into a safetensors file.

mod report;
mod rules;
mod tensors;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use clap::{Parser, ValueEnum};
use wick::args::{Float, Spec};
use wick::failure::usage;
use wick::output::Format;
use wick::{failure, files, memory, output};
use wick_init::{InitMap, Rule, presets};

use report::InitWeights;
use tensors::Wanted;

/// Draws initial weights for tensors named on the command line, or for those of another file, by an initializer,
/// by rules, or by a preset; writes them to a safetensors file and prints what each tensor got. With
/// --stream torch, and the tensors named in the order in which PyTorch constructs them, the file holds what PyTorch
/// draws.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// A tensor to draw; give it again for another. They are drawn in this order
    #[arg(long, value_name = "NAME=800x750", conflicts_with = "like")]
    shape: Vec<Wanted>,
    /// Draw tensors of the names, shapes and order of those in this file
    #[arg(long, value_name = "FILE.safetensors")]
    like: Option<PathBuf>,
    /// How every tensor starts, `name` or `name:key=value,…` (an unknown name lists them)
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["rules", "preset"])]
    init: Option<Spec>,
    /// Rules by name and shape, as TOML
    #[arg(long, value_name = "FILE.toml", conflicts_with = "preset")]
    rules: Option<PathBuf>,
    /// Rules of a library or a model: torch, keras, gpt2, llama, t-fixup or mup
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// The model's depth, for gpt2, llama and t-fixup
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    layers: u16,
    /// The width at which the learning rate was tuned, for mup
    #[arg(long, value_name = "N", default_value_t = 256.0, value_parser = width)]
    base_width: f64,
    /// Where the numbers come from
    #[arg(long, value_name = "STREAM", default_value = "keyed")]
    stream: Stream,
    /// Where all random numbers come from; the same seed gives the same bits on every machine
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// The type of the tensors
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Float,
    /// The file to write; without it, the tensors are drawn and told about only
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// What the manifest on stdout looks like
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

const EXAMPLE: &str = "\
Examples:
  init-weights --shape fc.weight=750x800 --shape fc.bias=750 --preset torch --out weights.safetensors
  init-weights --like model.safetensors --preset gpt2 --layers 12 --out fresh.safetensors
  init-weights --shape w=30x20 --init torch.linear --stream torch --seed 2024 --out torch.safetensors

A rules file, of which the first rule that matches a tensor holds:
  strict = true
  [[rule]]
  pattern = \"**.weight [*, *]\"
  init = \"xavier_normal\"          # a SPEC, or \"torch.bias\": U(±1/√fan_in) of the weight beside it
  [[rule]]
  pattern = \"**.qkv.weight\"
  init = \"xavier_uniform\"
  parts = 3                        # or groups = N, or embedding = true: what the dimensions mean";

/// Where the numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// Each tensor's own stream, keyed by the seed and its name
    Keyed,
    /// PyTorch's CPU generator, tensor after tensor
    Torch,
}

fn main() -> ExitCode {
    failure::run(init_weights)
}

fn init_weights(args: Args) -> Result<()> {
    if args.like.is_some() && args.stream == Stream::Torch {
        return Err(usage(
            "--stream torch draws in the order of construction, which a safetensors file does not keep: name the \
             tensors in that order with --shape",
        ));
    }
    let wanted = match &args.like {
        Some(path) => tensors::of_file(path)?,
        None if args.shape.is_empty() => {
            return Err(usage("no tensors: name some with --shape NAME=800x750, or a file with --like"));
        }
        None => args.shape.clone(),
    };
    tensors::check_names(&wanted)?;
    let dtype = DType::from(args.dtype);
    // Each tensor and its place in the file; and, while one is drawn, up to four times that in f64 (a decomposition).
    let numbers: f64 = wanted.iter().map(Wanted::numbers).sum();
    let largest = wanted.iter().map(Wanted::numbers).fold(0.0, f64::max);
    let bytes = 2.0 * numbers * dtype.size_in_bytes() as f64 + 32.0 * largest;
    memory::check(bytes, 1, "ask for smaller tensors")?;

    let shapes = wanted.iter().map(|wanted| (wanted.name.clone(), wanted.shape.clone()));
    let map = with_rules(InitMap::new(args.seed), &args)?.with_shapes(shapes);
    let map = match args.stream {
        Stream::Keyed => map,
        Stream::Torch => map.with_torch(args.seed),
    };
    let vb = map.var_builder(dtype, &Device::Cpu);
    for Wanted { name, shape } in &wanted {
        vb.get(shape.as_slice(), name)?;
    }
    for pattern in map.unmet_rules().into_iter().filter(|_| args.rules.is_some()) {
        eprintln!("warning: no tensor met the rule '{pattern}' first");
    }
    let manifest = map.manifest()?;
    if let Some(path) = &args.out {
        files::write(path, &tensors::serialized(&map)?)?;
    }
    output::print(&InitWeights { manifest }, args.format)
}

/// A width: finite and above 0.
fn width(text: &str) -> Result<f64, &'static str> {
    let width = text.parse().ok().filter(|width: &f64| width.is_finite() && *width > 0.0);
    width.ok_or("a width is a finite number above 0")
}

/// What of `--init`, `--rules` and `--preset` there is, as rules.
fn with_rules(map: InitMap, args: &Args) -> Result<InitMap> {
    if let Some(spec) = &args.init {
        let all = Rule::draw("**", spec.initializer.clone())?;
        return Ok(map.with_rules([all]).strict());
    }
    if let Some(path) = &args.rules {
        return rules::read(path).map(|rules| rules.apply(map));
    }
    let Some(name) = &args.preset else {
        return Err(usage("say how the tensors start: --init SPEC, --rules FILE or --preset NAME"));
    };
    let rules = presets::by_name(name, args.layers.into(), args.base_width)
        .ok_or_else(|| usage(format!("unknown preset '{name}'; known: {}", presets::NAMES.join(", "))))?;
    Ok(map.with_rules(rules.context("a preset's own rules cannot be read")?))
}
