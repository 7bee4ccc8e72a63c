//! Shows every layer's outputs and gradients, for several initializers.

mod advice;
mod picture;
mod ranking;
mod report;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use wick_bins::allocator::Allocator;
use wick_bins::args::{Common, Float, Layers, Spec, Target};
use wick_bins::cli::usage;
use wick_bins::data::{Data, DataOptions, name_of, tensor};
use wick_bins::names::shown;
use wick_bins::values::{number, whole, within};
use wick_bins::{cli, memory, progress};
use wick_init::{InitMap, Initializer, KeyedV1, Rule};
use wick_model::{Activation, Mlp, MlpConfig};
use wick_probe::{LayerReport, Probe};
use wick_theory::{BatchGeometry, LayerLaw, finite_width, write_number};

use ranking::Ranking;
use report::{Experiment, LayerStats, Run};

/// Sends data through a deep net and shows every layer's outputs and gradients, for several initializers. The
/// default is the lecture's experiment: 2000 samples of 800 features through ten tanh layers.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// Samples of the random input, or rows to take from the data [default: 2000, or all]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    samples: Option<usize>,
    /// Features of the random input [default: 800]
    #[arg(long, value_name = "N", conflicts_with = "data", value_parser = whole::<usize>)]
    features: Option<usize>,
    /// Outputs of each layer; 128x30 for thirty layers of 128 [default:
    /// 750,700,650,600,550,500,450,400,350,300]
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', hide_default_value = true,
        default_values = ["750", "700", "650", "600", "550", "500", "450", "400", "350", "300"])]
    widths: Vec<Layers>,
    /// The activation of each layer: tanh, relu, gelu, … in any case (an unknown name lists them)
    #[arg(long, value_name = "NAME", default_value = "tanh")]
    activation: Activation,
    /// The initializer of the weights, `name` or `name:key=value,…`, where a value can be a formula as
    /// sqrt(2); repeat it for more runs (an unknown name lists them) [default: normal:std=0.01 and
    /// normal:std=1 and xavier_normal]
    #[arg(long, value_name = "SPEC", hide_default_value = true,
        default_values = ["normal:std=0.01", "normal:std=1", "xavier_normal"])]
    init: Vec<Spec>,
    /// The standard deviation of the normal biases; 0 for layers without biases
    #[arg(long, value_name = "SIGMA", default_value_t = 0.0, value_parser = number, allow_hyphen_values = true)]
    bias_std: f64,
    /// Data instead of the random input: `digits`, a .csv, .tsv, .npy, .safetensors or IDX file (as MNIST's, with
    /// or without gzip), or - for a CSV on stdin
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Shift and scale each of the data's columns to mean 0 and standard deviation 1
    #[arg(long, requires = "data")]
    standardize: bool,
    #[command(flatten)]
    options: DataOptions,
    /// Seeds from --seed on; with more than one, a ranking of the initializers over all of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = within(1, 1000))]
    seeds: u16,
    /// Bins of each histogram
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = within(1, 1000))]
    bins: u16,
    #[command(flatten)]
    common: Common,
}

const EXAMPLE: &str = "\
Examples:
  layer-stats
  layer-stats --activation relu --init xavier_normal --init kaiming_normal
  layer-stats --init normal:variance=0.01 --init uniform:bound=0.1 --format csv
  layer-stats --activation gelu --init lecun_normal:gain=1.408 --bias-std 0.416
  layer-stats --activation relu --init kaiming_normal --init 'orthogonal:gain=sqrt(2)' --widths 128x30 --seeds 10
  layer-stats --data digits --standardize --widths 64x3,10 --format json
  layer-stats --data iris.csv --label species --drop id --standardize --widths 16x3";

/// Theory's bands take about 10 ms a layer, and a longer table is of no use.
const MOST_LAYERS: usize = 2000;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    cli::run(layer_stats)
}

