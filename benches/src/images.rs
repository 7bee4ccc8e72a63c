//! Convolutions, a pool, and steps of candle's MNIST CNN (1 → 32 → 64 channels, 5×5 kernels, batch 64; without its
//! dropout), each beside its twin of candle's own ops.

use std::time::Instant;

use candle_core::{DType, Device, Error, Result, Tensor, Var, bail};
use candle_nn::{Linear, Module, Optimizer, linear};
use wick_init::{InitMap, Initializer};
use wick_kernels::{AdamW, Window, conv2d, dense, max_pool2d};
use wick_layers::Conv2d;
use wick_model::Activation;
use wick_model::loss::Loss;
use wick_train::data::{Classes, InMemory, Standardization, Targets};
use wick_train::{Config, Length, Trainer};

use crate::net::{adamw_params, normal};

type Layer = (&'static str, usize, usize, usize, usize, usize, usize, usize, usize, bool);

/// The layers: name, batch, channels, rows and columns of the image, output channels, kernel, padding, stride, groups,
/// and whether the input wants a gradient.
#[rustfmt::skip] // A row each.
const LAYERS: [Layer; 8] = [
    ("conv_first", 64, 1, 28, 32, 5, 0, 1, 1, false),
    ("conv_second", 64, 32, 12, 64, 5, 0, 1, 1, true),
    ("conv_3x3", 32, 64, 28, 64, 3, 1, 1, 1, true),
    ("conv_3x3_stride", 32, 64, 28, 128, 3, 1, 2, 1, true),
    ("conv_deep", 8, 256, 14, 256, 3, 1, 1, 1, true),
    ("conv_depthwise", 32, 64, 28, 64, 3, 1, 1, 64, true),
    ("conv_depthwise_stride", 32, 64, 28, 64, 3, 1, 2, 64, true),
    ("conv_pointwise", 32, 64, 28, 128, 1, 0, 1, 1, true),
];
/// The pools: name, batch, channels, size, kernel, stride, padding.
const POOLS: [(&str, usize, usize, usize, usize, usize, usize); 2] =
    [("pool_2x2", 64, 32, 24, 2, 2, 0), ("pool_3x3", 32, 64, 28, 3, 2, 1)];
const BATCH: usize = 64;
const IMAGES: usize = 60_000;
/// The steps that are timed together.
const STEPS: u64 = 20;

/// The passes of a layer, as its job's name ends: forward, and forward and backward to the input alone, to the weight
/// alone, and to all that want a gradient.
const PASSES: [&str; 4] = ["_forward", "_input", "_weight", ""];

/// The names of the jobs: a layer's passes; a pool forward and backward; a step of the CNN
/// alone, and through the trainer.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let layers = LAYERS.iter().flat_map(|layer| PASSES.map(|pass| format!("{}{pass}", layer.0)));
    let pools = POOLS.iter().map(|pool| pool.0.to_owned());
    let steps = ["cnn_step", "cnn_trainer"].map(str::to_owned);
    layers
        .chain(pools)
        .flat_map(|name| [format!("candle_{name}"), name])
        .chain(steps)
        .chain(["candle_cnn_step".to_owned()])
}

/// The tensors of the jobs that were asked for.
#[derive(Default)]
pub(crate) struct Images {
    tensors: Vec<(String, [Tensor; 3])>,
    cnn: Option<Cnn>,
}

