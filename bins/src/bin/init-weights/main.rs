//! Draws the initial weights of a model into a safetensors file.

mod report;
mod shard_size;
mod stale;
mod tensors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::DType;
use clap::{Parser, ValueEnum};
use wick_bins::allocator::Allocator;
use wick_bins::args::Float;
use wick_bins::cli::usage;
use wick_bins::names::{on_one_line, shown};
use wick_bins::output::Format;
use wick_bins::values::whole;
use wick_bins::warning::warn;
use wick_bins::weights::{WeightOptions, rules};
use wick_bins::{cli, memory, output, progress};
use wick_init::{InitMap, Manifest, Rule, TensorFile, WantedTensor, presets};

use report::InitWeights;
use shard_size::ShardSize;
use tensors::Wanted;

/// Draws initial weights for tensors named on the command line, or for those of another file, by an initializer,
/// by rules, or by a preset; writes them to a safetensors file, or to several with --shard-size, one tensor at a
/// time, and prints what each tensor got. With
/// --stream torch, and the tensors named in the order in which PyTorch constructs them, the file holds what PyTorch
/// draws; with --stream jax and Flax's names, what Flax draws.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// A tensor to draw; give it again for another. They are drawn in this order
    #[arg(long, value_name = "NAME=800x750", conflicts_with = "like")]
    shape: Vec<Wanted>,
    /// Draw tensors of the names, shapes, types and order of those in this file, with its metadata
    #[arg(long, value_name = "FILE.safetensors")]
    like: Option<PathBuf>,
    #[command(flatten)]
    start: WeightOptions,
    /// Print the rules as a file that --rules reads, and draw nothing
    #[arg(long, conflicts_with_all = ["shape", "like", "out"])]
    print_rules: bool,
    /// Where the numbers come from
    #[arg(long, value_name = "STREAM", default_value = "keyed", ignore_case = true)]
    stream: Stream,
    /// Where all random numbers come from; the same seed gives the same bits on every machine
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = whole::<u64>)]
    seed: u64,
    /// A text that the file says about itself, as format=pt, which some loaders ask for; give it again for another.
    /// Those of the --like file are kept
    #[arg(long, value_name = "KEY=TEXT", value_parser = metadata)]
    metadata: Vec<(String, String)>,
    /// The type of the tensors; without it f32, or with --like each one's own
    #[arg(long, value_name = "TYPE", ignore_case = true)]
    dtype: Option<Float>,
    /// The file to write, or - for stdout, when the manifest goes to stderr; without it, the tensors are drawn and
    /// told about only
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// Write files of at most this size, as 5GB or 500MB, and their index FILE.safetensors.index.json, as on the hub.
    /// A larger tensor has a file of its own, and if all tensors fit in one file, it is --out without an index
    #[arg(long, value_name = "SIZE", requires = "out")]
    shard_size: Option<ShardSize>,
    /// What the manifest looks like
    #[arg(long, value_name = "FORMAT", default_value = "table", ignore_case = true)]
    format: Format,
}

const EXAMPLE: &str = "\
Examples:
  init-weights --shape fc.weight=750x800 --shape fc.bias=750 --preset torch --out w.safetensors
  init-weights --like model.safetensors --preset gpt2 --layers 12 --out fresh.safetensors
  init-weights --like model.safetensors --preset llama --layers 32 --dtype bf16 --shard-size 5GB \
               --out fresh/model.safetensors
  init-weights --shape w=30x20 --init torch.linear --stream torch --seed 2024 --out w.safetensors
  init-weights --shape Dense_0.kernel=20x30 --shape Dense_0.bias=30 --preset flax --stream jax --out w.safetensors
  init-weights --preset mup --base-width 128 --print-rules > rules.toml

In a rules file, the first rule that matches a tensor holds; a tensor without one is an error:
  [[rule]]
  pattern = \"**.weight [*, *]\"    # by name, by shape, or both
  init = \"xavier_normal\"          # a SPEC, or \"torch.bias\": U(±1/√fan_in) of the weight beside it
  [[rule]]
  pattern = \"**.qkv.weight\"
  init = \"xavier_uniform\"
  parts = 3                       # what the dimensions mean: parts = N, or groups = N, or
                                  # embedding = true, or transposed = true (and groups, stride),
                                  # or in_out = true ([kernel…, in, out], as in JAX and Keras),
                                  # or batched = true ([experts, out, in]; with in_out, [experts, in, out])
  learning_rate = \"256/fan_in\"    # or a number, for the manifest
  layers = 12                     # a tensor of a layer beyond these is an error
In a shape, > and < are a number above and below the one before it: [*, >].
A pattern can be several with \" | \" between them. A name with slashes (bert/pooler/dense/bias) is also matched as if
they were dots.";

/// Where the numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// Each tensor's own stream, keyed by the seed and its name
    Keyed,
    /// PyTorch's CPU generator, tensor after tensor
    Torch,
    /// JAX's key for each tensor, by its name as Flax has it (Dense_0.kernel), whose low 32 bits the seed is
    Jax,
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(init_weights)
}

