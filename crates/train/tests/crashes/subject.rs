//! The run that is disturbed.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use wick_init::{InitMap, Initializer};
use wick_train::data::{Classes, InMemory, Targets};
use wick_train::metrics::Metrics;
use wick_train::{Config, EarlyStopping, Error, Length, Outcome, RunFolder, Trainer};

use crate::disk::{Tree, read};

/// The steps of the run.
pub const STEPS: u64 = 20;

/// The steps between checkpoints.
pub const EVERY: u64 = 3;

/// 70 points around three corners.
fn points() -> InMemory {
    let wave = |k: usize| ((k * 37 + 11) % 101) as f32 / 101.0 - 0.5;
    let value = |n: usize, column: usize| wave(4 * n + column) + f32::from(u8::from(n % 3 == column));
    let values: Vec<f32> = (0..280).map(|k| value(k / 4, k % 4)).collect();
    let classes: Vec<u32> = (0..70).map(|n| n % 3).collect();
    let classes = Classes::new(&Tensor::new(classes, &Device::Cpu).unwrap()).unwrap();
    let data = InMemory::new(&Tensor::from_vec(values, (70, 4), &Device::Cpu).unwrap()).unwrap();
    data.with_targets(Targets::Classes(classes)).unwrap()
}

/// Trains a net of candle's layers in a folder, from its newest checkpoint if there is one.
pub fn train(folder: &Path) -> Result<Outcome, Error> {
    let map = InitMap::new(7).with_default_init(Initializer::xavier_normal());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let layer = |name, fan_in, fan_out| candle_nn::linear(fan_in, fan_out, vb.pp(name)).unwrap();
    let (body, head) = (layer("body", 4, 16), layer("head", 16, 3));
    let outputs = |xs: &Tensor| head.forward(&body.forward(xs)?.tanh()?);
    let config = Config {
        batch: 16,
        length: Length::Steps(STEPS),
        optimizer: "adamw:lr=0.01".parse()?,
        ema: Some(0.9),
        ..Config::default()
    };
    let data = points();
    Trainer::new(&map, config)?
        .with_run(RunFolder::open(folder)?, EVERY)
        .with_validation(&data, Metrics::Classification, Some(4), EarlyStopping::default(), |batch| {
            outputs(&batch.input)
        })
        .fit(&data, |step| candle_nn::loss::cross_entropy(&outputs(step.input())?, step.targets()?))
}

/// All that the run leaves, without its place.
pub fn files(root: &Path) -> Tree {
    let shown = |path: &Path| path.strip_prefix(root).unwrap().to_owned();
    read(root).into_iter().map(|(path, content)| (shown(&path), content)).collect()
}

/// The first file that two runs do not have in common.
pub fn difference(a: &Tree, b: &Tree) -> Option<String> {
    let differs = |path: &&std::path::PathBuf| a.get(*path) != b.get(*path);
    a.keys().chain(b.keys()).find(differs).map(|path| path.display().to_string())
}