impl Images {
    /// The milliseconds of a job, or of a step.
    pub(crate) fn run(&mut self, job: &str) -> Result<f64> {
        let (stock, name) = job.strip_prefix("candle_").map_or((false, job), |name| (true, name));
        if name.starts_with("cnn") {
            let made = self.cnn.take().map_or_else(Cnn::new, Ok)?;
            return self.cnn.insert(made).run(name, stock);
        }
        let pass = PASSES.into_iter().find(|pass| name.ends_with(pass)).unwrap_or_default();
        let layer = name.strip_suffix(pass).unwrap_or(name);
        if !self.tensors.iter().any(|(known, _)| known == layer) {
            self.tensors.push((layer.to_owned(), tensors(layer)?));
        }
        let Some((_, tensors)) = self.tensors.iter().find(|(known, _)| known == layer) else {
            bail!("unknown job '{job}'")
        };
        let op = op(layer, stock)?;
        let start = Instant::now();
        let [x, w, b] = tensors;
        match pass {
            "_forward" => drop(op(&x.detach(), &w.detach(), &b.detach())?),
            "_input" => drop(op(x, &w.detach(), &b.detach())?.backward()?),
            "_weight" => drop(op(&x.detach(), w, &b.detach())?.backward()?),
            _ => drop(op(x, w, b)?.backward()?),
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// The input, the weight and the bias.
fn tensors(name: &str) -> Result<[Tensor; 3]> {
    let cpu = &Device::Cpu;
    let var = |tensor: Tensor| Ok::<_, Error>(Var::from_tensor(&tensor)?.into_inner());
    if let Some(&(_, n, c, size, out, k, .., groups, wants)) = LAYERS.iter().find(|l| l.0 == name) {
        let x = normal("x", (n, c, size, size), cpu)?;
        let x = if wants { var(x)? } else { x };
        return Ok([x, var(normal("w", (out, c / groups, k, k), cpu)?)?, var(normal("b", out, cpu)?)?]);
    }
    let Some(&(_, n, c, size, ..)) = POOLS.iter().find(|pool| pool.0 == name) else {
        bail!("unknown job '{name}'")
    };
    let none = Tensor::zeros(1, DType::F32, cpu)?;
    Ok([var(normal("x", (n, c, size, size), cpu)?)?, none.clone(), none])
}

type Op = Box<dyn Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>>;

fn op(name: &str, stock: bool) -> Result<Op> {
    if let Some(&(.., padding, stride, groups, _)) = LAYERS.iter().find(|layer| layer.0 == name) {
        return Ok(match stock {
            true => Box::new(move |x, w, b| {
                x.conv2d(w, padding, stride, 1, groups)?.broadcast_add(&b.reshape((1, (), 1, 1))?)
            }),
            false => {
                Box::new(move |x, w, b| conv2d(x, w, Some(b), Window::square(stride, padding, 1), groups))
            }
        });
    }
    let Some(&(.., k, stride, padding)) = POOLS.iter().find(|pool| pool.0 == name) else {
        bail!("unknown job '{name}'")
    };
    Ok(match stock {
        true if padding == 0 => Box::new(move |x, _, _| x.max_pool2d_with_stride(k, stride)),
        true => bail!("candle's pool has no padding"),
        false => Box::new(move |x, _, _| max_pool2d(x, [k, k], Window::square(stride, padding, 1))),
    })
}

/// The net, its twin of candle's layers, and the data.
struct Cnn {
    map: InitMap,
    convolutions: [Conv2d; 2],
    dense: [Linear; 2],
    stock: [candle_nn::Conv2d; 2],
    adamw: AdamW,
    candle_adamw: candle_nn::AdamW,
    data: InMemory,
    xs: Tensor,
    classes: Tensor,
}

impl Cnn {
    fn new() -> Result<Self> {
        let map = InitMap::new(42).with_default_init(Initializer::kaiming_normal());
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        let plain = wick_layers::Conv2dConfig::default();
        let convolutions = [
            wick_layers::conv2d(1, 32, 5, plain, vb.pp("c1"))?,
            wick_layers::conv2d(32, 64, 5, plain, vb.pp("c2"))?,
        ];
        let dense = [linear(1024, 1024, vb.pp("fc1"))?, linear(1024, 10, vb.pp("fc2"))?];
        let twin = |layer: &Conv2d| {
            candle_nn::Conv2d::new(layer.weight().clone(), layer.bias().cloned(), *layer.config())
        };
        let bytes = (0..(IMAGES * 784) as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8);
        let images = Tensor::from_vec(bytes.collect::<Vec<u8>>(), (IMAGES, 1, 28, 28), &Device::Cpu)?;
        let labels: Vec<u8> = (0..IMAGES).map(|sample| (sample * 7919 % 10) as u8).collect();
        let classes = Classes::new(&Tensor::from_vec(labels, IMAGES, &Device::Cpu)?).map_err(Error::wrap)?;
        let scale = Standardization::uniform(784, 0.0, 255.0).map_err(Error::wrap)?;
        let data = InMemory::new(&images)
            .and_then(|data| data.with_targets(Targets::Classes(classes)))
            .and_then(|data| data.with_standardization(scale))
            .map_err(Error::wrap)?;
        let labels = (0..BATCH as u32).map(|sample| sample * 7919 % 10).collect();
        Ok(Self {
            stock: [twin(&convolutions[0]), twin(&convolutions[1])],
            convolutions,
            dense,
            adamw: AdamW::new(map.vars(), adamw_params())?,
            candle_adamw: candle_nn::AdamW::new(map.vars(), adamw_params())?,
            map,
            data,
            xs: normal("images", (BATCH, 1, 28, 28), &Device::Cpu)?,
            classes: Tensor::from_vec(labels, BATCH, &Device::Cpu)?,
        })
    }

    /// The milliseconds of one step.
    fn run(&mut self, job: &str, stock: bool) -> Result<f64> {
        if job == "cnn_trainer" {
            let optimizer = "adamw:lr=1e-9".parse().map_err(Error::wrap)?;
            let config =
                Config { batch: BATCH, length: Length::Steps(10 * STEPS), optimizer, ..Config::default() };
            let mut trainer = Trainer::new(&self.map, config).map_err(Error::wrap)?;
            let outcome = trainer
                .fit(&self.data, |step| {
                    Loss::CrossEntropy.forward(&self.logits(step.input())?, step.targets()?)
                })
                .map_err(Error::wrap)?;
            return Ok(outcome.seconds * 1e3 / (10 * STEPS) as f64);
        }
        let steps = if stock { 1 } else { STEPS };
        let start = Instant::now();
        for _ in 0..steps {
            match stock {
                false => {
                    let loss = Loss::CrossEntropy.forward(&self.logits(&self.xs)?, &self.classes)?;
                    self.adamw.backward_step(&loss)?;
                }
                true => {
                    let loss = candle_nn::loss::cross_entropy(&self.stock_logits(&self.xs)?, &self.classes)?;
                    self.candle_adamw.backward_step(&loss)?;
                }
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3 / steps as f64)
    }

    fn logits(&self, xs: &Tensor) -> Result<Tensor> {
        let h = wick_layers::max_pool2d(&self.convolutions[0].forward(xs)?, 2)?;
        let h = wick_layers::max_pool2d(&self.convolutions[1].forward(&h)?, 2)?.flatten_from(1)?;
        let [first, second] = &self.dense;
        let h = dense(&h, first.weight(), first.bias(), Activation::Relu, None)?;
        dense(&h, second.weight(), second.bias(), Activation::Identity, None)
    }

    fn stock_logits(&self, xs: &Tensor) -> Result<Tensor> {
        let h = self.stock[0].forward(xs)?.max_pool2d(2)?;
        let h = self.stock[1].forward(&h)?.max_pool2d(2)?.flatten_from(1)?;
        self.dense[1].forward(&self.dense[0].forward(&h)?.relu()?)
    }
}