fn init_weights(args: Args) -> Result<()> {
    if args.print_rules {
        let text = rules::printed(&args.start.all_rules()?)?;
        return output::on_stdout(|out| Ok(out.write_all(text.as_bytes())?))
            .context("cannot write the rules");
    }
    check_options(&args)?;
    if args.like.is_some() && args.stream == Stream::Torch {
        return Err(usage(
            "--stream torch draws in the order of construction, which a safetensors file does not keep: name the \
             tensors in that order with --shape",
        ));
    }
    let like = args.like.as_ref().map(TensorFile::open).transpose()?;
    let wanted = match (&args.like, &like) {
        (Some(path), Some(file)) => {
            tensors::of_file(file).with_context(|| format!("'{}'", path.display()))?
        }
        _ if args.shape.is_empty() => {
            return Err(usage("no tensors: name some with --shape NAME=800x750, or a file with --like"));
        }
        _ => args.shape.clone(),
    };
    tensors::check(&wanted)?;
    let wanted = if args.start.preset.is_some() { tensors::without_buffers(wanted)? } else { wanted };
    let rules = args.start.all_rules()?;
    rules::check(&rules, wanted.iter().map(|wanted| (wanted.name.as_str(), wanted.shape.as_slice())))?;
    let asked = args.dtype.map(DType::from);
    let dtype = |wanted: &Wanted| asked.or(wanted.dtype).unwrap_or(DType::F32);
    let tensors: Vec<WantedTensor> = wanted
        .iter()
        .map(|wanted| WantedTensor::new(&wanted.name, wanted.shape.as_slice(), dtype(wanted)))
        .collect();
    let metadata = like.iter().flat_map(|file| file.metadata().clone()).chain(args.metadata.clone());
    let map = InitMap::new(args.seed).with_rules(rules).strict().with_metadata(metadata);
    let map = match args.stream {
        Stream::Keyed => map,
        Stream::Torch => map.with_torch_rng(args.seed),
        Stream::Jax => map.with_jax_rng(args.seed),
    };
    // Tensors are drawn one at a time, and none is kept.
    memory::check(map.memory_to_draw(&tensors), 1, "ask for smaller tensors")?;
    let bytes = wanted.iter().map(|wanted| wanted.numbers() * dtype(wanted).size_in_bytes() as f64).sum();
    let stdout = Path::new("/dev/stdout");
    let out = args.out.as_deref().map(|path| if path.as_os_str() == "-" { stdout } else { path });
    let manifest = match out {
        Some(path) => written(path, args.shard_size, &map, &tensors, bytes)?,
        None => map.draw_each(&tensors, |_| ())?,
    };
    warn_of_mismatches(&args, &map, &wanted);
    let report = InitWeights { manifest };
    // The manifest must not follow the tensors into one file.
    if out.is_some_and(wick_files::is_stdout) {
        output::print_on_stderr(&report, args.format);
        return Ok(());
    }
    output::print(&report, args.format)
}

/// Draws the tensors, whose bytes are given, into a file or several, with a bar on a terminal.
fn written(
    path: &Path,
    shard_size: Option<ShardSize>,
    map: &InitMap,
    tensors: &[WantedTensor],
    bytes: f64,
) -> Result<Manifest> {
    let is_no_file = std::fs::metadata(path).is_ok_and(|at| !at.is_file()) || wick_files::is_stdout(path);
    if shard_size.is_some() && is_no_file {
        return Err(usage(
            "--shard-size makes files beside --out, which is a folder or a device: name a file",
        ));
    }
    let bar = progress::bytes(bytes as u64, "writing");
    let manifest = map.save_drawn(path, tensors, shard_size.map(|size| size.0), |name, bytes| {
        bar.set_message(on_one_line(name));
        bar.inc(bytes);
    });
    bar.finish_and_clear();
    let manifest = manifest?;
    if !is_no_file {
        stale::warn_of_old_files(path, &InitMap::drawn_files(path, tensors, shard_size.map(|size| size.0))?);
    }
    Ok(manifest)
}

/// Says on stderr what the rules did not meet: all of the user's own, and what a preset needs.
fn warn_of_mismatches(args: &Args, map: &InitMap, wanted: &[Wanted]) {
    args.start.warn_of_unmatched(map);
    let Some(preset) = &args.start.preset else { return };
    // The others scale by no fans.
    if !matches!(preset.as_str(), "gpt2" | "llama" | "gemma" | "convnext" | "lora" | "rwkv7") {
        tensors::warn_of_unknown_layouts(wanted);
    }
    // A file is a whole model, so that its last layer tells the depth.
    let (Some(layers), Some(_), true) = (args.start.layers, &args.like, presets::needs_layers(preset)) else {
        return;
    };
    let last = wanted.iter().filter_map(|wanted| Rule::layer_of(&wanted.name)).max();
    if let Some(found) = last.map(|last| last.saturating_add(1)).filter(|found| *found < layers.into()) {
        warn(&format!(
            "the file has {found} layers and --layers says {layers}: weights are scaled by the latter"
        ));
    }
}

/// Refuses what has no effect, or two meanings.
fn check_options(args: &Args) -> Result<()> {
    args.start.check()?;
    let mut keys = BTreeSet::new();
    if let Some((twice, _)) = args.metadata.iter().find(|(key, _)| !keys.insert(key)) {
        return Err(usage(format!("--metadata {}= is given twice", shown(twice))));
    }
    Ok(())
}

/// A text about a file and its key.
fn metadata(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, text) = pair.ok_or("metadata are given as KEY=TEXT, as format=pt")?;
    Ok((key.to_owned(), text.to_owned()))
}
