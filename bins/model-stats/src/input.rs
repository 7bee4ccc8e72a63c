//! The input: tokens or images, given or drawn.

use anyhow::Result;
use candle_core::{DType, Tensor};
use serde::Serialize;
use wick_bins::args::Target;
use wick_bins::cli::usage;
use wick_init::{Initializer, KeyedV1};
use wick_model_stats::{Architecture, Takes};
use wick_probe::BatchGeometry;

use crate::data::{self, Samples};
use crate::objective::Objective;
use crate::options::{Args, Images};

/// What the input was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Input {
    pub(crate) kind: &'static str,
    /// `[batch, length]` or `[batch, channels, height, width]`.
    pub(crate) shape: Vec<usize>,
    pub(crate) drawn: bool,
}

/// Refuses an input that the model does not take.
pub(crate) fn check(args: &Args, row: &Architecture, takes: Takes) -> Result<()> {
    let (name, shape) = (row.name, shape(args, row, takes));
    if let Some(index) = shape.iter().position(|size| *size == 0) {
        let what = if index == 0 { "samples" } else { "tokens or pixels" };
        return Err(usage(format!("the input has 0 {what}, and must have 1 or more")));
    }
    match takes {
        Takes::Tokens { .. } if args.data.data.is_some() => {
            Err(usage(format!("{name} takes tokens: give --tokens, or --batch and --length, for --data")))
        }
        Takes::Images { .. } if args.data.data.is_some() => Ok(()),
        Takes::Tokens { .. } if args.images.is_some() => {
            Err(usage(format!("{name} takes tokens: give --tokens, or --batch and --length, for --images")))
        }
        Takes::Images { .. } if !args.tokens.is_empty() || args.length.is_some() => {
            Err(usage(format!("{name} takes images: give --images NxSIZE for --tokens or --length")))
        }
        Takes::Tokens { vocabulary, longest } => {
            let lengths = || args.tokens.iter().map(|tokens| tokens.0.len());
            if let Some(other) = lengths().find(|length| *length != shape[1]) {
                return Err(usage(format!(
                    "--tokens has samples of {} and of {other} tokens: give all the same length",
                    shape[1]
                )));
            }
            if let Some(longest) = longest.filter(|longest| shape[1] > *longest) {
                return Err(usage(format!(
                    "the input has {} tokens, and the config takes {longest} at most",
                    shape[1]
                )));
            }
            let tokens = || args.tokens.iter().flat_map(|tokens| &tokens.0);
            match tokens().find(|token| **token as usize >= vocabulary) {
                Some(token) => Err(usage(format!(
                    "--tokens has {token}, and the config has {vocabulary} tokens, from 0 on"
                ))),
                None => Ok(()),
            }
        }
        Takes::Images { size, is_fixed, .. } if is_fixed && shape[2] != size => {
            Err(usage(format!("--images has size {}, and {name} takes {size} alone", shape[2])))
        }
        Takes::Images { .. } => Ok(()),
    }
}

fn shape(args: &Args, row: &Architecture, takes: Takes) -> Vec<usize> {
    let batch = args.batch.unwrap_or(row.batch);
    match (takes, args.images, args.tokens.first()) {
        (Takes::Tokens { .. }, _, Some(first)) => vec![args.tokens.len(), first.0.len()],
        (Takes::Tokens { longest, .. }, ..) => {
            let length = row.length.min(longest.unwrap_or(usize::MAX));
            vec![batch, args.length.unwrap_or(length)]
        }
        (Takes::Images { channels, .. }, Some(Images { count, size }), _) => {
            vec![count, channels, size, size]
        }
        (Takes::Images { channels, size, .. }, ..) => vec![batch, channels, size, size],
    }
}

/// What a model is run on.
pub(crate) struct Run {
    pub(crate) xs: Tensor,
    pub(crate) objective: Objective,
    pub(crate) input: Input,
    pub(crate) geometry: BatchGeometry,
}

/// Makes the input. Images that are drawn are of standard normal numbers, tokens uniform.
pub(crate) fn make(args: &Args, row: &Architecture, takes: Takes, target: &Target) -> Result<Run> {
    if let (Takes::Images { channels, size, is_fixed }, Some(source)) = (takes, &args.data.data) {
        let batch = args.batch.unwrap_or(row.batch);
        let Samples { images, objective } =
            args.data.load(source, (batch, channels), args.common.seed, target)?;
        let shape = images.dims().to_vec();
        if is_fixed && shape[2..] != [size, size] {
            return Err(usage(format!(
                "{} takes images of {size} x {size} pixels, and those of --data have {} x {}",
                row.name, shape[2], shape[3]
            )));
        }
        let geometry = BatchGeometry::of(&data::numbers(&images)?, shape[1..].iter().product());
        return Ok(Run {
            xs: images,
            objective,
            input: Input { kind: "images", shape, drawn: false },
            geometry,
        });
    }
    let shape = shape(args, row, takes);
    let key = KeyedV1::new(args.common.seed).key("model-stats input");
    let numbers: f64 = shape.iter().map(|size| *size as f64).product();
    target.check_memory(numbers, "ask for fewer or smaller samples")?;
    Ok(match takes {
        Takes::Tokens { vocabulary, .. } => {
            let given = args.tokens.iter().flat_map(|tokens| tokens.0.iter().copied());
            let tokens = if args.tokens.is_empty() {
                let cpu = candle_core::Device::Cpu;
                let drawn = Initializer::uniform(0.5).tensor(key, shape.as_slice(), DType::F64, &cpu)?;
                let token = |x: f64| (((x + 0.5) * vocabulary as f64) as usize).min(vocabulary.max(1) - 1);
                drawn.flatten_all()?.to_vec1::<f64>()?.into_iter().map(|x| token(x) as u32).collect()
            } else {
                given.collect::<Vec<u32>>()
            };
            let tensor = Tensor::from_vec(tokens, shape.as_slice(), &target.device)?;
            let geometry = BatchGeometry::normal(shape.iter().product(), vocabulary.max(1), 1.0);
            let input = Input { kind: "tokens", shape, drawn: args.tokens.is_empty() };
            Run { xs: tensor, objective: Objective::MeanSquare, input, geometry }
        }
        Takes::Images { .. } => {
            let images =
                Initializer::normal(1.0).tensor(key, shape.as_slice(), target.dtype, &target.device)?;
            let values = data::numbers(&images)?;
            let geometry = BatchGeometry::of(&values, shape[1..].iter().product());
            let input = Input { kind: "images", shape, drawn: true };
            Run { xs: images, objective: Objective::MeanSquare, input, geometry }
        }
    })
}
