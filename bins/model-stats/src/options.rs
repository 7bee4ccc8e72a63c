//! The options.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use wick_bins::args::Common;
use wick_bins::names::shown;
use wick_bins::values::whole;
use wick_bins::weights::WeightOptions;
use wick_model_stats::architectures;
use wick_theory::did_you_mean;

use crate::data::DataOptions;

/// Builds a model of candle-transformers as it is, runs it once, and shows every layer that has parameters: whether
/// the loss reaches it, what it puts out, its gradient; and what cannot train, by which operation, and what to use
/// instead. The loss is the mean square of the outputs, or with --data that of the labels.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The architecture (an unknown name lists them)
    #[arg(long, value_name = "NAME", value_parser = known)]
    pub(crate) model: &'static str,
    /// The model's config, as the hub has it: config.json of transformers, or of timm for the models of images
    /// [default: the small one]
    #[arg(long, value_name = "FILE.json", conflicts_with = "small")]
    pub(crate) config: Option<PathBuf>,
    /// Take the built-in config, which is small where the architecture has sizes; it is the default
    #[arg(long)]
    pub(crate) small: bool,
    #[command(flatten)]
    pub(crate) start: WeightOptions,
    /// Load the weights that these files have, and draw the rest
    #[arg(long, value_name = "FILE.safetensors", num_args = 1..)]
    pub(crate) weights: Vec<PathBuf>,
    /// The tokens of a sample, as 1,2,3; give it again for another sample, of the same length
    #[arg(long, value_name = "N,N,…", conflicts_with_all = ["images", "batch", "length"])]
    pub(crate) tokens: Vec<Tokens>,
    /// Draw N images of this height and width
    #[arg(long, value_name = "NxSIZE", conflicts_with_all = ["batch", "length"])]
    pub(crate) images: Option<Images>,
    /// Draw this many samples [default: 1 to 3, as the architecture has it]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(crate) batch: Option<usize>,
    /// Draw this many tokens for each sample [default: 6; 1 for mamba]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub(crate) length: Option<usize>,
    /// Compare the gradient with the loss along it, by four more forward passes
    #[arg(long)]
    pub(crate) check_gradient: bool,
    /// Run the checks before a training too, on the labels of --data or on targets that are drawn: the loss at the
    /// start, samples that leak, layers out of their bands, a first step, a batch that cannot be learnt by heart
    #[arg(long)]
    pub(crate) preflight: bool,
    #[command(flatten)]
    pub(crate) data: DataOptions,
    #[command(flatten)]
    pub(crate) common: Common,
}

const EXAMPLE: &str = "\
Examples:
  model-stats --model gemma
  model-stats --model vit --check-gradient
  model-stats --model llama --config config.json --weights model.safetensors --tokens 1,15043,3186
  model-stats --model resnet18 --images 8x64 --init kaiming_normal
  model-stats --model resnet18 --data digits --batch 16 --preflight
  model-stats --model bert --preset torch --batch 4 --length 16 --format json

Without --init, --rules and --preset, weights are lecun_normal. --init draws tensors of two or more dimensions; the
gains of norms are 1, and biases start as their layers have it. The depth of a preset is that of the model.";

/// The tokens of one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens(pub(crate) Vec<u32>);

impl FromStr for Tokens {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let token = |text: &str| whole::<u32>(text).map_err(|_| "write tokens as 1,2,3");
        Ok(Self(text.split(',').map(token).collect::<Result<_, _>>()?))
    }
}

/// How many images, and of what height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Images {
    pub(crate) count: usize,
    pub(crate) size: usize,
}

impl FromStr for Images {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write COUNTxSIZE as 8x64";
        let (count, size) = text.split_once(['x', 'X', '×']).ok_or(FORM)?;
        let number = |text: &str| whole(text).map_err(|_| FORM);
        Ok(Self { count: number(count)?, size: number(size)? })
    }
}

/// The architecture of this name, in any case, with hyphens or without.
fn known(text: &str) -> Result<&'static str, String> {
    let letters = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let names: Vec<&'static str> = architectures().iter().map(|row| row.name).collect();
    let found = names.iter().find(|name| letters(name) == letters(text)).copied();
    found.ok_or_else(|| {
        let meant = did_you_mean(text, names.iter().copied());
        format!("no architecture '{}'{meant}; known: {}", shown(text), names.join(", "))
    })
}
