//! The nets: perceptrons of a width, and residual perceptrons of a number of blocks.

use candle_core::{DType, Device, Result as CandleResult, Tensor, Var};
use candle_nn::{Linear, Module, VarBuilder, linear_no_bias};
use clap::ValueEnum;
use serde::Serialize;
use wick_bins::args::Target;
use wick_init::{InitMap, Initializer, KeyedV1, Rule};
use wick_kernels::Named;
use wick_layers::{LayerNorm, layer_norm_no_bias};
use wick_train::{Error, Subject};

/// The samples and the features of the batch.
const BATCH: (usize, usize) = (16, 10);

/// The depth at which branches are as they are: that of the paper on CompleteP.
const BASE_DEPTH: f64 = 2.0;

/// How weights, learning rates and branches go by the size. `m` is the width over the smallest one, or the depth over 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Parametrization {
    /// Over the width: Adam's muP, with learning rates of hidden layers and of the output layer, which starts at 0, times 1/m
    Mup,
    /// Over the depth: branches times 1/m, and Adam's ε of their weights times 1/m
    CompleteP,
    /// Over the depth: branches times 1/√m
    Root,
    /// Weights of variance 2/fan_in, one learning rate, branches as they are
    Standard,
}

impl Parametrization {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mup => "mup",
            Self::CompleteP => "complete_p",
            Self::Root => "root",
            Self::Standard => "standard",
        }
    }

    /// Whether it is one over the depth, or over the width.
    pub(crate) fn is_for(self, depth: bool) -> bool {
        match self {
            Self::Mup => !depth,
            Self::CompleteP | Self::Root => depth,
            Self::Standard => true,
        }
    }
}

/// The batch that all nets are trained on.
#[derive(Debug)]
pub(crate) struct Data {
    input: Tensor,
    weights: Tensor,
    dtype: DType,
    device: Device,
}

impl Data {
    pub(crate) fn new(seed: u64, target: &Target) -> CandleResult<Self> {
        let (dtype, device) = (target.dtype, target.device.clone());
        let normal = |name: &str, columns: usize| {
            let key = KeyedV1::new(seed).key(&format!("coordinate-check/{name}"));
            Initializer::normal(1.0).tensor(key, (BATCH.0, columns), dtype, &device)
        };
        Ok(Self { input: normal("input", BATCH.1)?, weights: normal("weights", 1)?, dtype, device })
    }

    /// The loss of a batch of outputs: their mean with random weights, so that its gradient does not depend on their luck at
    /// a size.
    fn loss(&self) -> impl Fn(&Tensor) -> CandleResult<Tensor> + use<> {
        let weights = self.weights.clone();
        move |outputs| (outputs * &weights)?.mean_all()
    }

    fn map(&self, seed: u64, rules: Vec<Rule>) -> InitMap {
        InitMap::new(seed).with_rules(rules).with_default_init(Initializer::kaiming_normal())
    }

    fn builder<'a>(&self, map: &'a InitMap) -> VarBuilder<'a> {
        map.var_builder(self.dtype, &self.device)
    }
}

/// Variables with what is particular to each.
fn named(map: &InitMap, of: impl Fn(Named) -> Named) -> Vec<Named> {
    map.named_vars().into_iter().map(|(name, var): (String, Var)| of(Named::new(&name, var))).collect()
}

/// A perceptron 10-n-n-n-1 with ReLU and without biases.
pub(crate) fn wide(
    data: &Data,
    how: Parametrization,
    width: usize,
    base: usize,
    seed: u64,
) -> Result<Subject<impl FnMut(u64) -> CandleResult<Tensor> + use<>>, Error> {
    let is_mup = how == Parametrization::Mup;
    let head = Rule::draw("head.weight", Initializer::zeros())
        .map_err(|error| Error::Settings(error.to_string()))?;
    let map = data.map(seed, if is_mup { vec![head] } else { Vec::new() });
    let vb = data.builder(&map);
    let layer = |name, inputs, outputs| linear_no_bias(inputs, outputs, vb.pp(name));
    let hidden =
        [layer("input", BATCH.1, width)?, layer("first", width, width)?, layer("second", width, width)?];
    let head = layer("head", width, 1)?;
    let vars = named(&map, |var| {
        let falls = is_mup && !var.name.starts_with("input");
        if falls { var.with_rate(base as f64 / width as f64) } else { var }
    });
    let (input, loss) = (data.input.clone(), data.loss());
    let loss = move |_| {
        let hidden = hidden.iter().try_fold(input.clone(), |h, layer| layer.forward(&h)?.relu())?;
        loss(&head.forward(&hidden)?)
    };
    Ok(Subject { vars, loss })
}

/// A block of a residual net.
struct Block {
    norm: LayerNorm,
    first: Linear,
    second: Linear,
}

impl Block {
    /// `W₂ relu(W₁ norm(h))`.
    fn branch(&self, h: &Tensor) -> CandleResult<Tensor> {
        self.second.forward(&self.first.forward(&self.norm.forward(h)?)?.relu()?)
    }
}

/// A residual perceptron `h ← h + m^-α W₂ relu(W₁ norm(h))` with α of 1 (CompleteP), ½ or 0, where `m` is the depth over
/// 2 (Dey et al. 2025, arXiv 2505.01618, table 1, at one width).
pub(crate) fn deep(
    data: &Data,
    how: Parametrization,
    depth: usize,
    units: usize,
    seed: u64,
) -> Result<Subject<impl FnMut(u64) -> CandleResult<Tensor> + use<>>, Error> {
    let alpha = match how {
        Parametrization::CompleteP => 1.0,
        Parametrization::Root => 0.5,
        Parametrization::Mup | Parametrization::Standard => 0.0,
    };
    let factor = (depth as f64 / BASE_DEPTH).powf(-alpha);
    let map = data.map(seed, Vec::new());
    let vb = data.builder(&map);
    let stem = linear_no_bias(BATCH.1, units, vb.pp("stem"))?;
    let block = |number: usize| {
        let vb = vb.pp(format!("blocks.{number}"));
        Ok(Block {
            norm: layer_norm_no_bias(units, 1e-5, vb.pp("norm"))?,
            first: linear_no_bias(units, units, vb.pp("first"))?,
            second: linear_no_bias(units, units, vb.pp("second"))?,
        })
    };
    let blocks = (0..depth).map(block).collect::<CandleResult<Vec<_>>>()?;
    let head = linear_no_bias(units, 1, vb.pp("head"))?;
    let is_complete = how == Parametrization::CompleteP;
    let vars = named(&map, |var| {
        let is_of_block = is_complete && var.name.starts_with("blocks.");
        if is_of_block { var.with_eps(factor) } else { var }
    });
    let (input, loss) = (data.input.clone(), data.loss());
    let loss = move |_| {
        let start = stem.forward(&input)?;
        let stream = blocks.iter().try_fold(start, |h, block| (block.branch(&h)? * factor)? + h)?;
        loss(&head.forward(&stream)?)
    };
    Ok(Subject { vars, loss })
}