fn layer_stats(args: Args) -> Result<()> {
    let widths = widths(&args)?;
    if !(args.bias_std >= 0.0 && args.bias_std.is_finite()) {
        return Err(usage(format!(
            "--bias-std is {}, and must be finite and not negative",
            write_number(args.bias_std)
        )));
    }
    check_options(&args)?;
    let place = args.common.target(Float::F32)?;
    let data = read_data(&args, place.dtype)?;
    let (samples, features) = match &data {
        Some(data) => (data.matrix.rows, data.matrix.columns),
        None => (args.samples.unwrap_or(2000), args.features.unwrap_or(800)),
    };
    let config = MlpConfig::new(features, widths, args.activation).with_bias(args.bias_std > 0.0);
    check_memory(samples, &config, &place)?;
    let judged = config.widths.iter().filter(|&&width| has_a_scale(samples, width)).count();
    if args.seeds > 1 && judged < 2 {
        return Err(usage(format!(
            "--seeds ranks by the layers' std, and {judged} of {} layers have enough outputs for one: take more \
             --samples or larger --widths",
            config.widths.len()
        )));
    }
    args.common.check_out()?;

    let source = &name_of(args.data.as_deref().unwrap_or_default());
    let given = data.as_ref().map(|data| tensor(&data.matrix, &place).with_context(|| format!("'{source}'")));
    let given = given.transpose()?;
    let advice =
        data.as_ref().and_then(|data| advice::standardize_first(&data.matrix, source, args.standardize));
    let seeds: Vec<u64> =
        (0..u64::from(args.seeds)).map(|step| args.common.seed.saturating_add(step)).collect();
    let bar = progress::bar(args.init.len() * seeds.len(), "layer-stats");
    let mut runs = Vec::new();
    let mut outcomes = vec![Vec::new(); args.init.len()];
    for &seed in &seeds {
        let input = match &given {
            Some(input) => input.clone(),
            None => normal(seed, &place, "layer-stats/input", (samples, features))?,
        };
        let batch = batch_of(&input)?;
        for (spec, outcomes) in args.init.iter().zip(&mut outcomes) {
            bar.set_message(spec.text.clone());
            let is_shown = seed == args.common.seed;
            let net = Net { spec, config: &config, seed, with_bands: is_shown, advice: advice.as_deref() };
            let run = net.run((&input, &batch), &args, &place).with_context(|| spec.text.clone())?;
            outcomes.push(run.outcome());
            if is_shown {
                runs.push(run);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();

    let experiment = Experiment {
        samples,
        features,
        activation: args.activation,
        bias_std: args.bias_std,
        dtype: place.dtype.as_str(),
        device: place.name.clone(),
        seed: args.common.seed,
        data: args.data.clone().unwrap_or_else(|| "normal".into()),
        left_out_columns: data.as_ref().map(|data| data.left_out_columns.clone()).unwrap_or_default(),
        left_out: data.map(|data| data.left_out).unwrap_or_default(),
        standardized: args.standardize,
    };
    let starts = args.init.iter().map(|spec| spec.text.clone()).zip(outcomes).collect();
    let ranking = if seeds.len() > 1 { Some(Ranking::new(seeds, starts)?) } else { None };
    let report = LayerStats { experiment, runs, ranking };
    args.common.finish("layer-stats", &report, || picture::render(&report))
}

/// The outputs of each layer. Their number is known before they are written out.
fn widths(args: &Args) -> Result<Vec<usize>> {
    let is_empty = |layers: &Layers| layers.width == 0 || layers.count == 0;
    if args.widths.iter().any(is_empty) || args.features == Some(0) || args.samples == Some(0) {
        return Err(usage("a size is zero: --widths, --features and --samples are 1 or more"));
    }
    let layers = args.widths.iter().fold(0usize, |sum, layers| sum.saturating_add(layers.count));
    if layers > MOST_LAYERS {
        return Err(usage(format!("--widths names {layers} layers; name {MOST_LAYERS} at most")));
    }
    if layers < 2 && args.seeds > 1 {
        return Err(usage("--seeds ranks by what layers do to signals; name two --widths or more"));
    }
    Ok(args.widths.iter().flat_map(|layers| std::iter::repeat_n(layers.width, layers.count)).collect())
}

/// Refuses what has no effect, or two meanings.
fn check_options(args: &Args) -> Result<()> {
    let useless = args.options.first_given().filter(|_| args.data.is_none());
    if let Some(option) = useless {
        return Err(usage(format!("{option} is about data: give some with --data, or leave it out")));
    }
    let mut texts = BTreeSet::new();
    if let Some(twice) = args.init.iter().find(|spec| !texts.insert(&spec.text)) {
        return Err(usage(format!("--init {} is given twice", shown(&twice.text))));
    }
    if args.common.seed.checked_add(u64::from(args.seeds) - 1).is_none() {
        return Err(usage(format!("--seeds goes beyond the last seed, {}: take a smaller --seed", u64::MAX)));
    }
    Ok(())
}

/// Whether a layer has enough outputs to judge their scale.
fn has_a_scale(samples: usize, width: usize) -> bool {
    let mut layer = LayerReport::new("", 0.0, 0.0);
    layer.numbers = Some(samples.saturating_mul(width) as u64);
    layer.has_a_scale()
}

/// One way to start the weights, with one seed.
struct Net<'a> {
    spec: &'a Spec,
    config: &'a MlpConfig,
    seed: u64,
    /// Whether theory's bands are wanted.
    with_bands: bool,
    /// What to do about the data before anything else.
    advice: Option<&'a str>,
}

impl Net<'_> {
    /// The forward pass, then the gradients of `J = Σ g⊙o`.
    fn run(&self, (input, batch): (&Tensor, &BatchGeometry), args: &Args, place: &Target) -> Result<Run> {
        let Self { spec, config, seed, .. } = *self;
        let map = InitMap::new(seed)
            .with_rules([Rule::draw("*.bias", Initializer::normal(args.bias_std))?])
            .with_default_init(spec.initializer.clone());
        let mlp = Mlp::new(config, map.var_builder(place.dtype, &place.device))?;
        let laws = laws(spec, config, args.bias_std)?;
        let probe = Probe::new().with_bins(args.bins.into()).with_output_units();
        let probe = laws
            .iter()
            .flatten()
            .enumerate()
            .fold(probe, |probe, (index, law)| probe.with_law(format!("layer_{index}"), *law));
        let tape = mlp.tape(input, |layer| Some(probe.observer(layer)))?;
        let cotangent = normal(seed, place, "layer-stats/cotangent", tape.output().dims2()?)?;
        tape.backward(&(tape.output() * &cotangent)?.sum_all()?)?;
        let bands = match &laws {
            Some(laws) if self.with_bands => Some(finite_width(laws, batch, &batch_of(&cotangent)?)),
            _ => None,
        };
        Ok(Run::new(&spec.text, (config, batch), &probe, bands.as_deref(), self.advice))
    }
}

/// The laws from which the layers' weights are drawn; `None` for weights of a structure that theory does not
/// cover.
fn laws(spec: &Spec, config: &MlpConfig, bias_std: f64) -> Result<Option<Vec<LayerLaw<Activation>>>> {
    let laws = config.layers().map(|(fan_in, fan_out)| {
        let law = spec.initializer.weight_law(&[fan_out, fan_in])?;
        Ok(law.map(|law| LayerLaw {
            fan_in,
            fan_out,
            weight_variance: law.variance,
            bias_variance: bias_std * bias_std,
            orthogonal: law.orthogonal,
            phi: config.activation,
        }))
    });
    laws.collect()
}

/// What a net's predictions take from a tensor `[samples, features]`.
fn batch_of(xs: &Tensor) -> Result<BatchGeometry> {
    let values = xs.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(BatchGeometry::of(&values, xs.dim(1)?))
}

/// Standard normal numbers, whose place in the program is their name.
fn normal(seed: u64, place: &Target, name: &str, shape: (usize, usize)) -> Result<Tensor> {
    let key = KeyedV1::new(seed).key(name);
    Ok(Initializer::normal(1.0).tensor(key, shape, place.dtype, &place.device)?)
}

fn read_data(args: &Args, dtype: DType) -> Result<Option<Data>> {
    let Some(source) = &args.data else { return Ok(None) };
    let data = Data::load(source, args.samples, &args.options)?;
    let source = &name_of(source);
    let data = if args.standardize { advice::standardize(data, source) } else { data };
    advice::warn_of_lost_columns(&data, dtype, source, args.standardize);
    Ok(Some(data))
}

/// Refuses sizes that exceed the memory. The backward pass holds each layer's pre-activation, output, tapped
/// output and gradient, and each weight with its gradient. Theory reads copies of the input and of the last
/// gradient, 24 bytes a number.
fn check_memory(samples: usize, config: &MlpConfig, place: &Target) -> Result<()> {
    const COPIES: f64 = 24.0;
    let remedy = "ask for fewer --samples, --features or --widths";
    let (samples, features) = (samples as f64, config.features as f64);
    let units: f64 = config.widths.iter().map(|&width| width as f64).sum();
    let weights: f64 = config.layers().map(|(inputs, outputs)| inputs as f64 * outputs as f64).sum();
    let numbers = samples * (features + 4.0 * units) + 2.0 * weights;
    let last = config.widths.last().map_or(0.0, |&width| width as f64);
    let copies = COPIES * samples * features.max(last);
    if place.device.is_cpu() {
        let bytes = place.dtype.size_in_bytes();
        memory::check(numbers + copies / bytes as f64, bytes, remedy)
    } else {
        memory::check(copies, 1, remedy)?;
        place.check_memory(numbers, remedy)
    }
}
