mod blocks;
mod refusals;
mod resume;
mod watching;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, Module};
use wick_init::{InitMap, Initializer, TensorFile};

use super::*;
use crate::data::{Classes, InMemory, Targets};

/// A net of two layers with the weights of a seed, and its variables.
struct Net {
    map: InitMap,
    layers: [Linear; 2],
}

impl Net {
    fn new(dtype: DType) -> Self {
        let map = InitMap::new(7).with_default_init(Initializer::xavier_normal());
        let vb = map.var_builder(dtype, &Device::Cpu);
        let layer = |name: &str, fan_in, fan_out| candle_nn::linear(fan_in, fan_out, vb.pp(name)).unwrap();
        let layers = [layer("body", 4, 16), layer("head", 16, 3)];
        Self { map, layers }
    }

    fn outputs(&self, xs: &Tensor) -> Result<Tensor> {
        self.layers[1].forward(&self.layers[0].forward(xs)?.tanh()?)
    }

    fn loss(&self, step: &Step) -> Result<Tensor> {
        let hidden = step.tap("body", &self.layers[0].forward(step.input())?.tanh()?)?;
        let logits = step.tap("head", &self.layers[1].forward(&hidden)?)?;
        candle_nn::loss::cross_entropy(&logits.to_dtype(DType::F32)?, step.targets()?)
    }

    /// The bytes of all variables.
    fn bits(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (_, var) in self.map.named_vars() {
            TensorFile::write_numbers(&mut bytes, &var).unwrap();
        }
        bytes
    }
}

/// Points around three corners, 70 of them.
fn points() -> InMemory {
    let corners = [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.5, 0.0], [0.0, 0.5, 1.0, -1.0]];
    let wave = |k: usize| ((k * 37 + 11) % 101) as f32 / 101.0 - 0.5;
    let rows: Vec<[f32; 4]> = (0..70)
        .map(|n| std::array::from_fn(|column| corners[n % 3][column] + wave(4 * n + column)))
        .collect();
    let classes: Vec<u32> = (0..70).map(|n| n % 3).collect();
    let classes = Classes::new(&Tensor::new(classes, &Device::Cpu).unwrap()).unwrap();
    let data =
        InMemory::new(&Tensor::from_slice(rows.as_flattened(), (70, 4), &Device::Cpu).unwrap()).unwrap();
    data.with_targets(Targets::Classes(classes)).unwrap()
}

fn config(epochs: u64) -> Config {
    Config {
        batch: 16,
        length: Length::Epochs(epochs),
        optimizer: "adamw:lr=0.01".parse().unwrap(),
        ..Config::default()
    }
}
